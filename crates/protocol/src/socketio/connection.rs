//! One client's connection: which namespaces it is in, and what it may send because of that.

use std::borrow::Cow;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::decoder::{Content, Decoded, Decoder};
use super::{Args, DecodeError, msgpack};

/// How long packets for a namespace that the server ended are ignored: the client may have sent
/// them before it learnt of it.
const KICK_GRACE: Duration = Duration::from_secs(10);

/// Events a client may send behind a CONNECT that is not decided yet.
const HELD_EVENTS_MAX: usize = 64;

/// Longest namespace name, in bytes.
pub const NAMESPACE_BYTES_MAX: usize = 256;

/// How packets are written. The first packet of a connection says which of them its client uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parser {
    /// The default: text messages with JSON, binary values behind them.
    Json,
    /// `socket.io-msgpack-parser`: one binary message each.
    Msgpack,
}

/// The parsers that clients may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parsers {
    /// [`Parser::Json`].
    pub json: bool,
    /// [`Parser::Msgpack`].
    pub msgpack: bool,
}

impl Parsers {
    const fn contain(self, parser: Parser) -> bool {
        match parser {
            Parser::Json => self.json,
            Parser::Msgpack => self.msgpack,
        }
    }
}

/// What one connection may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The parsers there are.
    pub parsers: Parsers,
    /// Namespaces joined or being joined at the same time.
    pub namespaces_max: usize,
    /// Bytes of CONNECT's auth object.
    pub auth_bytes_max: usize,
    /// Bytes of all attachments of one packet together, with its JSON if it comes as msgpack, and of all events
    /// that wait for the decision on a CONNECT.
    pub attachments_bytes_max: usize,
}

/// Why the connection is to be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// What arrived is no packet.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// Another parser than the connection has used so far, or one that is not offered.
    #[error("packet of another parser")]
    OtherParser,
    /// CONNECT for a namespace that is joined or being joined.
    #[error("CONNECT for a namespace already joined")]
    ConnectedTwice,
    /// A packet for a namespace the client is not in.
    #[error("packet for a namespace not joined")]
    NotJoined,
    /// A packet that only servers send.
    #[error("CONNECT_ERROR from a client")]
    OnlyForServers,
    /// More events behind an undecided CONNECT than are held, or more bytes of them.
    #[error("too many events before the namespace was joined")]
    TooManyHeld,
}

impl Violation {
    /// The name of the limit that was passed, if it was one.
    pub const fn limit(self) -> Option<&'static str> {
        match self {
            Self::TooManyHeld => Some("held_events_max"),
            Self::Decode(DecodeError::TooManyAttachments) => Some("attachments_max"),
            Self::Decode(DecodeError::TooLarge) => Some("payload_bytes_max"),
            Self::Decode(DecodeError::TooDeep) => Some("depth_max"),
            _ => None,
        }
    }
}

/// What the client wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inbound<'a> {
    /// To be let into a namespace: answer with [`Connection::accept`] or [`Connection::refuse`].
    Connect {
        /// The namespace.
        namespace: Cow<'a, str>,
        /// Its auth object as JSON text.
        auth: Option<Cow<'a, str>>,
    },
    /// A CONNECT past a limit. It is refused already, so the answer is a CONNECT_ERROR with this text.
    ConnectRefused {
        /// The namespace.
        namespace: Cow<'a, str>,
        /// Why, in words for the client's developer.
        message: &'static str,
        /// The name of the limit.
        limit: &'static str,
    },
    /// An event.
    Event {
        /// A namespace that the client has joined.
        namespace: Cow<'a, str>,
        /// The acknowledgement id, if it asks for one.
        id: Option<u64>,
        /// The event's name.
        name: Cow<'a, str>,
        /// Its arguments.
        args: Args<'a>,
    },
    /// The answer to an event of the server.
    Ack {
        /// A namespace that the client has joined.
        namespace: Cow<'a, str>,
        /// Which event it answers.
        id: u64,
        /// The answer.
        args: Args<'a>,
    },
    /// It has left the namespace.
    Disconnect {
        /// The namespace.
        namespace: Cow<'a, str>,
    },
}

