//! Where the command takes the gateway's settings from: file, environment, flags.

use std::path::PathBuf;

use clap::Args;
use idae_socket::config::{Config, ConfigErrors, Resolved, Sources};

/// The file that is read if it is there and no other is named.
const DEFAULT_FILE: &str = "idae-socket.toml";

/// Flags of the gateway.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct Flags {
    /// The configuration file [default: idae-socket.toml, if there is one].
    #[arg(long, value_name = "FILE", env = "IDAE_SOCKET_CONFIG")]
    config: Option<PathBuf>,
    /// The address to listen on.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// The port to listen on; 0 takes a free one.
    #[arg(long, value_name = "PORT")]
    port: Option<String>,
    /// Any other setting; lists by comma. `idae-socket check` shows their names.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
}

/// Why the settings could not be read.
#[derive(Debug)]
pub(crate) enum Refused {
    /// The file that was named cannot be read.
    File(PathBuf, std::io::Error),
    Settings(ConfigErrors),
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path, error) => {
                write!(f, "cannot read the configuration file {}: {error}", path.display())
            }
            Self::Settings(errors) => write!(f, "{errors}"),
        }
    }
}

impl Flags {
    /// These flags, and for what they leave open the others.
    pub(crate) fn over(mut self, others: Self) -> Self {
        self.config = self.config.or(others.config);
        self.host = self.host.or(others.host);
        self.port = self.port.or(others.port);
        self.set.splice(0..0, others.set);
        self
    }

    /// Reads everything and puts it together.
    pub(crate) fn resolve(&self) -> Result<Resolved, Refused> {
        let mut flags = self.set.clone();
        flags.extend(self.host.iter().map(|host| ("host".to_owned(), host.clone())));
        flags.extend(self.port.iter().map(|port| ("port".to_owned(), port.clone())));
        let sources = Sources {
            file: self.file()?,
            environment: environment(),
            flags,
            secret_files: Some(&|path| std::fs::read_to_string(path)),
        };
        Config::resolve(&sources).map_err(Refused::Settings)
    }

    fn file(&self) -> Result<Option<(String, String)>, Refused> {
        let (path, is_named) = match &self.config {
            Some(path) => (path.clone(), true),
            None => (PathBuf::from(DEFAULT_FILE), false),
        };
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some((path.display().to_string(), text))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => Ok(None),
            Err(error) => Err(Refused::File(path, error)),
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "the command is where the environment is read")]
fn environment() -> Vec<(String, String)> {
    // A variable that is no text cannot be one of ours.
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, for example socket.ping_interval_ms=10000".to_owned()),
    }
}
