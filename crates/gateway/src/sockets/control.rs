//! What the gateway does with packets of Socket.IO: letting clients in, the events it answers
//! itself, and those it hands to an embedder.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use hashbrown::HashMap;
use idae_socket_protocol::socketio::{self, Args};
use idae_socket_protocol::websocket::Frame;
use serde::{Deserialize, Serialize};

use super::client::{Client, Socket, push};
use super::{Admission, Session, Sockets};
use crate::auth::Identity;
use crate::hub::{self, Entry, TooManyRooms};

/// An embedder's code for events, connects and disconnects.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) events: HashMap<String, EventHandler>,
    pub(crate) connect: Option<ConnectHandler>,
    pub(crate) disconnect: Option<DisconnectHandler>,
    pub(crate) opening: Option<Admission>,
}

pub(crate) type Answering = Pin<Box<dyn Future<Output = Option<Args<'static>>> + Send>>;
pub(crate) type EventHandler = Arc<dyn Fn(Socket, Args<'static>) -> Answering + Send + Sync>;
pub(crate) type ConnectHandler = Arc<dyn Fn(Socket, &str) + Send + Sync>;
/// The id of the socket that is gone, its namespace, and why.
pub(crate) type DisconnectHandler = Arc<dyn Fn(&str, &str, &str) + Send + Sync>;

/// A client wants into a namespace.
pub(super) fn connect(sockets: &Arc<Sockets>, session: &Arc<Session>, namespace: &str, auth: Option<&str>) {
    if !sockets.settings.namespaces.matches(namespace) {
        return refuse(sockets, session, namespace, "Invalid namespace", None);
    }
    let identity = Identity::anonymous();
    let shard = hub::shard_of(&session.sid);
    let sid = hub::new_sid(shard);
    // First, because events of other threads follow as soon as the hub knows the socket.
    session.push(sockets, Frame::text(&socketio::connect(namespace, &sid)));
    let key = sockets.hub.enter(Entry {
        sid,
        namespace: namespace.to_owned(),
        user: identity.user().map(str::to_owned),
        outbox: Arc::clone(&session.outbox),
    });
    let client = Arc::new(Client::new(session, sid, namespace, key, identity));
    let Some(held) = session.joined(Arc::clone(&client)) else {
        // The session ended while its client was being let in.
        return sockets.hub.leave(key);
    };
    if let Some(handler) = &sockets.handlers.connect {
        handler(Socket::new(&client, sockets), auth.unwrap_or("{}"));
    }
    for event in held {
        self::event(sockets, session, &client, event.id, &event.name, event.args);
    }
}

/// A client is not let into a namespace; its connection stays.
pub(super) fn refuse(
    sockets: &Sockets,
    session: &Session,
    namespace: &str,
    message: &str,
    data: Option<&str>,
) {
    tracing::debug!(remote = %session.handshake.address(), namespace, reason = message, "a client was not let in");
    session.refused(namespace);
    session.push(sockets, Frame::text(&socketio::connect_error(namespace, message, data)));
}

/// A client is out of a namespace, whoever wanted it.
pub(super) fn left(sockets: &Sockets, client: &Client, reason: &str) {
    sockets.hub.leave(client.key);
    client.leave();
    if let Some(handler) = &sockets.handlers.disconnect {
        handler(&client.sid.to_string(), &client.namespace, reason);
    }
}

/// An event of a client.
pub(super) fn event(
    sockets: &Arc<Sockets>,
    session: &Session,
    client: &Arc<Client>,
    id: Option<u64>,
    name: &str,
    args: Args<'_>,
) {
    if let Some(handler) = sockets.handlers.events.get(name) {
        return run(sockets, session, client, id, handler, args.into_owned());
    }
    if id.is_none() && !matches!(name, "grantIn" | "subscribe" | "unsubscribe") {
        return;
    }
    let answer = match name {
        "grantIn" => Answer::Granted(if grant_in(sockets, client, &args) { "true" } else { "false" }),
        "subscribe" => change_rooms(sockets, client, &args, Change::Join),
        "unsubscribe" => change_rooms(sockets, client, &args, Change::Part),
        name if sockets.settings.events.exposes(name) => Answer::Status { status: "OK" },
        _ => Answer::error("unknown_event", None),
    };
    acknowledge(sockets, session, client, id, &Args::one(&answer).unwrap_or_default());
}

fn acknowledge(sockets: &Sockets, session: &Session, client: &Client, id: Option<u64>, args: &Args<'_>) {
    if let Some(id) = id {
        push(session, sockets, &socketio::ack(&client.namespace, id, args), args);
    }
}

/// What an embedder's handler leaves for the client that asked for an acknowledgement: arguments,
/// or nothing, and then the client waits in vain.
pub trait IntoAck {
    /// The arguments of the acknowledgement, if there is to be one.
    fn into_ack(self) -> Option<Args<'static>>;
}

impl IntoAck for () {
    fn into_ack(self) -> Option<Args<'static>> {
        None
    }
}

impl IntoAck for Args<'static> {
    fn into_ack(self) -> Option<Self> {
        Some(self)
    }
}

impl IntoAck for Option<Args<'static>> {
    fn into_ack(self) -> Self {
        self
    }
}