/// An event that came while its namespace was being decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// The acknowledgement id.
    pub id: Option<u64>,
    /// The event's name.
    pub name: String,
    /// Its arguments.
    pub args: Args<'static>,
}

/// The namespaces of one client, and its half-arrived packet.
#[derive(Debug, Default)]
pub struct Connection {
    /// `None` until the first packet.
    parser: Option<Parser>,
    decoder: Decoder,
    /// A handful at most, so a list and not a map.
    memberships: Vec<Membership>,
}

#[derive(Debug)]
struct Membership {
    namespace: Box<str>,
    state: State,
}

#[derive(Debug)]
enum State {
    Connecting(Vec<Held>),
    Joined,
    Kicked { until: Instant },
}

impl Connection {
    /// Takes a text message. `None`: nothing to do, or attachments have to follow.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub fn text<'a>(
        &mut self,
        text: &'a str,
        limits: &Limits,
        now: Instant,
    ) -> Result<Option<Inbound<'a>>, Violation> {
        self.expect(Parser::Json, limits)?;
        match self.decoder.text(text)? {
            Some(decoded) => self.admit(decoded, limits, now),
            None => Ok(None),
        }
    }

    /// Takes a binary message.
    ///
    /// # Errors
    /// The connection is to be closed.
    pub fn binary(
        &mut self,
        bytes: &[u8],
        limits: &Limits,
        now: Instant,
    ) -> Result<Option<Inbound<'static>>, Violation> {
        if self.parser == Some(Parser::Json) {
            return match self.decoder.binary(bytes, limits.attachments_bytes_max)? {
                Some(decoded) => self.admit(decoded, limits, now),
                None => Ok(None),
            };
        }
        // With the default parser nothing begins with bytes.
        self.expect(Parser::Msgpack, limits)?;
        let decoded = msgpack::decode(bytes, limits.attachments_bytes_max)?;
        self.admit(decoded, limits, now)
    }

    /// How packets to the client have to be written.
    pub fn parser(&self) -> Parser {
        self.parser.unwrap_or(Parser::Json)
    }

    fn expect(&mut self, parser: Parser, limits: &Limits) -> Result<(), Violation> {
        let is_fitting = *self.parser.get_or_insert(parser) == parser && limits.parsers.contain(parser);
        if is_fitting { Ok(()) } else { Err(Violation::OtherParser) }
    }

    /// The client is let in; what it sent meanwhile is returned, in order.
    pub fn accept(&mut self, namespace: &str) -> Vec<Held> {
        match self.find(namespace) {
            Some(Membership { state: state @ State::Connecting(_), .. }) => {
                match std::mem::replace(state, State::Joined) {
                    State::Connecting(held) => held,
                    State::Joined | State::Kicked { .. } => Vec::new(),
                }
            }
            _ => Vec::new(),
        }
    }

    /// The client is not let in.
    pub fn refuse(&mut self, namespace: &str) {
        self.memberships.retain(|membership| &*membership.namespace != namespace);
    }

    /// The server ends the membership; packets that are on their way are ignored for a while.
    pub fn kick(&mut self, namespace: &str, now: Instant) {
        if let Some(membership) = self.find(namespace)
            && !membership.is_kicked()
        {
            membership.state = State::Kicked { until: now + KICK_GRACE };
        }
    }

    /// Whether the client is in at least one namespace.
    pub fn has_joined(&self) -> bool {
        self.memberships.iter().any(|membership| matches!(membership.state, State::Joined))
    }

    /// Bytes kept for packets that are not complete, or whose namespace is not decided on.
    pub fn held_bytes(&self) -> usize {
        self.decoder.held_bytes() + self.held_events_bytes()
    }

    fn held_events_bytes(&self) -> usize {
        let events = self.memberships.iter().filter_map(|membership| match &membership.state {
            State::Connecting(held) => Some(held),
            State::Joined | State::Kicked { .. } => None,
        });
        events.flatten().map(|held| event_bytes(&held.name, &held.args)).sum()
    }

    fn find(&mut self, namespace: &str) -> Option<&mut Membership> {
        self.memberships.iter_mut().find(|membership| &*membership.namespace == namespace)
    }

    /// Holds a packet against what the client may do.
    fn admit<'a>(
        &mut self,
        decoded: Decoded<'a>,
        limits: &Limits,
        now: Instant,
    ) -> Result<Option<Inbound<'a>>, Violation> {
        let Decoded { namespace, id, content } = decoded;
        if let Content::Connect(auth) = content {
            return self.connect(namespace, auth, limits, now).map(Some);
        }
        let membership = self.find(&namespace).ok_or(Violation::NotJoined)?;
        match membership.state {
            State::Kicked { until } if now < until => Ok(None),
            State::Kicked { .. } => Err(Violation::NotJoined),
            State::Connecting(_) => match content {
                Content::Event(name, args) => self.hold(&namespace, id, name, args, limits).map(|()| None),
                _ => Err(Violation::NotJoined),
            },
            State::Joined => match content {
                Content::Event(name, args) => Ok(Some(Inbound::Event { namespace, id, name, args })),
                // An answer without id answers nothing.
                Content::Ack(args) => Ok(id.map(|id| Inbound::Ack { namespace, id, args })),
                Content::Disconnect => {
                    self.refuse(&namespace);
                    Ok(Some(Inbound::Disconnect { namespace }))
                }
                Content::ConnectError(_) | Content::Connect(_) => Err(Violation::OnlyForServers),
            },
        }
    }

    /// Keeps an event until its namespace is decided on.
    fn hold(
        &mut self,
        namespace: &str,
        id: Option<u64>,
        name: Cow<'_, str>,
        args: Args<'_>,
        limits: &Limits,
    ) -> Result<(), Violation> {
        let bytes = self.held_events_bytes() + event_bytes(&name, &args);
        match self.find(namespace) {
            Some(Membership { state: State::Connecting(held), .. })
                if held.len() < HELD_EVENTS_MAX && bytes <= limits.attachments_bytes_max =>
            {
                held.push(Held { id, name: name.into_owned(), args: args.into_owned() });
                Ok(())
            }
            _ => Err(Violation::TooManyHeld),
        }
    }

    fn connect<'a>(
        &mut self,
        namespace: Cow<'a, str>,
        auth: Option<Cow<'a, str>>,
        limits: &Limits,
        now: Instant,
    ) -> Result<Inbound<'a>, Violation> {
        self.forget_kicked(limits, now);
        match self.find(&namespace) {
            Some(Membership { state: State::Kicked { .. }, .. }) => self.refuse(&namespace),
            Some(_) => return Err(Violation::ConnectedTwice),
            None => {}
        }
        let refusal = if namespace.len() > NAMESPACE_BYTES_MAX {
            Some(("Invalid namespace", "namespace_bytes_max"))
        } else if auth.as_ref().is_some_and(|auth| auth.len() > limits.auth_bytes_max) {
            Some(("The auth object is too large", "auth_bytes_max"))
        } else if self.memberships.iter().filter(|membership| !membership.is_kicked()).count()
            >= limits.namespaces_max
        {
            Some(("Too many namespaces on one connection", "namespaces_max"))
        } else {
            None
        };
        if let Some((message, limit)) = refusal {
            return Ok(Inbound::ConnectRefused { namespace, message, limit });
        }
        // One place, not the four that a first push makes: most clients join one namespace.
        self.memberships.reserve_exact(1);
        self.memberships
            .push(Membership { namespace: (&*namespace).into(), state: State::Connecting(Vec::new()) });
        Ok(Inbound::Connect { namespace, auth })
    }

    /// Drops the memberships that ended long ago, and the oldest of the others where they are more
    /// than a client may have: somebody who is kicked over and over must not fill the list.
    fn forget_kicked(&mut self, limits: &Limits, now: Instant) {
        let kicked = self.memberships.iter().filter(|membership| membership.is_kicked()).count();
        let mut too_many = kicked.saturating_sub(limits.namespaces_max);
        self.memberships.retain(|membership| match membership.state {
            State::Kicked { until } => {
                let is_too_many = too_many > 0;
                too_many = too_many.saturating_sub(1);
                !is_too_many && now < until
            }
            State::Connecting(_) | State::Joined => true,
        });
    }
}

