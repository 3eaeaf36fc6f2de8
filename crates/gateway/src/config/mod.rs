//! What the gateway can be told, and how the telling is resolved.
//!
//! Defaults < TOML file < environment < flags. [`Config::resolve`] reads all of them, collects
//! every error instead of stopping at the first, and remembers where each value came from. An
//! embedder who fills a [`Config`] by hand gets the same checks from [`Config::validate`].
//!
//! Invariants
//! * Nothing is read that was not given: no environment, no file, no clock.
//! * One table (`settings.rs`, `later.rs`) is the source of the fields, their parsing, `explain`
//!   and the reference in `docs/configuration.md`.
//! * No error, no explanation and no `Debug` output shows a secret.

mod address;
mod environment;
mod error;
mod file;
mod forward;
mod keys;
mod later;
mod reading;
mod reference;
mod secret;
mod settings;
mod table;
mod tables;
#[cfg(test)]
mod tests;
mod validate;
mod value;
mod web_origin;

use std::collections::BTreeMap;
use std::io;

pub use address::Address;
pub use error::{ConfigError, ConfigErrors, Origin, Warning};
pub use forward::Forward;
pub(crate) use forward::webhook_key;
pub use keys::PublishKey;
pub use reference::reference;
pub use secret::Secret;
pub use settings::{
    Algorithm, Auth, Config, Deliver, IntrospectionFormat, Level, Log, LogFormat, Mode, Parser, Publish,
    Recovery, Rooms, Socket, Strategy, Transport,
};

use reading::Reading;
use table::State;

/// Reads the file a `*_FILE` variable names and returns its text.
pub type ReadSecret<'a> = &'a dyn Fn(&str) -> io::Result<String>;

/// What a configuration is resolved from. Everything may be left empty.
#[derive(Clone, Default)]
pub struct Sources<'a> {
    /// The path, for messages, and the text of the TOML file.
    pub file: Option<(String, String)>,
    /// The environment. Variables that do not begin with `IDAE_SOCKET_` are passed over.
    pub environment: Vec<(String, String)>,
    /// Keys such as `socket.path` with their values, written as in the environment.
    pub flags: Vec<(String, String)>,
    /// Opens the files that `*_FILE` variables name. Without it such a variable is an error.
    pub secret_files: Option<ReadSecret<'a>>,
}

impl Config {
    /// Reads the sources, lowest precedence first, and checks the result.
    ///
    /// # Errors
    /// Everything that is wrong with the sources, each in one sentence.
    pub fn resolve(sources: &Sources<'_>) -> Result<Resolved, ConfigErrors> {
        let mut reading = Reading::default();
        if let Some((path, text)) = &sources.file {
            file::read(&mut reading, path, text);
        }
        environment::read(&mut reading, &sources.environment, sources.secret_files);
        for (key, value) in &sources.flags {
            reading.flag(key, value);
        }
        reading.finish()
    }

    /// The same configuration in its canonical form: a missing `/` at the end of `socket.path`
    /// is added. [`resolve`](Self::resolve) does this by itself.
    #[must_use]
    pub fn normalised(mut self) -> Self {
        if self.socket.path.starts_with('/') && !self.socket.path.ends_with('/') {
            self.socket.path.push('/');
        }
        self
    }
}

/// A configuration that the gateway can start with.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The values.
    pub config: Config,
    /// What an operator should know about them.
    pub warnings: Vec<Warning>,
    origins: BTreeMap<&'static str, Origin>,
}

impl Resolved {
    /// Every key with its value and where that came from, in the order of the reference.
    pub fn explain(&self) -> Vec<Explained> {
        table::settings()
            .filter_map(|setting| match setting.state {
                State::Built { show, .. } => Some(Explained {
                    key: setting.key,
                    value: show(&self.config),
                    origin: self.origin(setting.key),
                }),
                State::Later { .. } => None,
            })
            .collect()
    }

    /// Where the value of `key` came from.
    pub fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }
}

/// One row of [`Resolved::explain`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explained {
    /// As the file writes it.
    pub key: &'static str,
    /// Ready to print; a secret is `***`.
    pub value: String,
    /// Where it came from.
    pub origin: Origin,
}
