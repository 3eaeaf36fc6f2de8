//! Hub, history and recovery against a model that keeps a list for every client.
//!
//! A client receives what its outbox holds whenever it likes. A cut takes what it has not received; coming back
//! must bring exactly that, and what was published meanwhile: each event once, in the order of publishing.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use idae_socket_protocol::Sid;
use idae_socket_protocol::engineio::{Message, Packet};
use idae_socket_protocol::socketio::{Connection, Inbound, Limits as ReadLimits, Parser, Parsers, repack};
use idae_socket_protocol::websocket::Frame;
use proptest::prelude::*;

use super::{Missed, enter, is_known_for_recovery};
use crate::auth::Identity;
use crate::history::{History, Settings};
use crate::hub::{self, Entry, Hub, Limits, Outbox, Shape, SocketKey, Target};
use crate::observe::Metrics;
use crate::publish::{Departed, Memory, Road};

const ROOMS: [&str; 3] = ["a", "b", "c"];
const USERS: [&str; 2] = ["ada", "bob"];
const CLIENTS: usize = 4;

#[derive(Debug, Clone)]
enum Step {
    /// To rooms, users, single clients or everybody, except some rooms.
    Publish {
        rooms: Vec<usize>,
        user: Option<usize>,
        client: Option<usize>,
        everyone: bool,
        except: Option<usize>,
        volatile: bool,
    },
    Join(usize, usize),
    /// Leaving a room is asked for by a client that is alive, so it has received what came before.
    Part(usize, usize),
    Receive(usize),
    Cut(usize),
    Return(usize),
}

fn step() -> impl Strategy<Value = Step> {
    let client = 0..CLIENTS;
    let publish = (
        prop::collection::vec(0..ROOMS.len(), 0..3),
        prop::option::weighted(0.2, 0..USERS.len()),
        prop::option::weighted(0.2, 0..CLIENTS),
        prop::bool::weighted(0.15),
        prop::option::weighted(0.15, 0..ROOMS.len()),
        prop::bool::weighted(0.1),
    )
        .prop_map(|(rooms, user, client, everyone, except, volatile)| Step::Publish {
            rooms,
            user,
            client,
            everyone,
            except,
            volatile,
        });
    prop_oneof![
        6 => publish,
        3 => (client.clone(), 0..ROOMS.len()).prop_map(|(client, room)| Step::Join(client, room)),
        1 => (client.clone(), 0..ROOMS.len()).prop_map(|(client, room)| Step::Part(client, room)),
        2 => client.clone().prop_map(Step::Receive),
        2 => client.clone().prop_map(Step::Cut),
        3 => client.prop_map(Step::Return),
    ]
}

struct Gateway {
    hub: Arc<Hub>,
    history: Arc<Memory>,
    road: Road,
    metrics: Arc<Metrics>,
}

impl Gateway {
    fn new() -> Self {
        let metrics = Arc::new(Metrics::new());
        let limits = Limits { outbox_bytes_max: 1 << 20, backlog_bytes_max: 1 << 20, rooms_max: 10 };
        let hub = Arc::new(Hub::new(2, limits, Arc::<Metrics>::clone(&metrics)));
        let settings = Settings {
            window: Duration::from_secs(120),
            notice_time: Duration::from_secs(45),
            bytes_max: 1 << 20,
        };
        let history = Arc::new(History::new(settings));
        let road = Road::new(Arc::clone(&hub), Arc::clone(&history), Duration::ZERO, 1, Arc::clone(&metrics));
        Self { hub, history, road, metrics }
    }
}

/// A client as it sees itself, and what the model expects it to see.
struct Client {
    parser: Parser,
    sid: Sid,
    user: Option<usize>,
    rooms: BTreeSet<usize>,
    /// `None` while it is away.
    connection: Option<(SocketKey, Arc<Outbox>)>,
    received: Vec<u64>,
    offset: Option<String>,
    expected: Vec<u64>,
}

impl Client {
    fn entry(&self, outbox: &Arc<Outbox>) -> Entry {
        Entry {
            sid: self.sid,
            namespace: "/".into(),
            user: self.user.map(|user| USERS[user].to_owned()),
            outbox: Arc::clone(outbox),
            shape: Shape { parser: self.parser, has_offset: true },
        }
    }

