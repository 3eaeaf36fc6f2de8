//! A client's messages and the server's decisions, in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use idae_socket_protocol::socketio::{
    ATTACHMENTS_MAX, Args, Connection, Content, Decoded, Decoder, Held, Inbound, Limits, Parsers, Violation,
};
use serde::de::IgnoredAny;

/// Low, so that short scripts reach them.
const LIMITS: Limits = Limits {
    parsers: Parsers { json: true, msgpack: false },
    namespaces_max: 3,
    auth_bytes_max: 20,
    attachments_bytes_max: 40,
};

/// How long a client may be unaware that it was kicked.
const KICK_GRACE: Duration = Duration::from_secs(10);

/// Events that one namespace may have waiting.
const HELD_EVENTS_MAX: usize = 64;

/// A connection, led by a script with one step on each line:
/// * `t<text>` and `b<bytes>`: a message of the client;
/// * `a<namespace>`, `r<namespace>`, `k<namespace>`: the server accepts, refuses, kicks;
/// * `w<letter>`: so many seconds pass.
///
/// Checked are:
/// * only who is in a namespace is heard there, and in not more namespaces than allowed;
/// * of what is sent to a joined namespace nothing is lost or changed;
/// * events behind a CONNECT come out when it is accepted, in order, and never before;
/// * what is held stays below the limits, and arguments stay valid JSON.
///
/// The script ends at the first violation, as a connection does.
pub fn socketio_connection(data: &[u8]) {
    let mut walk = Walk::default();
    // Time comes in as a number of seconds, so any instant will do as the first.
    let start = Instant::now();
    let mut seconds = 0;
    for line in data.split(|byte| *byte == b'\n') {
        let [step, rest @ ..] = line else { continue };
        let text = String::from_utf8_lossy(rest);
        let now = start + Duration::from_secs(seconds);
        let outcome = match step {
            b't' => walk.text(&text, now),
            b'b' => walk.binary(rest, now),
            b'a' => {
                walk.accept(&text);
                Ok(())
            }
            b'r' => {
                walk.refuse(&text);
                Ok(())
            }
            b'k' => {
                walk.kick(&text, now);
                Ok(())
            }
            b'w' => {
                seconds += rest.first().map_or(1, |letter| u64::from(letter % 16));
                Ok(())
            }
            _ => Ok(()),
        };
        walk.check_held();
        if outcome.is_err() {
            break;
        }
    }
}

#[derive(Default)]
struct Walk {
    connection: Connection,
    /// Reads the same messages, and so tells what the connection has been sent.
    decoder: Decoder,
    joined: BTreeSet<String>,
    /// With the events that wait for the decision.
    connecting: BTreeMap<String, Vec<Held>>,
    /// Until when packets may be on their way that were sent before the kick.
    kicked: BTreeMap<String, Instant>,
    /// The most that these ever were.
    kicked_most: usize,
    /// Bytes of the longest text so far.
    text_bytes: usize,
}

impl Walk {
    fn text(&mut self, text: &str, now: Instant) -> Result<(), Violation> {
        self.text_bytes = self.text_bytes.max(text.len());
        let sent = self.decoder.text(text);
        let inbound = self.connection.text(text, &LIMITS, now);
        match sent {
            Ok(sent) => {
                let outcome = inbound.as_ref().map(Option::as_ref).map_err(|violation| *violation);
                self.check(sent.as_ref(), outcome, now);
            }
            Err(error) => assert_eq!(inbound, Err(Violation::Decode(error)), "{text:?}"),
        }
        inbound.map(|_| ())
    }

    fn binary(&mut self, bytes: &[u8], now: Instant) -> Result<(), Violation> {
        let sent = self.decoder.binary(bytes, LIMITS.attachments_bytes_max);
        let inbound = self.connection.binary(bytes, &LIMITS, now);
        match sent {
            Ok(sent) => {
                let outcome = inbound.as_ref().map(Option::as_ref).map_err(|violation| *violation);
                self.check(sent.as_ref(), outcome, now);
            }
            // As the first message they are of a parser that is not offered.
            Err(_) if self.text_bytes == 0 => assert_eq!(inbound, Err(Violation::OtherParser), "{bytes:?}"),
            Err(error) => assert_eq!(inbound, Err(Violation::Decode(error)), "{bytes:?}"),
        }
        inbound.map(|_| ())
    }

