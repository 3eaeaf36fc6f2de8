//! One connection's way: open packet, CONNECT, events, end. Packets come in; frames, calls of
//! handlers and in the end a reason go out. The bytes and the clock are the worker's.

use std::sync::{Arc, Weak};
use std::time::Duration;

use idae_socket_protocol::engineio;
use idae_socket_protocol::socketio::{self, Args, Content, Decoded};
use idae_socket_protocol::websocket::{Message, Opcode};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::handlers::{Connected, Handlers};
use crate::handshake::Target;
use crate::shared::{Alive, Shared};
use crate::wire::Out;
use crate::{DisconnectReason, Error, Socket};

/// Largest message, and largest sum of one packet's attachments, that is taken from a server, in
/// bytes.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A heartbeat outside of this is a mistake, and arithmetic on it would go wrong.
const SILENCE_MIN: Duration = Duration::from_millis(1);
const SILENCE_MAX: Duration = Duration::from_hours(24);

/// Why a connection is over.
pub(crate) enum End {
    /// Before the namespace was joined.
    NotJoined(Error),
    /// After it.
    Left(DisconnectReason),
    /// This side wanted it.
    Closed,
}

/// What a connection needs to be taken up again by the next one.
#[derive(Debug, Default)]
pub(crate) struct Resume {
    /// Names the session, towards the server only.
    pid: Option<String>,
    /// The last event seen.
    offset: Option<String>,
    /// The server is an idae-socket gateway, which tells what it has put behind an event's own arguments.
    is_gateway: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The server has to introduce itself.
    Opening,
    /// CONNECT is sent.
    Joining,
    Joined,
}

pub(crate) struct Session<'d> {
    pub(crate) shared: &'d Arc<Shared>,
    pub(crate) alive: &'d Weak<Alive>,
    pub(crate) handlers: &'d mut Handlers,
    pub(crate) resume: &'d mut Resume,
    pub(crate) target: &'d Target,
    /// Whether the application wants to resume; without a word, as far as the server offers it.
    pub(crate) recovery: Option<bool>,
    packets: socketio::Decoder,
    stage: Stage,
    silence_max: Duration,
}

/// What of the open packet concerns a client.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Open {
    ping_interval: u64,
    ping_timeout: u64,
    max_payload: Option<usize>,
}

#[derive(Deserialize)]
struct Accepted {
    sid: Option<String>,
    pid: Option<String>,
}

impl<'d> Session<'d> {
    pub(crate) fn new(
        shared: &'d Arc<Shared>,
        alive: &'d Weak<Alive>,
        handlers: &'d mut Handlers,
        resume: &'d mut Resume,
        target: &'d Target,
        recovery: Option<bool>,
    ) -> Self {
        Self {
            shared,
            alive,
            handlers,
            resume,
            target,
            recovery,
            packets: socketio::Decoder::default(),
            stage: Stage::Opening,
            silence_max: Duration::ZERO,
        }
    }

    pub(crate) fn is_joined(&self) -> bool {
        self.stage == Stage::Joined
    }

    /// How long the server may be silent.
    pub(crate) const fn silence_max(&self) -> Duration {
        self.silence_max
    }

    /// The end that a broken connection means at this stage.
    pub(crate) fn lost(&self, reason: DisconnectReason, detail: &str) -> End {
        if self.is_joined() {
            tracing::debug!(%reason, detail, "connection lost");
            return End::Left(reason);
        }
        End::NotJoined(match reason {
            DisconnectReason::ParseError => self.target.protocol(detail),
            _ => self.target.unreachable(std::io::Error::other(detail.to_owned())),
        })
    }

    /// Takes a message.
    pub(crate) fn receive(&mut self, message: Message<'_>, out: &mut Out) -> Result<(), End> {
        match message {
            Message::Text(text) => self.text(text, out),
            Message::Binary(bytes) => self.binary(bytes, out),
            Message::Ping(payload) => {
                out.push(Opcode::Pong, payload);
                Ok(())
            }
            Message::Pong(_) => Ok(()),
            Message::Close(status) => {
                out.close(status.map(|(code, _)| code));
                let detail = status.map_or_else(String::new, |(code, why)| format!(" ({code} {why})"));
                Err(self.lost(DisconnectReason::TransportClose, &format!("the server closed{detail}")))
            }
        }
    }