    /// Takes everything that waits, as a poll would.
    fn receive(&mut self) {
        let Some((_, outbox)) = &self.connection else { return };
        while let Some(payload) = outbox.take_payload() {
            let payload = String::from_utf8(payload).unwrap();
            for packet in payload.split('\u{1e}').filter(|packet| packet.starts_with(['4', 'b'])) {
                let Some((number, offset)) = event(self.parser, packet) else { continue };
                self.received.push(number);
                self.offset = Some(offset);
            }
        }
        // Between two polls nobody is ready for a volatile event.
        outbox.stop_waiting();
    }

    fn cut(&mut self, gateway: &Gateway, now: Instant) {
        let Some((key, outbox)) = self.connection.take() else { return };
        outbox.abandon();
        let stay = gateway.hub.leave(key).unwrap();
        let departed = Departed {
            namespace: "/".into(),
            identity: Arc::new(Identity::anonymous()),
            stay,
            unproven: None,
        };
        gateway.history.leave(self.sid, departed, 100, gateway.history.doubt(now), now);
    }

    async fn come_back(&mut self, gateway: &Gateway, now: Instant) {
        if self.connection.is_some() {
            return;
        }
        let away = gateway.history.come_back(&self.sid, now).unwrap();
        let stay = away.what.stay;
        let position = match &self.offset {
            Some(offset) => gateway.history.parse_offset(offset).unwrap(),
            None => stay.since,
        };
        let outbox = Outbox::polling();
        let entry = self.entry(&outbox);
        let last = Frame::text("40{}");
        let missed = Missed { position, doubt: away.doubt, bytes_max: 1 << 20, metrics: &gateway.metrics };
        let (key, _) = enter(&gateway.hub, &gateway.history, entry, &stay, missed, last).await.unwrap();
        self.connection = Some((key, outbox));
    }
}

/// What an event of the test says, if a packet is one.
fn event(parser: Parser, packet: &str) -> Option<(u64, String)> {
    let now = Instant::now();
    let parsers = Parsers { json: parser == Parser::Json, msgpack: parser == Parser::Msgpack };
    let limits = ReadLimits { parsers, namespaces_max: 1, auth_bytes_max: 100, attachments_bytes_max: 100 };
    let mut connection = Connection::default();
    // A client of the test takes what it is sent as a server would: both read the same packets.
    let connect = match parser {
        Parser::Json => connection.text("0", &limits, now),
        Parser::Msgpack => connection.binary(&repack("40", &[]), &limits, now),
    };
    connect.unwrap();
    connection.accept("/");
    let Packet::Message(message) = Packet::decode(packet).unwrap() else { return None };
    let inbound = match &message {
        Message::Text(text) if text.starts_with('2') => connection.text(text, &limits, now),
        Message::Text(_) => return None,
        Message::Binary(bytes) => connection.binary(bytes, &limits, now),
    };
    let Ok(Some(Inbound::Event { args, .. })) = inbound else { panic!("{inbound:?}") };
    Some(args.parse().unwrap())
}