    fn accept(&mut self, namespace: &str) {
        let held = self.connection.accept(namespace);
        let expected = self.connecting.remove(namespace);
        if expected.is_some() {
            self.joined.insert(namespace.to_owned());
        }
        assert_eq!(held, expected.unwrap_or_default(), "what was sent to {namespace:?} meanwhile");
    }

    fn refuse(&mut self, namespace: &str) {
        // Only what is undecided can be refused.
        if self.connecting.remove(namespace).is_some() {
            self.connection.refuse(namespace);
        }
    }

    fn kick(&mut self, namespace: &str, now: Instant) {
        let was_connecting = self.connecting.remove(namespace).is_some();
        if self.joined.remove(namespace) || was_connecting {
            self.kicked.insert(namespace.to_owned(), now + KICK_GRACE);
            self.kicked_most = self.kicked_most.max(self.kicked.len());
        }
        self.connection.kick(namespace, now);
    }

    /// Compares what was sent with what came out, and remembers what follows from it.
    fn check(
        &mut self,
        sent: Option<&Decoded<'_>>,
        outcome: Result<Option<&Inbound<'_>>, Violation>,
        now: Instant,
    ) {
        let Some(Decoded { namespace, id, content }) = sent else {
            assert_eq!(outcome, Ok(None), "something comes out of half a packet");
            return;
        };
        let namespace = namespace.as_ref();
        check_content(content);
        match outcome {
            Ok(Some(inbound)) => self.check_delivered(namespace, *id, content, inbound),
            Ok(None) => self.check_kept(namespace, *id, content, now),
            Err(violation) => self.check_violation(namespace, content, violation, now),
        }
        if matches!(content, Content::Connect(_)) {
            // It knows of the kick, or it would not ask to be let in again.
            self.kicked.remove(namespace);
        }
    }

    fn check_delivered(
        &mut self,
        namespace: &str,
        id: Option<u64>,
        content: &Content<'_>,
        inbound: &Inbound<'_>,
    ) {
        let is_joined = self.joined.contains(namespace);
        let is_connecting = self.connecting.contains_key(namespace);
        let in_use = self.joined.len() + self.connecting.len();
        match (inbound, content) {
            (Inbound::Connect { namespace: to, auth }, Content::Connect(sent)) => {
                assert_eq!((to.as_ref(), auth), (namespace, sent));
                assert!(!is_joined && !is_connecting, "{namespace:?} is joined twice");
                assert!(in_use < LIMITS.namespaces_max, "{namespace:?} is one too many");
                assert!(
                    auth.as_ref().is_none_or(|auth| auth.len() <= LIMITS.auth_bytes_max),
                    "{auth:?} is too large"
                );
                self.connecting.insert(namespace.to_owned(), Vec::new());
            }
            (Inbound::ConnectRefused { namespace: to, .. }, Content::Connect(auth)) => {
                assert_eq!(to, namespace);
                assert!(!is_joined && !is_connecting, "{namespace:?} is refused and was let in before");
                let is_over_limit = in_use == LIMITS.namespaces_max
                    || auth.as_ref().is_some_and(|auth| auth.len() > LIMITS.auth_bytes_max)
                    || namespace.len() > 256;
                assert!(is_over_limit, "{namespace:?} passes no limit");
            }
            (Inbound::Event { namespace: to, id: asked, name, args }, Content::Event(sent, sent_args)) => {
                assert!(is_joined, "an event for {namespace:?}, which is not joined");
                assert_eq!((to.as_ref(), *asked, name, args), (namespace, id, sent, sent_args));
            }
            (Inbound::Ack { namespace: to, id: answered, args }, Content::Ack(sent)) => {
                assert!(is_joined, "an answer from {namespace:?}, which is not joined");
                assert_eq!((to.as_ref(), Some(*answered), args), (namespace, id, sent));
            }
            (Inbound::Disconnect { namespace: to }, Content::Disconnect) => {
                assert_eq!(to, namespace);
                assert!(self.joined.remove(namespace), "{namespace:?} is left and was not joined");
            }
            _ => panic!("{content:?} was sent, and {inbound:?} came out"),
        }
    }

