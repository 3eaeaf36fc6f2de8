//! A server that does what a test says, frame by frame.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use idae_socket_protocol::websocket::{
    Decoder, FRAGMENTS_MAX, Frame, Input, Limits, Message, Role, handshake::accept_key,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Server {
    listener: TcpListener,
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub(crate) fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// The next TCP connection, nothing said yet.
    pub(crate) async fn tcp(&self) -> TcpStream {
        timeout(PATIENCE, self.listener.accept()).await.expect("nobody connected").unwrap().0
    }

    /// The next connection as a WebSocket, nothing said yet.
    pub(crate) async fn websocket(&self) -> Peer<TcpStream> {
        Peer::shake_hands(self.tcp().await).await
    }

    /// The next connection, its session open.
    pub(crate) async fn session(&self) -> Peer<TcpStream> {
        let mut peer = self.websocket().await;
        peer.open(25_000, 20_000).await;
        peer
    }

    /// The next connection, let into `/` as `sid`.
    pub(crate) async fn socket(&self, sid: &str) -> Peer<TcpStream> {
        let mut peer = self.session().await;
        assert_eq!(peer.text().await, "40");
        peer.send(&format!(r#"40{{"sid":"{sid}"}}"#)).await;
        peer
    }
}

/// One message of the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Said {
    Text(String),
    Binary(Vec<u8>),
    Pong(Vec<u8>),
    Close,
    /// The connection ended.
    End,
}

/// The client at the other end.
pub(crate) struct Peer<S> {
    /// The request's head, as it came.
    pub(crate) request: String,
    stream: S,
    decoder: Decoder,
    said: std::collections::VecDeque<Said>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    pub(crate) async fn shake_hands(mut stream: S) -> Self {
        let request = head(&mut stream).await;
        let key = request.lines().find_map(|line| line.strip_prefix("Sec-WebSocket-Key: ")).unwrap();
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            accept_key(key)
        );
        stream.write_all(answer.as_bytes()).await.unwrap();
        let limits = Limits { message_bytes_max: 1 << 24, fragments_max: FRAGMENTS_MAX };
        Self { request, stream, decoder: Decoder::new(Role::Server, limits), said: [].into() }
    }

    pub(crate) async fn open(&mut self, ping_interval_ms: u64, ping_timeout_ms: u64) {
        self.send(&format!(
            r#"0{{"sid":"engine","upgrades":[],"pingInterval":{ping_interval_ms},"pingTimeout":{ping_timeout_ms},"maxPayload":1000000}}"#
        ))
        .await;
    }

    pub(crate) async fn send(&mut self, text: &str) {
        self.raw(Frame::text(text).as_bytes()).await;
    }

    pub(crate) async fn send_binary(&mut self, bytes: &[u8]) {
        self.raw(Frame::binary(bytes).as_bytes()).await;
    }

    /// Bytes as they are. A client that is gone is the test's next question, not this one's.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
        let _ = self.stream.flush().await;
    }

    pub(crate) async fn said(&mut self) -> Said {
        let mut buffer = vec![0; 4096];
        while self.said.is_empty() {
            let read = timeout(PATIENCE, self.stream.read(&mut buffer)).await.expect("nothing was said");
            let Ok(count @ 1..) = read else { return Said::End };
            let mut input = Input::new(&mut buffer[..count]);
            while let Some(message) = self.decoder.next(&mut input).unwrap() {
                self.said.push_back(match message {
                    Message::Text(text) => Said::Text(text.to_owned()),
                    Message::Binary(bytes) => Said::Binary(bytes.to_vec()),
                    Message::Pong(bytes) | Message::Ping(bytes) => Said::Pong(bytes.to_vec()),
                    Message::Close(_) => Said::Close,
                });
            }
        }
        self.said.pop_front().unwrap()
    }

    pub(crate) async fn text(&mut self) -> String {
        match self.said().await {
            Said::Text(text) => text,
            other => panic!("a text was due, not {other:?}"),
        }
    }
}

/// Reads the head of a request, byte by byte: what follows belongs to somebody else.
pub(crate) async fn head(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(timeout(PATIENCE, stream.read_u8()).await.expect("no request came").unwrap());
    }
    String::from_utf8(request).unwrap()
}
