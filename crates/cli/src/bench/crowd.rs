//! Many sockets, as light as possible: a task each, no buffers of their own.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use idae_socket_protocol::websocket::{self, Decoder, Input, Message, Opcode, Role};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};

use super::recorder::{Recorder, empty};
use super::wire::Wire;
use super::{Failure, Unreachable};
use crate::terminal::printable;

/// Sockets that are opened at the same time.
const OPENING_MAX: usize = 128;

const MESSAGE_BYTES_MAX: usize = 1 << 20;

thread_local! {
    /// The read buffer of all sockets.
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; 64 * 1024]);
}

/// Sockets that are connected, each in the room `bench:all` and in a room of its own.
pub(crate) struct Crowd {
    count: usize,
    /// How long opening took, in microseconds.
    pub(crate) micros: Histogram<u64>,
    /// The sockets end with this.
    _open: mpsc::Sender<()>,
}

impl Crowd {
    pub(crate) async fn open(
        address: SocketAddr,
        count: usize,
        token: Option<&str>,
        wire: &Wire,
        recorder: &Arc<Recorder>,
    ) -> Result<Self, Failure> {
        // As a stock client in a browser: it can be recovered, which is what most clients will be.
        let auth = serde_json::json!({ "recovery": true, "token": token });
        let connect: Arc<str> = format!("40{auth}").into();
        let wire = Arc::new(wire.clone());
        let turns = Arc::new(Semaphore::new(OPENING_MAX));
        let (open, closed) = mpsc::channel::<()>(1);
        drop(closed);
        let (joined, mut joins) = mpsc::channel(OPENING_MAX);
        for number in 0..count {
            let (turns, joined, connect) = (Arc::clone(&turns), joined.clone(), Arc::clone(&connect));
            let (wire, recorder) = (Arc::clone(&wire), Arc::clone(recorder));
            tokio::spawn(async move {
                let Ok(_turn) = turns.acquire_owned().await else { return };
                let begin = Instant::now();
                match Socket::open(address, number, connect, &wire).await {
                    Ok(socket) => {
                        let _ = joined.send(Ok(begin.elapsed())).await;
                        drop((_turn, joined));
                        socket.listen(&recorder).await;
                    }
                    Err(error) => _ = joined.send(Err(error)).await,
                }
            });
        }
        drop(joined);
        let mut micros = empty();
        for _ in 0..count {
            let time = joins.recv().await.ok_or("a socket was lost while it was opened")?;
            let time = time.map_err(|error: Failure| {
                if error.to_string().contains("open files") {
                    let hint = "make `ulimit -n` larger, for the gateway too";
                    return format!("a socket could not be opened: {error}; {hint}").into();
                }
                if error.is::<Unreachable>() {
                    return error;
                }
                Failure::from(format!("a socket could not be opened: {error}"))
            })?;
            micros.saturating_record((time.as_micros() as u64).max(1));
        }
        Ok(Self { count, micros, _open: open })
    }

    pub(crate) const fn len(&self) -> usize {
        self.count
    }
}

struct Socket {
    stream: TcpStream,
    decoder: Decoder,
}