    fn text(&mut self, text: &str, out: &mut Out) -> Result<(), End> {
        use engineio::Packet;
        let packet = Packet::decode(text).map_err(|error| self.unreadable(&error))?;
        match packet {
            Packet::Open(json) if self.stage == Stage::Opening => self.open(json, out),
            Packet::Close => {
                Err(self.lost(DisconnectReason::TransportClose, "the server closed the session"))
            }
            _ if self.stage == Stage::Opening => {
                Err(self.lost(DisconnectReason::ParseError, "no open packet came first"))
            }
            Packet::Ping(_) => {
                out.push(Opcode::Text, b"3");
                Ok(())
            }
            Packet::Message(engineio::Message::Text(text)) => {
                match self.packets.text(text).map_err(|error| self.unreadable(&error))? {
                    Some(decoded) => self.packet(decoded, out),
                    None => Ok(()),
                }
            }
            Packet::Message(engineio::Message::Binary(bytes)) => self.binary(&bytes, out),
            Packet::Open(_) | Packet::Pong(_) | Packet::Upgrade | Packet::Noop => Ok(()),
        }
    }

    fn binary(&mut self, bytes: &[u8], out: &mut Out) -> Result<(), End> {
        match self.packets.binary(bytes, MESSAGE_BYTES_MAX).map_err(|error| self.unreadable(&error))? {
            Some(decoded) => self.packet(decoded, out),
            None => Ok(()),
        }
    }

    fn unreadable(&self, error: &dyn std::error::Error) -> End {
        self.lost(DisconnectReason::ParseError, &error.to_string())
    }

    fn open(&mut self, json: &str, out: &mut Out) -> Result<(), End> {
        let open: Open = serde_json::from_str(json).map_err(|error| self.unreadable(&error))?;
        self.silence_max = Duration::from_millis(open.ping_interval.saturating_add(open.ping_timeout))
            .clamp(SILENCE_MIN, SILENCE_MAX);
        self.shared.outbox.lock().opened(open.max_payload.filter(|max| *max > 0).unwrap_or(usize::MAX));
        self.stage = Stage::Joining;
        out.push(Opcode::Text, self.connect_packet().as_bytes());
        Ok(())
    }

    fn connect_packet(&self) -> String {
        let mut auth = self.shared.auth.lock().clone();
        if let Some(recovery) = self.recovery {
            auth.insert("recovery".to_owned(), Value::Bool(recovery));
        }
        // A pid without an offset is of a connection on which no event came.
        let claim = [("pid", &self.resume.pid), ("offset", &self.resume.offset)];
        for (key, value) in claim {
            if let Some(value) = value {
                auth.insert(key.to_owned(), Value::String(value.clone()));
            }
        }
        let prefix = socketio::namespace_prefix(&self.shared.namespace);
        let auth = if auth.is_empty() { String::new() } else { Value::Object(auth).to_string() };
        format!("40{prefix}{auth}")
    }

    fn packet(&mut self, packet: Decoded<'_>, out: &mut Out) -> Result<(), End> {
        if packet.namespace != self.shared.namespace {
            return Ok(());
        }
        match packet.content {
            Content::Connect(json) if !self.is_joined() => {
                return self.accepted(json.as_deref().unwrap_or("{}"));
            }
            Content::ConnectError(json) if !self.is_joined() => return Err(End::NotJoined(refusal(&json))),
            Content::Disconnect if self.is_joined() => {
                return Err(End::Left(DisconnectReason::IoServerDisconnect));
            }
            Content::Disconnect => {
                let reason = DisconnectReason::IoServerDisconnect;
                return Err(End::NotJoined(Error::Disconnected(reason)));
            }
            // Also while joining: a resumed session's missed events come before the answer to CONNECT.
            Content::Event(name, args) => self.event(&name, args, packet.id, out),
            Content::Ack(args) => {
                if let Some(id) = packet.id {
                    self.shared.outbox.lock().answer(id, args.into_owned());
                }
            }
            Content::Connect(_) | Content::ConnectError(_) => {}
        }
        Ok(())
    }

    fn accepted(&mut self, json: &str) -> Result<(), End> {
        let accepted: Accepted = serde_json::from_str(json).map_err(|error| self.unreadable(&error))?;
        let Some(id) = accepted.sid else {
            return Err(self.lost(DisconnectReason::ParseError, "it speaks an older protocol (Socket.IO 2)"));
        };
        let pid = accepted.pid.filter(|_| self.recovery != Some(false));
        let recovered = pid.is_some() && pid == self.resume.pid;
        if !recovered {
            // An offset of another session names nothing in this one.
            let is_gateway = pid.as_ref().is_some_and(|pid| is_of_gateway(pid, &id));
            *self.resume = Resume { pid, offset: None, is_gateway };
        }
        self.stage = Stage::Joined;
        self.shared.joined(&id, recovered);
        tracing::debug!(id, recovered, "connected");
        // Nobody left to tell means that the task is about to end, too.
        if let Some(alive) = self.alive.upgrade() {
            let socket = Socket::new(alive);
            self.handlers.connected(&Connected { id: id.into(), recovered, socket });
        }
        Ok(())
    }

