//! The hub against a model that keeps sets instead of lists and looks everything up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use idae_socket_protocol::socketio::Parser;
use idae_socket_protocol::websocket::Frame;
use proptest::prelude::*;

use super::{
    Delivery, Entry, Event, Hub, Limits, Outbox, Shape, SocketKey, Target, TooManyRooms, Watch, new_sid,
};

const LIMITS: Limits = Limits { outbox_bytes_max: 1 << 20, backlog_bytes_max: 1 << 20, rooms_max: 4 };
const JSON: Shape = Shape { parser: Parser::Json, has_offset: false };
const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
const NAMESPACES: [&str; 2] = ["/", "/admin"];

struct Nobody;

impl Watch for Nobody {
    fn delivered(&self, _sockets: usize, _since: Instant) {}
}

fn hub(shards: usize, limits: Limits) -> Hub {
    Hub::new(shards, limits, Arc::new(Nobody))
}

fn deliver(hub: &Hub, target: Target, frame: Frame) -> Delivery {
    let delivery = hub.enqueue(Arc::new(Event::new(target, false, 0, frame, 0)), Instant::now());
    hub.run();
    delivery
}

#[derive(Debug, Clone)]
enum Step {
    Enter { shard: usize, namespace: usize, user: Option<usize> },
    Leave(usize),
    Join(usize, Vec<usize>),
    Part(usize, Vec<usize>),
    Deliver(Wanted),
}

/// A target in terms of the model: names by their number, sockets by the order they came in.
#[derive(Debug, Clone)]
struct Wanted {
    namespace: usize,
    rooms: Vec<usize>,
    users: Vec<usize>,
    sockets: Vec<usize>,
    everyone: bool,
    except_rooms: Vec<usize>,
    except_sockets: Vec<usize>,
}

fn names() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..NAMES.len(), 0..3)
}

fn sockets() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..12_usize, 0..3)
}

fn wanted() -> impl Strategy<Value = Wanted> {
    (0..NAMESPACES.len(), names(), names(), sockets(), prop::bool::weighted(0.2), names(), sockets())
        .prop_map(|(namespace, rooms, users, sockets, everyone, except_rooms, except_sockets)| Wanted {
            namespace,
            rooms,
            users,
            sockets,
            everyone,
            except_rooms,
            except_sockets,
        })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..3_usize, 0..NAMESPACES.len(), prop::option::of(0..NAMES.len()))
            .prop_map(|(shard, namespace, user)| Step::Enter { shard, namespace, user }),
        1 => (0..12_usize).prop_map(Step::Leave),
        4 => (0..12_usize, names()).prop_map(|(socket, rooms)| Step::Join(socket, rooms)),
        2 => (0..12_usize, names()).prop_map(|(socket, rooms)| Step::Part(socket, rooms)),
        4 => wanted().prop_map(Step::Deliver),
    ]
}

struct Client {
    key: SocketKey,
    id: String,
    namespace: &'static str,
    user: Option<&'static str>,
    rooms: BTreeSet<&'static str>,
    outbox: Arc<Outbox>,
    is_here: bool,
}

impl Client {
    fn is_meant(&self, number: usize, wanted: &Wanted) -> bool {
        let named = |list: &[usize], name: &str| list.iter().any(|number| NAMES[*number] == name);
        let is_target = wanted.everyone
            || self.rooms.iter().any(|room| named(&wanted.rooms, room))
            || self.user.is_some_and(|user| named(&wanted.users, user))
            || wanted.sockets.contains(&number);
        let is_excepted = self.rooms.iter().any(|room| named(&wanted.except_rooms, room))
            || wanted.except_sockets.contains(&number);
        self.is_here && self.namespace == NAMESPACES[wanted.namespace] && is_target && !is_excepted
    }
}

fn target(wanted: &Wanted, clients: &[Client]) -> Target {
    let named = |list: &[usize]| list.iter().map(|number| NAMES[*number].to_owned()).collect::<Vec<_>>();
    let ids = |list: &[usize]| -> Vec<String> {
        list.iter().filter_map(|number| clients.get(*number)).map(|client| client.id.clone()).collect()
    };
    Target {
        namespace: NAMESPACES[wanted.namespace].into(),
        rooms: named(&wanted.rooms),
        users: named(&wanted.users).into_iter().chain(ids(&wanted.sockets)).collect(),
        everyone: wanted.everyone,
        except: named(&wanted.except_rooms).into_iter().chain(ids(&wanted.except_sockets)).collect(),
    }
}