impl Membership {
    const fn is_kicked(&self) -> bool {
        matches!(self.state, State::Kicked { .. })
    }
}

fn event_bytes(name: &str, args: &Args<'_>) -> usize {
    name.len() + args.items().len() + args.attachments().iter().map(Bytes::len).sum::<usize>()
}

#[cfg(test)]
#[allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    const LIMITS: Limits = Limits {
        parsers: Parsers { json: true, msgpack: true },
        namespaces_max: 3,
        auth_bytes_max: 30,
        attachments_bytes_max: 10,
    };

    /// Feeds messages to one connection; a CONNECT is accepted unless the namespace says otherwise.
    #[track_caller]
    fn check(messages: &[&str], expected: Expect) {
        let now = Instant::now();
        let mut connection = Connection::default();
        let mut lines = Vec::new();
        for message in messages {
            let inbound = match message.strip_prefix("bytes:") {
                Some(bytes) => connection.binary(bytes.as_bytes(), &LIMITS, now),
                None => connection.text(message, &LIMITS, now),
            };
            lines.push(match inbound {
                Ok(Some(inbound)) => format!("{inbound:?}"),
                Ok(None) => "-".to_owned(),
                Err(violation) => format!("close: {violation}"),
            });
            match &connection.memberships.last() {
                Some(Membership { namespace, state: State::Connecting(_) }) if &**namespace == "/refused" => {
                    connection.refuse("/refused");
                }
                Some(Membership { namespace, state: State::Connecting(_) }) if &**namespace != "/slow" => {
                    let namespace = namespace.clone();
                    connection.accept(&namespace);
                }
                _ => {}
            }
        }
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn events_flow_after_connect() {
        check(
            &["0", r#"27["a",1]"#, "33[2]", "3[]", "1", "0"],
            expect![[r#"
                Connect { namespace: "/", auth: None }
                Event { namespace: "/", id: Some(7), name: "a", args: Args { items: "1", attachments: [] } }
                Ack { namespace: "/", id: 3, args: Args { items: "2", attachments: [] } }
                -
                Disconnect { namespace: "/" }
                Connect { namespace: "/", auth: None }"#]],
        );
    }

    #[test]
    fn the_first_packet_says_which_parser_a_client_uses() {
        // `{type: 0, nsp: "/"}` and `{type: 2, data: ["a"], nsp: "/"}`
        let (connect, event) =
            (&b"\x82\xa4type\x00\xa3nsp\xa1/"[..], b"\x83\xa4type\x02\xa4data\x91\xa1a\xa3nsp\xa1/");
        let now = Instant::now();
        let mut connection = Connection::default();
        assert!(matches!(connection.binary(connect, &LIMITS, now), Ok(Some(Inbound::Connect { .. }))));
        assert_eq!(connection.parser(), Parser::Msgpack);
        connection.accept("/");
        assert!(matches!(connection.binary(event, &LIMITS, now), Ok(Some(Inbound::Event { .. }))));
        assert_eq!(connection.text(r#"2["a"]"#, &LIMITS, now), Err(Violation::OtherParser));

        let mut connection = Connection::default();
        assert!(matches!(connection.text("0", &LIMITS, now), Ok(Some(Inbound::Connect { .. }))));
        assert_eq!(connection.parser(), Parser::Json);
        connection.accept("/");
        let unannounced = Err(Violation::Decode(DecodeError::Unexpected));
        assert_eq!(connection.binary(event, &LIMITS, now), unannounced);

        for (parsers, first, second) in [
            (Parsers { json: true, msgpack: false }, Ok(()), Err(Violation::OtherParser)),
            (Parsers { json: false, msgpack: true }, Err(Violation::OtherParser), Ok(())),
        ] {
            let limits = Limits { parsers, ..LIMITS };
            assert_eq!(Connection::default().text("0", &limits, now).map(|_| ()), first);
            assert_eq!(Connection::default().binary(connect, &limits, now).map(|_| ()), second);
        }
    }

    #[test]
    fn packets_for_namespaces_not_joined_close() {
        let close = || expect!["close: packet for a namespace not joined"];
        check(&[r#"2["a"]"#], close());
        check(&["1"], close());
        check(&["31[]"], close());
        check(
            &["0/x,", r#"2["a"]"#],
            expect![[r#"
            Connect { namespace: "/x", auth: None }
            close: packet for a namespace not joined"#]],
        );
        check(
            &["0", "1", r#"2["a"]"#],
            expect![[r#"
            Connect { namespace: "/", auth: None }
            Disconnect { namespace: "/" }
            close: packet for a namespace not joined"#]],
        );
        check(
            &["0/refused", r#"2/refused,["a"]"#],
            expect![[r#"
            Connect { namespace: "/refused", auth: None }
            close: packet for a namespace not joined"#]],
        );
    }

    #[test]
    fn connecting_twice_closes_even_while_undecided() {
        check(
            &["0", "0"],
            expect![[r#"
            Connect { namespace: "/", auth: None }
            close: CONNECT for a namespace already joined"#]],
        );
        check(
            &["0/slow,", "0/slow,"],
            expect![[r#"
            Connect { namespace: "/slow", auth: None }
            close: CONNECT for a namespace already joined"#]],
        );
    }

    #[test]
    fn a_client_sends_no_connect_error() {
        check(
            &["0", r#"4{"message":"x"}"#],
            expect![[r#"
            Connect { namespace: "/", auth: None }
            close: CONNECT_ERROR from a client"#]],
        );
    }

    #[test]
    fn limits_refuse_the_namespace_and_not_the_connection() {
        check(
            &["0/a,", "0/b,", "0/c,", "0/d,", r#"2/a,["x"]"#],
            expect![[r#"
                Connect { namespace: "/a", auth: None }
                Connect { namespace: "/b", auth: None }
                Connect { namespace: "/c", auth: None }
                ConnectRefused { namespace: "/d", message: "Too many namespaces on one connection", limit: "namespaces_max" }
                Event { namespace: "/a", id: None, name: "x", args: Args { items: "", attachments: [] } }"#]],
        );
        check(
            &[r#"0{"token":"0123456789012345678901234567890"}"#],
            expect![[
                r#"ConnectRefused { namespace: "/", message: "The auth object is too large", limit: "auth_bytes_max" }"#
            ]],
        );
    }

    #[test]
    fn events_behind_an_undecided_connect_are_held_in_order() {
        let now = Instant::now();
        let mut connection = Connection::default();
        connection.text("0", &LIMITS, now).unwrap();
        assert_eq!(connection.text(r#"2["a"]"#, &LIMITS, now), Ok(None));
        assert_eq!(connection.text(r#"25["b",1]"#, &LIMITS, now), Ok(None));
        let held = connection.accept("/");
        assert_eq!(
            held.iter().map(|held| (held.name.as_str(), held.id)).collect::<Vec<_>>(),
            [("a", None), ("b", Some(5))]
        );
    }

    #[test]
    fn events_behind_an_undecided_connect_are_bounded() {
        let now = Instant::now();
        let limits = Limits { attachments_bytes_max: 1000, ..LIMITS };
        let mut connection = Connection::default();
        connection.text("0", &limits, now).unwrap();
        for _ in 0..HELD_EVENTS_MAX {
            assert_eq!(connection.text(r#"2["a"]"#, &limits, now), Ok(None));
        }
        assert_eq!(connection.text(r#"2["a"]"#, &limits, now), Err(Violation::TooManyHeld));
    }

    #[test]
    fn the_bytes_of_events_behind_undecided_connects_are_bounded_together() {
        let now = Instant::now();
        let mut connection = Connection::default();
        connection.text("0/a", &LIMITS, now).unwrap();
        connection.text("0/b", &LIMITS, now).unwrap();
        assert_eq!(connection.text(r#"2/a,["abc",12]"#, &LIMITS, now), Ok(None));
        assert_eq!(connection.text(r#"51-/b,["d"]"#, &LIMITS, now), Ok(None));
        assert_eq!(connection.binary(b"3456", &LIMITS, now), Ok(None));
        assert_eq!(connection.held_bytes(), 10);
        assert_eq!(connection.text(r#"2/b,["e"]"#, &LIMITS, now), Err(Violation::TooManyHeld));

        assert_eq!(connection.accept("/a").len(), 1);
        assert_eq!(connection.held_bytes(), 5);
        assert_eq!(connection.text(r#"2/b,["e"]"#, &LIMITS, now), Ok(None), "there is room again");
    }

    #[test]
    fn namespaces_that_the_server_ended_do_not_count() {
        let now = Instant::now();
        let mut connection = Connection::default();
        let mut join = |index: usize, kicks: bool| {
            let connect = format!("0/{index}");
            let inbound = connection.text(&connect, &LIMITS, now);
            assert!(matches!(inbound, Ok(Some(Inbound::Connect { .. }))), "{inbound:?}");
            if kicks {
                connection.kick(&connect[1..], now);
            }
            connection.memberships.len()
        };
        for index in 0..20 {
            assert!(join(index, true) <= 2 * LIMITS.namespaces_max, "kicked ones pile up");
        }
        for index in 20..20 + LIMITS.namespaces_max {
            join(index, false);
        }
        let inbound = connection.text("0/more", &LIMITS, now);
        assert!(matches!(inbound, Ok(Some(Inbound::ConnectRefused { .. }))), "{inbound:?}");

        let later = now + KICK_GRACE;
        let inbound = connection.text("0/more", &LIMITS, later);
        assert!(matches!(inbound, Ok(Some(Inbound::ConnectRefused { .. }))), "{inbound:?}");
        assert_eq!(connection.memberships.len(), LIMITS.namespaces_max, "kicked ones are forgotten");
    }

    #[test]
    fn packets_that_cross_a_kick_are_ignored_for_a_while() {
        let now = Instant::now();
        let mut connection = Connection::default();
        connection.text("0", &LIMITS, now).unwrap();
        connection.accept("/");
        connection.kick("/", now);
        for message in [r#"2["a"]"#, "1", "31[]"] {
            assert_eq!(connection.text(message, &LIMITS, now), Ok(None));
        }
        connection.kick("/", now + KICK_GRACE / 2);
        assert_eq!(connection.text(r#"2["a"]"#, &LIMITS, now + KICK_GRACE), Err(Violation::NotJoined));
        assert!(matches!(connection.text("0", &LIMITS, now), Ok(Some(Inbound::Connect { .. }))));
    }

    #[test]
    fn binary_packets_wait_for_their_attachments() {
        check(
            &[
                "0",
                r#"52-1["a",{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#,
                "bytes:x",
                "bytes:yz",
            ],
            expect![[r#"
                Connect { namespace: "/", auth: None }
                -
                -
                Event { namespace: "/", id: Some(1), name: "a", args: Args { items: "{\"_placeholder\":true,\"num\":1},{\"_placeholder\":true,\"num\":0}", attachments: [b"x", b"yz"] } }"#]],
        );
        check(
            &["0", "bytes:x"],
            expect![[r#"
            Connect { namespace: "/", auth: None }
            close: unexpected message"#]],
        );
        check(
            &["0", r#"51-["a"]"#, r#"2["b"]"#],
            expect![[r#"
            Connect { namespace: "/", auth: None }
            -
            close: unexpected message"#]],
        );
        check(
            &["0", r#"52-["a"]"#, "bytes:123456", "bytes:78901"],
            expect![[r#"
            Connect { namespace: "/", auth: None }
            -
            -
            close: too large"#]],
        );
    }
}
