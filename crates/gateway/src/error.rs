//! Why a gateway does not start.

use std::io;

use crate::config::ConfigErrors;
use crate::rules::PatternError;

/// Why a gateway could not be started, or stopped working.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting is wrong. Each line says which, and what to do.
    #[error("{0}")]
    Config(#[from] ConfigErrors),
    /// A list of patterns cannot be read.
    #[error("{0}")]
    Pattern(#[from] PatternError),
    /// What tells sockets apart cannot be set up: a key that cannot be read, say.
    #[error("{0}")]
    Auth(String),
    /// The port is in use by another program.
    #[error(
        "{host}:{port} is in use by another program; stop it, or choose another port (--port, IDAE_SOCKET_PORT)"
    )]
    PortTaken {
        /// The address that is taken.
        host: String,
        /// The port.
        port: u16,
    },
    /// The address cannot be bound for another reason.
    #[error("cannot listen on {host}:{port}: {source}")]
    Listen {
        /// The host that was to be bound.
        host: String,
        /// The port.
        port: u16,
        /// What the system says.
        source: io::Error,
    },
    /// The name of an event that was to be published in process is not allowed.
    #[error("{0}")]
    Event(String),
    /// What was to be published in process cannot be written as JSON.
    #[error("the payload cannot be written as JSON: {0}")]
    Payload(#[source] serde_json::Error),
    /// A thread of the gateway could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(#[source] io::Error),
}