fn run(steps: &[Step]) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let hub = hub(3, LIMITS);
    let mut clients: Vec<Client> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        match step {
            Step::Enter { shard, namespace, user } => {
                let (sid, outbox) = (new_sid(*shard), Outbox::polling());
                let (namespace, user) = (NAMESPACES[*namespace], user.map(|user| NAMES[user]));
                let key = hub.enter(Entry {
                    sid,
                    namespace: namespace.to_owned(),
                    user: user.map(str::to_owned),
                    outbox: Arc::clone(&outbox),
                    shape: JSON,
                });
                let rooms = BTreeSet::new();
                clients.push(Client {
                    key,
                    id: sid.to_string(),
                    namespace,
                    user,
                    rooms,
                    outbox,
                    is_here: true,
                });
            }
            Step::Leave(socket) => {
                if let Some(client) = clients.get_mut(*socket) {
                    hub.leave(client.key);
                    client.is_here = false;
                    client.rooms.clear();
                }
            }
            Step::Join(socket, rooms) => {
                if let Some(client) = clients.get_mut(*socket) {
                    let rooms: Vec<&str> = rooms.iter().map(|room| NAMES[*room]).collect();
                    let mut after = client.rooms.clone();
                    after.extend(rooms.iter().copied());
                    let is_full = client.is_here && after.len() > LIMITS.rooms_max;
                    let expected = if is_full { Err(TooManyRooms) } else { Ok(()) };
                    assert_eq!(hub.join(client.key, &rooms), expected);
                    if client.is_here && !is_full {
                        client.rooms = after;
                    }
                }
            }
            Step::Part(socket, rooms) => {
                if let Some(client) = clients.get_mut(*socket) {
                    let rooms: Vec<&str> = rooms.iter().map(|room| NAMES[*room]).collect();
                    hub.part(client.key, &rooms);
                    client.rooms.retain(|room| !rooms.contains(room));
                }
            }
            Step::Deliver(wanted) => {
                let frame = Frame::text(&format!("4{number}"));
                let delivery = deliver(&hub, target(wanted, &clients), frame);
                let sockets = runtime.block_on(delivery.sockets());
                let meant =
                    clients.iter().enumerate().filter(|(number, client)| client.is_meant(*number, wanted));
                assert_eq!(sockets, meant.count());
                for (at, client) in clients.iter().enumerate() {
                    let payload = client.outbox.take_payload();
                    let expected = client.is_meant(at, wanted).then(|| format!("4{number}").into_bytes());
                    assert_eq!(payload, expected, "socket {at}, {wanted:?}");
                }
            }
        }
        for client in &clients {
            let rooms: BTreeMap<String, ()> =
                hub.rooms(client.key).into_iter().map(|room| (room, ())).collect();
            assert!(
                rooms.keys().map(String::as_str).eq(client.rooms.iter().copied()),
                "rooms after {step:?}"
            );
        }
    }
    for client in &clients {
        hub.leave(client.key);
    }
    for shard in &hub.shards {
        assert!(shard.tables.lock().is_empty(), "nothing is left behind");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn the_hub_does_what_sets_would_do(steps in prop::collection::vec(step(), 0..80)) {
        run(&steps);
    }
}

#[test]
fn a_key_of_a_former_life_does_nothing() {
    let hub = hub(1, LIMITS);
    let enter = || {
        let entry = Entry {
            sid: new_sid(0),
            namespace: "/".into(),
            user: None,
            outbox: Outbox::polling(),
            shape: JSON,
        };
        hub.enter(entry)
    };
    let first = enter();
    hub.leave(first);
    let second = enter();
    assert_ne!(first, second);
    hub.join(first, &["a"]).unwrap();
    hub.leave(first);
    hub.join(second, &["b"]).unwrap();
    assert_eq!(hub.rooms(second), ["b"]);
}

#[test]
fn a_slow_consumer_loses_its_queue_and_is_told_apart() {
    let hub = hub(1, Limits { outbox_bytes_max: 200, ..LIMITS });
    let outbox = Outbox::polling();
    hub.enter(Entry {
        sid: new_sid(0),
        namespace: "/".into(),
        user: None,
        outbox: Arc::clone(&outbox),
        shape: JSON,
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let deliver = || {
        let target = Target { namespace: "/".into(), everyone: true, ..Target::default() };
        runtime.block_on(deliver(&hub, target, Frame::text(&"x".repeat(60))).sockets())
    };
    assert_eq!(deliver(), 1);
    assert_eq!(deliver(), 0, "the second does not fit any more");
    assert_eq!(outbox.status().standing, super::Standing::Overflowed);
    assert_eq!(outbox.take_payload(), None);
}

#[test]
fn a_poll_takes_no_more_packets_than_every_client_reads() {
    let outbox = Outbox::polling();
    for number in 0..20 {
        outbox.push(Frame::text(&format!("4{number}")), 1 << 20);
    }
    let packets = || {
        let payload = outbox.take_payload().unwrap_or_default();
        String::from_utf8(payload).unwrap().split('\u{1e}').map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(packets(), (0..16).map(|number| format!("4{number}")).collect::<Vec<_>>());
    assert_eq!(packets(), (16..20).map(|number| format!("4{number}")).collect::<Vec<_>>());
    assert_eq!(packets(), [""]);
}

#[test]
fn an_outbox_in_two_shards_leaves_no_backlog() {
    // As when one socket of a connection has come back and another one is new.
    let hub = Arc::new(hub(2, Limits { backlog_bytes_max: 1, ..LIMITS }));
    let outboxes: Vec<Arc<Outbox>> = (0..100).map(|_| Outbox::polling()).collect();
    for outbox in &outboxes {
        for shard in [0, 1] {
            let outbox = Arc::clone(outbox);
            hub.enter(Entry { sid: new_sid(shard), namespace: "/".into(), user: None, outbox, shape: JSON });
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async {
        for shard in [0, 1] {
            let hub = Arc::clone(&hub);
            tokio::spawn(async move { super::sweep(&hub, shard).await });
        }
        for _ in 0..50 {
            let everyone = Target { namespace: "/".into(), everyone: true, ..Target::default() };
            let delivery = deliver(&hub, everyone, Frame::text("x"));
            assert_eq!(delivery.sockets().await, 200);
        }
        tokio::time::timeout(std::time::Duration::from_secs(10), hub.drained()).await.unwrap();
    });
    assert_eq!(hub.backlog(), 0);
}
