//! The opening handshake: TCP, TLS if wanted, and the HTTP request that becomes a WebSocket.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use idae_socket_protocol::websocket::handshake::accept_key;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Error;
use crate::address::Address;

/// Bytes of a response's head. Beyond it the peer is no server that one can talk to.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Bytes of an error's body that are worth showing.
const MESSAGE_BYTES_MAX: usize = 1024;
/// Header lines of a response.
const HEADERS_MAX: usize = 64;

/// A connection, encrypted or not.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// An open WebSocket, and what the server sent right behind the handshake.
pub(crate) struct Opened {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) early: Vec<u8>,
}

/// Where and how to connect; checked before the first attempt.
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) request_target: String,
    pub(crate) headers: HeaderMap,
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<std::sync::Arc<rustls::ClientConfig>>,
}

impl Target {
    pub(crate) fn unreachable(&self, source: io::Error) -> Error {
        Error::Unreachable { address: self.address.to_string(), source }
    }

    pub(crate) fn protocol(&self, detail: impl Into<String>) -> Error {
        Error::Protocol { address: self.address.to_string(), detail: detail.into() }
    }

    /// Opens a WebSocket. The caller sets the time limit.
    pub(crate) async fn open(&self) -> Result<Opened, Error> {
        let mut stream = self.connect().await.map_err(|error| self.unreachable(error))?;
        let key = STANDARD.encode(rand::random::<[u8; 16]>());
        stream.write_all(&self.request(&key)).await.map_err(|error| self.unreachable(error))?;
        stream.flush().await.map_err(|error| self.unreachable(error))?;

        let mut received = Vec::with_capacity(1024);
        loop {
            let count = stream.read_buf(&mut received).await.map_err(|error| self.unreachable(error))?;
            if let Some((head, head_bytes)) = self.head(&received)? {
                received.drain(..head_bytes);
                if head.status != StatusCode::SWITCHING_PROTOCOLS.as_u16() {
                    return Err(self.refused(&head, received, &mut stream).await);
                }
                if !head.upgrades || head.accept.as_deref() != Some(accept_key(&key).as_str()) {
                    return Err(self.protocol("its WebSocket handshake is wrong"));
                }
                return Ok(Opened { stream, early: received });
            }
            if count == 0 {
                return Err(self.unreachable(io::ErrorKind::UnexpectedEof.into()));
            }
            if received.len() > HEAD_BYTES_MAX {
                return Err(self.protocol("its answer has no end"));
            }
        }
    }

    async fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let tcp = TcpStream::connect((self.address.host.as_str(), self.address.port)).await?;
        // Events are small and somebody waits for each of them.
        tcp.set_nodelay(true)?;
        #[cfg(feature = "tls")]
        if self.address.tls {
            let config = match &self.tls {
                Some(config) => std::sync::Arc::clone(config),
                None => crate::tls::platform_config()?,
            };
            return Ok(Box::new(crate::tls::connect(tcp, &self.address.host, config).await?));
        }
        Ok(Box::new(tcp))
    }

    fn request(&self, key: &str) -> Vec<u8> {
        let mut request = format!(
            "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n",
            self.request_target, self.address.authority,
        )
        .into_bytes();
        for (name, value) in &self.headers {
            for part in [name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"] {
                request.extend_from_slice(part);
            }
        }
        request.extend_from_slice(b"\r\n");
        request
    }

    /// The head of the answer and its length; `None` while it is not whole.
    fn head(&self, bytes: &[u8]) -> Result<Option<(Head, usize)>, Error> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let parsed =
            response.parse(bytes).map_err(|error| self.protocol(format!("no HTTP/1.1 answer ({error})")))?;
        let httparse::Status::Complete(head_bytes) = parsed else { return Ok(None) };
        let header = |name: &str| {
            let found = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
            std::str::from_utf8(found.value).ok().map(str::trim)
        };
        let head = Head {
            status: response.code.unwrap_or_default(),
            upgrades: header("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket")),
            accept: header("sec-websocket-accept").map(str::to_owned),
            body_bytes: header("content-length").and_then(|value| value.parse().ok()),
        };
        Ok(Some((head, head_bytes)))
    }

    /// The error of an answer that is none to a WebSocket: engine.io writes its reason into the body.
    async fn refused(&self, head: &Head, mut body: Vec<u8>, stream: &mut Box<dyn Stream>) -> Error {
        let wanted = head.body_bytes.unwrap_or(MESSAGE_BYTES_MAX).min(MESSAGE_BYTES_MAX);
        while body.len() < wanted {
            // Whatever is there when the connection ends has to do as a reason.
            match stream.read_buf(&mut body).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        body.truncate(MESSAGE_BYTES_MAX);
        let text = String::from_utf8_lossy(&body);
        Error::Handshake {
            address: self.address.to_string(),
            status: head.status,
            message: message_of(text.trim()),
        }
    }
}

struct Head {
    status: u16,
    upgrades: bool,
    accept: Option<String>,
    body_bytes: Option<usize>,
}

/// What a body says to a human: the message of the protocol's JSON, or a plain text's first line.
fn message_of(body: &str) -> String {
    if let Ok(serde_json::Value::Object(object)) = serde_json::from_str(body) {
        let field = ["message", "detail", "title"].iter().find_map(|name| object.get(*name)?.as_str());
        return field.unwrap_or_default().to_owned();
    }
    if body.starts_with('<') {
        // A proxy's error page tells nothing in one line.
        return String::new();
    }
    body.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_become_messages() {
        for (body, message) in [
            ("", ""),
            ("Bad request", "Bad request"),
            (r#"{"code":4,"message":"Forbidden"}"#, "Forbidden"),
            (r#"{"title":"Not found","detail":"no such path"}"#, "no such path"),
            ("<html>", ""),
            ("one\ntwo", "one"),
        ] {
            assert_eq!(message_of(body), message);
        }
    }
}