impl Socket {
    /// Connects, joins the rooms, and waits until that is answered.
    async fn open(
        address: SocketAddr,
        number: usize,
        connect: Arc<str>,
        wire: &Wire,
    ) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await.map_err(Unreachable)?;
        stream.set_nodelay(true)?;
        let key = STANDARD.encode(rand::random::<[u8; 16]>());
        let path = wire.socket_path(number);
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\n\
             Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
        );
        write_all(&stream, request.as_bytes()).await?;
        let early = read_head(&stream).await?;
        let limits = websocket::Limits {
            message_bytes_max: MESSAGE_BYTES_MAX,
            fragments_max: websocket::FRAGMENTS_MAX,
        };
        let mut socket = Self { stream, decoder: Decoder::new(Role::Client, limits) };
        let mut step = if wire.is_plain() { Step::Joined } else { Step::Open };
        let mut bytes = early;
        loop {
            let mut replies = Vec::new();
            socket.feed(&mut bytes, |text| step.hear(text, number, &connect, &mut replies))?;
            for reply in replies {
                socket.send(&reply).await?;
            }
            match step {
                Step::Joined => return Ok(socket),
                Step::Refused(reason) => return Err(reason.into()),
                Step::Open | Step::Connect | Step::Join => {}
            }
            bytes = socket.read().await?;
        }
    }

    /// Hears events until the connection ends.
    async fn listen(mut self, recorder: &Recorder) {
        loop {
            if self.stream.readable().await.is_err() {
                return;
            }
            let mut pings = 0;
            let is_alive = SCRATCH.with_borrow_mut(|scratch| match self.stream.try_read(scratch) {
                Ok(0) => false,
                Ok(count) => {
                    let bytes = &mut scratch[..count];
                    let fed = feed(&mut self.decoder, bytes, |text| match text {
                        "2" => pings += 1,
                        event => recorder.heard(event),
                    });
                    fed.is_ok()
                }
                Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
            });
            for _ in 0..pings {
                if self.send("3").await.is_err() {
                    return;
                }
            }
            if !is_alive {
                return;
            }
        }
    }

    fn feed(&mut self, bytes: &mut [u8], hear: impl FnMut(&str)) -> Result<(), Failure> {
        feed(&mut self.decoder, bytes, hear)
    }

    async fn read(&mut self) -> Result<Vec<u8>, Failure> {
        loop {
            self.stream.readable().await?;
            let read = SCRATCH.with_borrow_mut(|scratch| {
                self.stream.try_read(scratch).map(|count| scratch[..count].to_vec())
            });
            match read {
                Ok(bytes) if bytes.is_empty() => return Err("the gateway closed the connection".into()),
                Ok(bytes) => return Ok(bytes),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn send(&self, text: &str) -> Result<(), Failure> {
        let mut frame = Vec::new();
        websocket::encode_masked(Opcode::Text, text.as_bytes(), rand::random(), &mut frame);
        write_all(&self.stream, &frame).await
    }
}

/// How far a socket has come.
enum Step {
    Open,
    Connect,
    Join,
    Joined,
    Refused(String),
}

impl Step {
    fn hear(&mut self, text: &str, number: usize, connect: &str, replies: &mut Vec<String>) {
        match (&*self, text.as_bytes()) {
            (_, b"2") => replies.push("3".to_owned()),
            (Self::Open, [b'0', ..]) => {
                replies.push(connect.to_owned());
                *self = Self::Connect;
            }
            (Self::Connect, [b'4', b'0', ..]) => {
                replies.push(format!(r#"420["subscribe",["bench:all","bench:{number}"]]"#));
                *self = Self::Join;
            }
            (Self::Join, [b'4', b'3', ..]) if text.contains(r#""ok""#) => *self = Self::Joined,
            (_, [b'4', b'3' | b'4', ..]) => *self = Self::Refused(reason(&text[2..])),
            _ => {}
        }
    }
}

/// The gateway's words in an acknowledgement or a refusal of the connection.
fn reason(packet: &str) -> String {
    let json = packet.trim_start_matches(|c: char| c.is_ascii_digit());
    let answer = serde_json::from_str::<Value>(json).unwrap_or_default();
    let answer = answer.get(0).unwrap_or(&answer);
    let word = |of: Option<&Value>| of.and_then(Value::as_str).map(printable);
    let code = word(answer.get("code").or_else(|| answer.pointer("/data/code")));
    let detail = word(answer.get("detail").or_else(|| answer.get("message")));
    let advice = match code.as_deref() {
        Some("room_forbidden") => {
            "; --token must let it into the rooms `bench:*`, which the gateway's `rooms.join` decides"
        }
        Some("token_missing") => "; give one with --token",
        _ => "",
    };
    let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
    format!("{}{code}{advice}", detail.unwrap_or_else(|| "refused".to_owned()))
}

fn feed(decoder: &mut Decoder, bytes: &mut [u8], mut hear: impl FnMut(&str)) -> Result<(), Failure> {
    let mut input = Input::new(bytes);
    while let Some(message) = decoder.next(&mut input)? {
        match message {
            Message::Text(text) => hear(text),
            Message::Close(_) => return Err("the gateway closed the connection".into()),
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => {}
        }
    }
    Ok(())
}

async fn write_all(stream: &TcpStream, mut bytes: &[u8]) -> Result<(), Failure> {
    while !bytes.is_empty() {
        stream.writable().await?;
        match stream.try_write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Reads the answer to a WebSocket handshake. Returns what came behind it.
async fn read_head(stream: &TcpStream) -> Result<Vec<u8>, Failure> {
    let mut head = Vec::new();
    loop {
        stream.readable().await?;
        let mut chunk = [0; 1024];
        match stream.try_read(&mut chunk) {
            Ok(0) => return Err("the gateway closed the connection".into()),
            Ok(count) => head.extend_from_slice(&chunk[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(error) => return Err(error.into()),
        }
        if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
            let early = head.split_off(end + 4);
            if head.starts_with(b"HTTP/1.1 101 ") {
                return Ok(early);
            }
            return Err(format!("no WebSocket: {}", String::from_utf8_lossy(&early)).into());
        }
    }
}