    fn event(&mut self, name: &str, args: Args<'_>, id: Option<u64>, out: &mut Out) {
        // The offset is the last argument of what can be resumed; events to be acknowledged cannot.
        let is_resumable = self.resume.pid.is_some() && id.is_none();
        let last = if is_resumable { last(&args) } else { Last::Other };
        let args = match &last {
            // Other servers leave the offset out of some events, whose own last argument may be a string.
            Last::String { before, .. } | Last::Null { before } if self.resume.is_gateway => {
                Args::from_raw(args.items()[..*before].to_owned(), args.attachments().to_vec())
            }
            _ => args.into_owned(),
        };
        let answer = self.handlers.event(name, args, id, self.shared);
        if let (Some(id), Some(answer)) = (id, answer) {
            // Straight out: one read may ask for more answers than the queue has places. Reading
            // pauses when they pile up.
            out.push(Opcode::Text, socketio::ack(&self.shared.namespace, id, &answer).as_bytes());
            for attachment in answer.attachments() {
                out.push(Opcode::Binary, attachment);
            }
        }
        if let Last::String { text, .. } = last {
            self.resume.offset = Some(text);
        }
    }
}

/// The last argument, as far as it matters here, and where those before it end.
#[derive(Debug, PartialEq, Eq)]
enum Last {
    /// An offset, if the server sends one with each event.
    String {
        text: String,
        before: usize,
    },
    /// What a gateway puts behind arguments of which the last could be taken for what it puts there.
    Null {
        before: usize,
    },
    Other,
}

fn last(args: &Args<'_>) -> Last {
    let items = args.items();
    // Most arguments end otherwise, and need no closer look.
    if !items.ends_with('"') && !items.ends_with("null") {
        return Last::Other;
    }
    let array = format!("[{items}]");
    let Some(raw) = serde_json::from_str(&array).ok().and_then(|mut all: Vec<&RawValue>| all.pop()) else {
        return Last::Other;
    };
    let before = items[..items.len() - raw.get().len()].trim_end();
    let before = before.strip_suffix(',').unwrap_or(before).len();
    match serde_json::from_str(raw.get()) {
        Ok(Some(text)) => Last::String { text, before },
        Ok(None) => Last::Null { before },
        Err(_) => Last::Other,
    }
}

/// Whether a pid is one of an idae-socket gateway, which begins with the socket's id and a dot. Other servers draw
/// both at random.
fn is_of_gateway(pid: &str, id: &str) -> bool {
    pid.strip_prefix(id).is_some_and(|rest| rest.starts_with('.'))
}

fn refusal(json: &str) -> Error {
    match serde_json::from_str(json) {
        Ok(Value::Object(mut object)) => Error::Refused {
            message: match object.remove("message") {
                Some(Value::String(message)) => message,
                _ => "refused".to_owned(),
            },
            data: object.remove("data"),
        },
        Ok(Value::String(message)) => Error::Refused { message, data: None },
        _ => Error::Refused { message: "refused".to_owned(), data: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_argument_is_found() {
        let string = |text: &str, before| Last::String { text: text.to_owned(), before };
        for (items, expected) in [
            ("", Last::Other),
            ("1", Last::Other),
            (r#""a""#, string("a", 0)),
            (r#"{"b":"c"}"#, Last::Other),
            (r#"["x","y"],"of\"set""#, string("of\"set", 9)),
            (r#""a" , "b""#, string("b", 4)),
            (r#""a",1"#, Last::Other),
            ("null", Last::Null { before: 0 }),
            (r#""a",null"#, Last::Null { before: 3 }),
            ("[null]", Last::Other),
        ] {
            assert_eq!(last(&Args::from_raw(items, Vec::new())), expected, "{items}");
        }
    }

    #[test]
    fn refusals_are_read_in_both_forms() {
        let refused = refusal(r#"{"message":"no","data":{"code":"x"}}"#);
        assert_eq!((refused.to_string().as_str(), refused.code()), ("no", Some("x")));
        assert_eq!(refusal(r#""old form""#).to_string(), "old form");
    }
}