/// What the gateway answers itself.
#[derive(Serialize)]
#[serde(untagged)]
enum Answer {
    /// Strings, because that is what `grantIn` has always been answered with.
    Granted(&'static str),
    Status {
        status: &'static str,
    },
    Rooms {
        status: &'static str,
        rooms: Vec<String>,
    },
    Error {
        status: &'static str,
        code: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
}

impl Answer {
    const fn error(code: &'static str, detail: Option<String>) -> Self {
        Self::Error { status: "error", code, detail }
    }
}

/// Runs an embedder's handler; its result is the acknowledgement. One that has to wait for
/// something goes on beside the session.
fn run(
    sockets: &Arc<Sockets>,
    session: &Session,
    client: &Arc<Client>,
    id: Option<u64>,
    handler: &EventHandler,
    args: Args<'static>,
) {
    if client.running.load(Ordering::Relaxed) >= sockets.settings.pending_acks_max {
        tracing::warn!(sid = %client.sid, "an event was refused: socket.pending_acks_max handlers run for this socket");
        let busy = Args::one(&Answer::error("too_many_pending", None)).unwrap_or_default();
        return acknowledge(sockets, session, client, id, &busy);
    }
    let mut answering = handler(Socket::new(client, sockets), args);
    // Most handlers are ready at once: then there is no task, and answers keep the events' order.
    let mut nobody = Context::from_waker(Waker::noop());
    if let Poll::Ready(answer) = answering.as_mut().poll(&mut nobody) {
        if let Some(args) = answer {
            acknowledge(sockets, session, client, id, &args);
        }
        return;
    }
    let running = Running::begin(client);
    let sockets = Arc::clone(sockets);
    tokio::spawn(async move {
        let answer = answering.await;
        if let (Some(id), Some(args)) = (id, answer) {
            let client = &running.0;
            if client.is_gone() {
                return;
            }
            client.send(&sockets, &socketio::ack(&client.namespace, id, &args), &args);
        }
    });
}

/// A handler that runs. It counts until it ends, even if it panics.
struct Running(Arc<Client>);

impl Running {
    fn begin(client: &Arc<Client>) -> Self {
        client.running.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(client))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// `grantIn {ROLE, host}`: the room of a role and the room of a host. True if the socket is in all
/// that were named.
fn grant_in(sockets: &Sockets, client: &Client, args: &Args<'_>) -> bool {
    // A map and not a struct, which would also be read from an array.
    let Ok(mut grant) = args.first::<serde_json::Map<String, serde_json::Value>>() else { return false };
    let mut rooms = Vec::new();
    for key in ["ROLE", "host"] {
        match grant.remove(key) {
            Some(serde_json::Value::String(room)) => rooms.push(room),
            None | Some(serde_json::Value::Null) => {}
            Some(_) => return false,
        }
    }
    !rooms.is_empty()
        && rooms.iter().all(|room| check_room(sockets, room).is_ok())
        && sockets.hub.join(client.key, &rooms).is_ok()
}

#[derive(Clone, Copy)]
enum Change {
    Join,
    Part,
}

/// `subscribe` and `unsubscribe`: all of the rooms, or none and an error.
fn change_rooms(sockets: &Sockets, client: &Client, args: &Args<'_>, change: Change) -> Answer {
    let changed = rooms_of(sockets, args).and_then(|rooms| {
        match change {
            Change::Join => sockets.hub.join(client.key, &rooms).map_err(|TooManyRooms| {
                let detail = format!("a socket may be in {} rooms", sockets.hub.limits().rooms_max);
                ("too_many_rooms", detail)
            })?,
            Change::Part => sockets.hub.part(client.key, &rooms),
        }
        Ok(rooms)
    });
    match changed {
        Ok(rooms) => Answer::Rooms { status: "ok", rooms },
        Err((code, detail)) => Answer::error(code, Some(detail)),
    }
}

/// The rooms of an event's first argument, a name or a list of names.
fn rooms_of(sockets: &Sockets, args: &Args<'_>) -> Result<Vec<String>, (&'static str, String)> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    let rooms = match args.first() {
        Ok(OneOrMany::One(room)) => vec![room],
        Ok(OneOrMany::Many(rooms)) => rooms,
        Err(_) => return Err(("invalid_room", "name one room, or an array of rooms, as strings".to_owned())),
    };
    if rooms.is_empty() {
        return Err(("invalid_room", "the array names no room".to_owned()));
    }
    let rooms_max = sockets.hub.limits().rooms_max;
    if rooms.len() > rooms_max {
        return Err(("too_many_rooms", format!("a socket may be in {rooms_max} rooms")));
    }
    for room in &rooms {
        check_room(sockets, room)?;
    }
    Ok(rooms)
}

fn check_room(sockets: &Sockets, room: &str) -> Result<(), (&'static str, String)> {
    let bytes_max = sockets.settings.room_bytes_max;
    if room.is_empty() {
        Err(("invalid_room", "a room's name is empty".to_owned()))
    } else if room.len() > bytes_max {
        Err(("room_too_long", format!("a room's name may have {bytes_max} bytes")))
    } else {
        Ok(())
    }
}