fn run(steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let gateway = Gateway::new();
    let now = Instant::now();
    let mut clients: Vec<Client> = (0..CLIENTS)
        .map(|number| {
            let mut client = Client {
                parser: if number < CLIENTS / 2 { Parser::Json } else { Parser::Msgpack },
                sid: hub::new_sid(number % 2),
                user: Some(number).filter(|number| *number < USERS.len()),
                rooms: BTreeSet::new(),
                connection: None,
                received: Vec::new(),
                offset: None,
                expected: Vec::new(),
            };
            let outbox = Outbox::polling();
            let key = gateway.hub.enter(client.entry(&outbox));
            client.connection = Some((key, outbox));
            client
        })
        .collect();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Publish { rooms, user, client, everyone, except, volatile } => {
                let number = number as u64;
                let named =
                    |list: &[usize]| list.iter().map(|room| ROOMS[*room].to_owned()).collect::<Vec<_>>();
                let users = user.map(|user| USERS[user].to_owned()).into_iter();
                let target = Target {
                    namespace: "/".into(),
                    rooms: named(rooms),
                    users: users.chain(client.map(|client| clients[client].sid.to_string())).collect(),
                    everyone: *everyone,
                    except: named(except.as_slice()),
                };
                drop(gateway.road.deliver("e", &[&number.to_string()], target, *volatile));
                // No poll ever waits, so nobody is ready for a volatile event.
                for (index, meant) in clients.iter_mut().enumerate().filter(|_| !*volatile) {
                    let is_named = *everyone
                        || rooms.iter().any(|room| meant.rooms.contains(room))
                        || (user.is_some() && meant.user == *user)
                        || *client == Some(index);
                    if is_named && !except.is_some_and(|room| meant.rooms.contains(&room)) {
                        meant.expected.push(number);
                    }
                }
            }
            Step::Join(client, room) => {
                let client = &mut clients[*client];
                if let Some((key, _)) = &client.connection {
                    gateway.hub.join(*key, &[ROOMS[*room]]).unwrap();
                    client.rooms.insert(*room);
                }
            }
            Step::Part(client, room) => {
                let client = &mut clients[*client];
                client.receive();
                if let Some((key, _)) = &client.connection {
                    gateway.hub.part(*key, &[ROOMS[*room]]);
                    client.rooms.remove(room);
                }
            }
            Step::Receive(client) => clients[*client].receive(),
            Step::Cut(client) => clients[*client].cut(&gateway, now),
            Step::Return(client) => runtime.block_on(clients[*client].come_back(&gateway, now)),
        }
    }
    for client in &mut clients {
        runtime.block_on(client.come_back(&gateway, now));
        client.receive();
        assert_eq!(client.received, client.expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]
    #[test]
    fn everybody_gets_everything_once_and_in_order(steps in prop::collection::vec(step(), 0..60)) {
        run(&steps);
    }
}

#[track_caller]
fn check(headers: &[(http::HeaderName, &str)], expected: bool) {
    let headers = headers.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect();
    assert_eq!(is_known_for_recovery(&headers), expected, "{headers:?}");
}

#[test]
fn libraries_are_known_by_their_handshake() {
    use http::header::{ORIGIN, SEC_WEBSOCKET_EXTENSIONS, USER_AGENT};
    check(&[], false);
    check(&[(SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate; client_max_window_bits")], true);
    check(&[(SEC_WEBSOCKET_EXTENSIONS, "permessage-deflate"), (ORIGIN, "http://localhost:4000")], false);
    check(&[(USER_AGENT, "Mozilla/5.0 (X11; Linux x86_64)"), (ORIGIN, "https://a.example")], true);
    check(&[(USER_AGENT, "node-XMLHttpRequest")], true);
    check(&[(USER_AGENT, "node")], true);
    check(&[(USER_AGENT, "Bun/1.3.0")], true);
    check(&[(USER_AGENT, "idae-socket-client/0.1.0")], true);
    check(&[(USER_AGENT, "idae-socket/0.1.0")], false);
    check(&[(ORIGIN, "http://localhost:4000")], false);
    check(&[(USER_AGENT, "python-requests/2.32.3")], false);
    check(&[(USER_AGENT, "Python/3.11 aiohttp/3.12")], false);
    check(&[(USER_AGENT, "okhttp/4.12.0")], false);
    check(&[(USER_AGENT, "Dart/3.5 (dart:io)")], false);
    check(&[(USER_AGENT, "")], false);
}

#[test]
fn wishes_of_the_wrong_kind_are_none() {
    use super::Wish;
    assert!(Wish::read(None).is_recoverable(true) && !Wish::read(None).is_recoverable(false));
    assert!(Wish::read(Some(r#"{"recovery":true}"#)).is_recoverable(false));
    assert!(!Wish::read(Some(r#"{"recovery":false}"#)).is_recoverable(true));
    assert!(!Wish::read(Some(r#"{"recovery":"yes"}"#)).is_recoverable(false));
    assert!(Wish::read(Some(r#"{"pid":"p","offset":7}"#)).comes_back());
    for auth in ["{}", r#"{"pid":1}"#, r#"{"pid":null}"#, r#"{"pid":{}}"#, "nonsense"] {
        assert!(!Wish::read(Some(auth)).comes_back(), "{auth}");
    }
}