    /// Nothing came out: the packet is held, crosses a kick, or answers nothing.
    fn check_kept(&mut self, namespace: &str, id: Option<u64>, content: &Content<'_>, now: Instant) {
        if let Some(held) = self.connecting.get_mut(namespace) {
            let Content::Event(name, args) = content else { panic!("{content:?} is held for {namespace:?}") };
            held.push(Held { id, name: name.clone().into_owned(), args: args.clone().into_owned() });
        } else if self.joined.contains(namespace) {
            assert!(matches!(content, Content::Ack(_)) && id.is_none(), "{content:?} is lost");
        } else {
            assert!(!matches!(content, Content::Connect(_)), "a CONNECT for {namespace:?} is lost");
            assert!(self.is_unaware(namespace, now), "{content:?} for {namespace:?} is ignored");
        }
    }

    /// Whether the client may still send there because it does not know that it was kicked.
    fn is_unaware(&self, namespace: &str, now: Instant) -> bool {
        self.kicked.get(namespace).is_some_and(|until| now < *until)
    }

    fn check_violation(&self, namespace: &str, content: &Content<'_>, violation: Violation, now: Instant) {
        let is_joined = self.joined.contains(namespace);
        let is_connecting = self.connecting.contains_key(namespace);
        let is_due = match (violation, content) {
            (Violation::ConnectedTwice, Content::Connect(_)) => is_joined || is_connecting,
            (Violation::NotJoined, Content::Connect(_)) => false,
            (Violation::NotJoined, Content::Event(..)) => !is_joined && !is_connecting,
            (Violation::NotJoined, _) => !is_joined,
            (Violation::OnlyForServers, Content::ConnectError(_)) => is_joined,
            (Violation::TooManyHeld, Content::Event(name, args)) => {
                let waiting = self.connecting.values().flatten();
                let bytes: usize = waiting.map(|held| bytes(&held.name, &held.args)).sum();
                let count = self.connecting.get(namespace).map_or(0, Vec::len);
                is_connecting
                    && (count == HELD_EVENTS_MAX
                        || bytes + self::bytes(name, args) > LIMITS.attachments_bytes_max)
            }
            _ => false,
        };
        // Of more kicks than that the oldest may be forgotten.
        let is_forgiven = self.is_unaware(namespace, now) && self.kicked_most <= LIMITS.namespaces_max;
        let is_connect = matches!(content, Content::Connect(_));
        assert!(is_connect || !is_forgiven, "{content:?} for {namespace:?} was on its way: {violation}");
        assert!(is_due, "{content:?} for {namespace:?} is no case of: {violation}");
    }

    fn check_held(&self) {
        for (namespace, held) in &self.connecting {
            assert!(held.len() <= HELD_EVENTS_MAX, "{} events are held for {namespace:?}", held.len());
        }
        let waiting: usize =
            self.connecting.values().flatten().map(|held| bytes(&held.name, &held.args)).sum();
        assert!(waiting <= LIMITS.attachments_bytes_max, "{waiting} bytes of events are held");
        let unfinished = self.decoder.held_bytes();
        let unfinished_max = self.text_bytes + LIMITS.attachments_bytes_max;
        assert!(unfinished <= unfinished_max, "{unfinished} bytes of a packet are held");
        let held = self.connection.held_bytes();
        assert_eq!(held, unfinished + waiting, "what is held is not what waits");
        assert_eq!(self.connection.has_joined(), !self.joined.is_empty());
    }
}

fn check_content(content: &Content<'_>) {
    let (Content::Event(_, args) | Content::Ack(args)) = content else { return };
    let items = format!("[{}]", args.items());
    assert!(serde_json::from_str::<IgnoredAny>(&items).is_ok(), "{items} is no JSON");
    let attachments = args.attachments();
    assert!(attachments.len() <= ATTACHMENTS_MAX, "{} attachments", attachments.len());
    let bytes: usize = attachments.iter().map(|attachment| attachment.len()).sum();
    assert!(bytes <= LIMITS.attachments_bytes_max, "{bytes} bytes of attachments");
}

fn bytes(name: &str, args: &Args<'_>) -> usize {
    let attachments = args.attachments().iter().map(|attachment| attachment.len());
    name.len() + args.items().len() + attachments.sum::<usize>()
}
