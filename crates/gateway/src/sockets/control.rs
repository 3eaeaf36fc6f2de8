//! What the gateway does with packets of Socket.IO: letting clients in, the events it answers
//! itself, and those it hands to an embedder.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hashbrown::HashMap;
use idae_socket_protocol::socketio::{self, Args};
use idae_socket_protocol::websocket::Frame;
use serde::Deserialize;
use serde_json::json;

use super::client::{Client, Socket, push};
use super::{Session, Sockets};
use crate::auth::Identity;
use crate::hub::{self, Entry, TooManyRooms};

/// An embedder's code for events, connects and disconnects.
#[derive(Default)]
pub(crate) struct Handlers {
    pub(crate) events: HashMap<String, EventHandler>,
    pub(crate) connect: Option<ConnectHandler>,
    pub(crate) disconnect: Option<DisconnectHandler>,
}

pub(crate) type Answering = Pin<Box<dyn Future<Output = Args<'static>> + Send>>;
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
    let key = sockets.hub.enter(Entry {
        sid,
        namespace: namespace.to_owned(),
        user: identity.user().map(str::to_owned),
        outbox: Arc::clone(&session.outbox),
    });
    let client = Arc::new(Client::new(session, sid, namespace, key, identity));
    session.push(sockets, Frame::text(&socketio::connect(namespace, &sid)));
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
    tracing::debug!(remote = %session.handshake.address(), namespace, message, "a client was not let in");
    session.refused(namespace);
    session.push(sockets, Frame::text(&socketio::connect_error(namespace, message, data)));
}

/// A client is out of a namespace, whoever wanted it.
pub(super) fn left(sockets: &Sockets, client: &Client, reason: &str) {
    sockets.hub.leave(client.key);
    client.acks.fail_all();
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
        return run(sockets, client, id, handler, args.into_owned());
    }
    let answer = match name {
        "grantIn" => json!(if grant_in(sockets, client, &args) { "true" } else { "false" }),
        "subscribe" => change_rooms(sockets, client, &args, Change::Join),
        "unsubscribe" => change_rooms(sockets, client, &args, Change::Part),
        name if sockets.settings.events.exposes(name) => json!({ "status": "OK" }),
        _ => json!({ "status": "error", "code": "unknown_event" }),
    };
    if let Some(id) = id {
        let args = Args::from_raw(answer.to_string(), Vec::new());
        push(session, sockets, &socketio::ack(&client.namespace, id, &args), &args);
    }
}

/// Runs an embedder's handler beside the session; its result is the acknowledgement.
fn run(sockets: &Arc<Sockets>, client: &Arc<Client>, id: Option<u64>, handler: &EventHandler, args: Args<'static>) {
    let (sockets, client) = (Arc::clone(sockets), Arc::clone(client));
    if client.running.fetch_add(1, Ordering::Relaxed) >= sockets.settings.pending_acks_max {
        client.running.fetch_sub(1, Ordering::Relaxed);
        if let Some(id) = id {
            let busy = json!({ "status": "error", "code": "too_many_pending" });
            let args = Args::from_raw(busy.to_string(), Vec::new());
            client.send(&sockets, &socketio::ack(&client.namespace, id, &args), &args);
        }
        return;
    }
    let answering = handler(Socket::new(&client, &sockets), args);
    tokio::spawn(async move {
        let args = answering.await;
        client.running.fetch_sub(1, Ordering::Relaxed);
        if let Some(id) = id {
            client.send(&sockets, &socketio::ack(&client.namespace, id, &args), &args);
        }
    });
}

/// `grantIn {ROLE, host}`: the room of a role and the room of a host. True if the socket is in all
/// that were named.
fn grant_in(sockets: &Sockets, client: &Client, args: &Args<'_>) -> bool {
    #[derive(Deserialize)]
    struct Grant {
        #[serde(rename = "ROLE")]
        role: Option<String>,
        host: Option<String>,
    }
    let Ok(Grant { role, host }) = args.first() else { return false };
    let rooms: Vec<String> = role.into_iter().chain(host).collect();
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
fn change_rooms(sockets: &Sockets, client: &Client, args: &Args<'_>, change: Change) -> serde_json::Value {
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
        Ok(rooms) => json!({ "status": "ok", "rooms": rooms }),
        Err((code, detail)) => json!({ "status": "error", "code": code, "detail": detail }),
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
