//! What can go wrong, and whether trying again can help.

use std::fmt;
use std::io;
use std::time::Duration;

use serde_json::Value;

/// Why a call, or the driver as a whole, did not get where it wanted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The address, the path or a header given to the driver is not usable.
    #[error("{0}")]
    Setting(String),
    /// An `https` or `wss` address, but the crate was built without its feature `tls`.
    #[error("{0} needs TLS, and idae-socket-client was built without its feature `tls`")]
    TlsNotBuiltIn(String),
    /// A driver can only be connected inside a tokio runtime.
    #[error("no tokio runtime is running here")]
    NoRuntime,
    /// A value cannot be written as JSON.
    #[error("not representable as JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The connection could not be made, or broke before the namespace was joined.
    #[error("cannot reach {address}: {source}")]
    Unreachable {
        /// Where to.
        address: String,
        /// What the operating system or TLS said.
        source: io::Error,
    },
    /// The namespace was not joined within the time allowed.
    #[error("{address} did not let us in within {after:?}")]
    ConnectTimeout {
        /// Where to.
        address: String,
        /// The time allowed.
        after: Duration,
    },
    /// The server answered the WebSocket handshake with an HTTP error.
    #[error("{address} answered HTTP {status}{}", Colon(.message))]
    Handshake {
        /// Where to.
        address: String,
        /// The HTTP status.
        status: u16,
        /// The server's words, possibly none.
        message: String,
    },
    /// What answered does not speak Socket.IO v4.
    #[error("{address} is no Socket.IO v4 server: {detail}")]
    Protocol {
        /// Where to.
        address: String,
        /// What was wrong.
        detail: String,
    },
    /// The server refused the connection to the namespace (CONNECT_ERROR).
    #[error("{message}")]
    Refused {
        /// The server's reason.
        message: String,
        /// Details for programs; a gateway puts a `code` here.
        data: Option<Value>,
    },
    /// The connection to the namespace was lost, or ended by the server.
    #[error("{0}")]
    Disconnected(DisconnectReason),
    /// The socket was closed on this side.
    #[error("the socket is closed")]
    Closed,
    /// This name belongs to the protocol's libraries.
    #[error("`{0}` is a reserved event name")]
    ReservedEvent(String),
    /// Receivers refuse packets with more binary attachments.
    #[error("{count} binary attachments, {max} are allowed")]
    TooManyAttachments {
        /// How many there are.
        count: usize,
        /// How many may be.
        max: usize,
    },
    /// The server, or the buffer, does not take messages of this size.
    #[error("a message of {bytes} bytes, {bytes_max} are allowed")]
    TooLarge {
        /// Size of the message.
        bytes: usize,
        /// Largest size.
        bytes_max: usize,
    },
    /// Disconnected, and no more emits are kept for the time after it.
    #[error("not connected, and the buffer for later is full")]
    BufferFull,
    /// The acknowledgement did not come in time.
    #[error("operation has timed out")]
    AckTimeout,
}

impl Error {
    /// Whether the same call may succeed later with nothing changed on this side.
    ///
    /// The driver itself comes back after every retryable failure to connect, and only then.
    pub const fn is_retryable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::ConnectTimeout { .. }
            | Self::Handshake { .. }
            | Self::Protocol { .. }
            | Self::BufferFull
            | Self::AckTimeout => true,
            Self::Disconnected(reason) => reason.will_reconnect(),
            Self::Setting(_)
            | Self::TlsNotBuiltIn(_)
            | Self::NoRuntime
            | Self::Json(_)
            | Self::Refused { .. }
            | Self::Closed
            | Self::ReservedEvent(_)
            | Self::TooManyAttachments { .. }
            | Self::TooLarge { .. } => false,
        }
    }

    /// The `code` that the server put into a refusal's data.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { data: Some(data), .. } => data.get("code")?.as_str(),
            _ => None,
        }
    }
}

/// Why a socket that was connected is not any more. The text is the JavaScript client's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisconnectReason {
    /// The server ended it on purpose; the driver does not come back by itself.
    IoServerDisconnect,
    /// This side ended it.
    IoClientDisconnect,
    /// The connection was closed.
    TransportClose,
    /// The connection failed.
    TransportError,
    /// The server was silent for longer than it promised.
    PingTimeout,
    /// The server sent what is no packet.
    ParseError,
}

impl DisconnectReason {
    /// Whether the driver comes back by itself.
    pub const fn will_reconnect(self) -> bool {
        !matches!(self, Self::IoServerDisconnect | Self::IoClientDisconnect)
    }

    /// The JavaScript client's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IoServerDisconnect => "io server disconnect",
            Self::IoClientDisconnect => "io client disconnect",
            Self::TransportClose => "transport close",
            Self::TransportError => "transport error",
            Self::PingTimeout => "ping timeout",
            Self::ParseError => "parse error",
        }
    }
}

impl fmt::Display for DisconnectReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `: message`, or nothing at all.
struct Colon<'a>(&'a str);

impl fmt::Display for Colon<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, ": {}", self.0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_well_and_tell_whether_to_retry() {
        let handshake = |message: &str| Error::Handshake {
            address: "http://h:1".to_owned(),
            status: 400,
            message: message.to_owned(),
        };
        assert_eq!(handshake("").to_string(), "http://h:1 answered HTTP 400");
        assert_eq!(handshake("Forbidden").to_string(), "http://h:1 answered HTTP 400: Forbidden");
        let data = serde_json::json!({"code": "token_expired"});
        let refused = Error::Refused { message: "Unauthorized".to_owned(), data: Some(data) };
        assert_eq!((refused.code(), refused.is_retryable()), (Some("token_expired"), false));
        assert!(Error::Disconnected(DisconnectReason::PingTimeout).is_retryable());
        assert!(!Error::Disconnected(DisconnectReason::IoServerDisconnect).is_retryable());
    }
}
