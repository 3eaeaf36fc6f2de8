//! What the gateway does with packets of Socket.IO: letting clients in, the events it answers
//! itself, and those it hands to an embedder or to the backend.

mod forward;
mod rooms;
mod token;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use hashbrown::HashMap;
use idae_socket_protocol::Sid;
use idae_socket_protocol::socketio::{self, Args};
use serde::Serialize;

use self::rooms::Change;
pub(super) use self::rooms::allowed_rooms;
pub(super) use self::token::{expire, warn};
use super::client::{Client, Login, Socket};
use super::recovery::{self, Recovered, Wish};
use super::{Admission, Session, Sockets, now};
use crate::auth::{Check, Identity, Refusal, RefusalCode, Verdict, presented, unix_now};
use crate::hub::{self, Entry, Shape, SocketKey};
use crate::publish::Departed;

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
    if !sockets.settings.namespaces.exists(namespace) {
        return refuse(sockets, session, namespace, "Invalid namespace", None);
    }
    let token = presented(auth, session.handshake.authorization());
    match sockets.auth.check(token) {
        Check::Done(verdict) => decide(sockets, session, namespace, auth, verdict),
        Check::Pending(checking) => {
            let (sockets, session) = (Arc::clone(sockets), Arc::clone(session));
            let (namespace, auth) = (namespace.to_owned(), auth.map(str::to_owned));
            tokio::spawn(async move {
                let verdict = checking.await;
                decide(&sockets, &session, &namespace, auth.as_deref(), verdict);
                session.outbox.flush();
            });
        }
    }
}

/// It is known who the client is, or that it cannot be known.
fn decide(
    sockets: &Arc<Sockets>,
    session: &Arc<Session>,
    namespace: &str,
    auth: Option<&str>,
    verdict: Verdict,
) {
    let verdict = match verdict {
        Err(refusal) if sockets.auth.is_soft() => {
            report(sockets, session, namespace, &refusal);
            Ok(sockets.auth.anonymous())
        }
        verdict => verdict,
    };
    // Nobody has no claims, so it gets into no namespace whose name holds one.
    match verdict.and_then(|identity| check_namespace(sockets, namespace, identity)) {
        Ok(identity) => admit(sockets, session, namespace, auth, identity),
        Err(refusal) => turn_away(sockets, session, namespace, &refusal),
    }
}

/// Whether somebody may be in a namespace.
fn check_namespace(
    sockets: &Sockets,
    namespace: &str,
    identity: Arc<Identity>,
) -> Result<Arc<Identity>, Refusal> {
    let settings = &sockets.settings;
    if sockets.auth.is_on() && !settings.namespaces.admit(namespace, &|claim| identity.claim(claim)) {
        let reason = "the namespace is for others: its name holds a claim that the token does not have";
        return Err(Refusal::new(RefusalCode::NamespaceForbidden, reason));
    }
    let rooms_max = sockets.hub.limits().rooms_max;
    if identity.roles().len() > rooms_max {
        let reason = format!("the token has more roles than the {rooms_max} rooms a socket may be in");
        return Err(Refusal::new(RefusalCode::TooManyRooms, reason));
    }
    Ok(identity)
}

/// Lets a client in, back to where it was if it may.
fn admit(
    sockets: &Arc<Sockets>,
    session: &Arc<Session>,
    namespace: &str,
    auth: Option<&str>,
    identity: Arc<Identity>,
) {
    let mut has_offset = false;
    if sockets.history.is_on() {
        let wish = Wish::read(auth);
        if wish.is_recoverable(session.handshake.is_known_for_recovery) {
            has_offset = true;
            if wish.comes_back() {
                match recovery::claim(sockets, session, namespace, &identity, &wish) {
                    Some(back) => return come_back(sockets, session, namespace, auth, identity, back),
                    None => sockets.metrics.came_back(false),
                }
            }
        }
    }
    begin(sockets, session, namespace, auth, identity, has_offset);
}

/// Lets a client in as somebody who was not here before.
fn begin(
    sockets: &Arc<Sockets>,
    session: &Arc<Session>,
    namespace: &str,
    auth: Option<&str>,
    identity: Arc<Identity>,
    has_offset: bool,
) {
    let shape = Shape { parser: session.parser(), has_offset };
    let shard = hub::shard_of(&session.sid);
    let sid = hub::new_sid(shard);
    // First, because events of other threads follow as soon as the hub knows the socket.
    session.push_packet(sockets, &connected(sockets, namespace, &sid, has_offset), &[]);
    let key = sockets.hub.enter(Entry {
        sid,
        namespace: namespace.to_owned(),
        user: identity.user().map(str::to_owned),
        outbox: Arc::clone(&session.outbox),
        shape,
    });
    // Not more than a socket may have, as was checked.
    let _ = sockets.hub.join(key, &role_rooms(sockets, &identity));
    let admitted = Admitted { sid, key, shape, recovered: None };
    self::admitted(sockets, session, namespace, auth, identity, admitted);
}

/// The rooms of somebody's roles. One with a longer name than a room may have is none.
pub(super) fn role_rooms<'a>(sockets: &Sockets, identity: &'a Identity) -> Vec<&'a str> {
    let roles = identity.roles().iter().map(String::as_str);
    roles.filter(|role| role.len() <= sockets.settings.room_bytes_max).collect()
}

/// Looking at what was missed may take its time, which is not the thread's.
fn come_back(
    sockets: &Arc<Sockets>,
    session: &Arc<Session>,
    namespace: &str,
    auth: Option<&str>,
    identity: Arc<Identity>,
    back: recovery::Return,
) {
    let (sockets, session) = (Arc::clone(sockets), Arc::clone(session));
    let (namespace, auth) = (namespace.to_owned(), auth.map(str::to_owned));
    tokio::spawn(async move {
        let auth = auth.as_deref();
        let is_back = recovery::bring_back(&sockets, &session, &namespace, auth, &identity, back).await;
        sockets.metrics.came_back(is_back);
        if !is_back {
            // An honest fresh session.
            begin(&sockets, &session, &namespace, auth, identity, true);
        }
        session.outbox.flush();
    });
}

/// The answer to a CONNECT.
pub(super) fn connected(sockets: &Sockets, namespace: &str, sid: &Sid, has_offset: bool) -> String {
    let pid = has_offset.then(|| sockets.history.pid(sid));
    socketio::connect(namespace, sid, pid.as_deref())
}

/// A socket that the hub knows.
pub(super) struct Admitted {
    pub(super) sid: Sid,
    pub(super) key: SocketKey,
    pub(super) shape: Shape,
    pub(super) recovered: Option<Box<Recovered>>,
}

/// A client is in.
pub(super) fn admitted(
    sockets: &Arc<Sockets>,
    session: &Arc<Session>,
    namespace: &str,
    auth: Option<&str>,
    identity: Arc<Identity>,
    admitted: Admitted,
) {
    let login = Login::new(identity, unix_now(), now());
    let client = Arc::new(Client::new(session, namespace, admitted, login));
    sockets.register(&client);
    let Some(held) = session.joined(sockets, Arc::clone(&client)) else {
        // The session ended while its client was being let in.
        return depart(sockets, &client, true);
    };
    if let Some(handler) = &sockets.handlers.connect {
        handler(Socket::new(&client, sockets), auth.unwrap_or("{}"));
    }
    for event in held {
        self::event(sockets, session, &client, event.id, &event.name, event.args);
    }
}

/// A client does not prove that it belongs here.
fn turn_away(sockets: &Sockets, session: &Session, namespace: &str, refusal: &Refusal) {
    report(sockets, session, namespace, refusal);
    let message = format!("Unauthorized: {refusal}");
    let data = format!(r#"{{"code":"{}"}}"#, refusal.code().as_str());
    session.push_packet(sockets, &socketio::connect_error(namespace, &message, Some(&data)), &[]);
    session.refused(sockets, namespace);
}

/// Counts and logs that a token was not good.
fn report(sockets: &Sockets, session: &Session, namespace: &str, refusal: &Refusal) {
    let (remote, code) = (session.handshake.address(), refusal.code().as_str());
    sockets.metrics.refused(code);
    if sockets.auth.is_soft() {
        tracing::warn!(%remote, namespace, code, reason = refusal.reason(), "a client is let in without identity (auth.mode = soft)");
    } else {
        tracing::info!(%remote, namespace, code, reason = refusal.reason(), "a client was not let in");
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
    tracing::info!(remote = %session.handshake.address(), namespace, reason = message, "a client was not let in");
    session.push_packet(sockets, &socketio::connect_error(namespace, message, data), &[]);
    session.refused(sockets, namespace);
}

/// Takes a client out of the hub. One that may come back is remembered.
pub(super) fn depart(sockets: &Sockets, client: &Client, may_come_back: bool) {
    let stay = sockets.hub.leave(client.key);
    client.leave();
    if may_come_back
        && client.shape.has_offset
        && let Some(stay) = stay
    {
        let now = now();
        let (namespace, identity, unproven) =
            (client.namespace.clone(), client.identity(), client.unproven(now));
        let departed = Departed { namespace, identity, stay, unproven };
        let (bytes, doubt) = (departed.bytes(), client.doubt(&sockets.history, now));
        if sockets.history.leave(client.sid, departed, bytes, doubt, now) {
            sockets.metrics.limit("recovery_bytes_max");
        }
    }
    sockets.unregister(client);
}

/// A client has left a namespace, or was sent away: it does not come back to where it was.
pub(super) fn left(sockets: &Sockets, client: &Client, reason: &str) {
    depart(sockets, client, false);
    departed(sockets, client, reason);
}

/// A client is out of a namespace, whoever wanted it.
pub(super) fn departed(sockets: &Sockets, client: &Client, reason: &str) {
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
        return run(sockets, session, client, id, "too_many_pending", || {
            handler(Socket::new(client, sockets), args.into_owned())
        });
    }
    let answer = match name {
        "grantIn" => rooms::grant_in(sockets, client, &args),
        "subscribe" => rooms::change(sockets, client, &args, Change::Join),
        "unsubscribe" => rooms::change(sockets, client, &args, Change::Part),
        "token:refresh" => token::refresh(sockets, client, &args),
        "token:info" => Reply::Ready(token::info(sockets, client)),
        name if sockets.forwarder.takes(name) => forward::forward(sockets, client, name, args),
        _ if id.is_none() => return,
        name if sockets.settings.events.exposes(name) => Reply::Ready(Answer::Status { status: "OK" }),
        _ => Reply::Ready(Answer::error("unknown_event", None)),
    };
    match answer {
        Reply::Ready(answer) => acknowledge(sockets, session, client, id, &answer.into_args()),
        Reply::Later(answering) => {
            let busy = if sockets.forwarder.takes(name) { "forward_busy" } else { "too_many_pending" };
            run(sockets, session, client, id, busy, || answering);
        }
    }
}

/// The answer to an event, or the wait for one.
enum Reply {
    Ready(Answer),
    Later(Answering),
}

impl Reply {
    fn later(answering: impl Future<Output = Answer> + Send + 'static) -> Self {
        Self::Later(Box::pin(async move { Some(answering.await.into_args()) }))
    }
}

fn acknowledge(sockets: &Sockets, session: &Session, client: &Client, id: Option<u64>, args: &Args<'_>) {
    if let Some(id) = id {
        session.push_packet(sockets, &socketio::ack(&client.namespace, id, args), args.attachments());
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
    #[serde(rename_all = "camelCase")]
    Refreshed {
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<u64>,
        /// Those that the new token does not open, or of which the backend could not be asked.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        rooms_lost: Vec<String>,
    },
    #[serde(rename_all = "camelCase")]
    Info {
        status: &'static str,
        user: Option<String>,
        roles: Vec<String>,
        rooms: Vec<String>,
        expires_at: Option<u64>,
    },
    /// What the backend answered, as it came.
    #[serde(skip)]
    Json(String),
    Error {
        status: &'static str,
        code: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        detail: Option<String>,
    },
}

impl Answer {
    fn into_args(self) -> Args<'static> {
        match self {
            Self::Json(json) => Args::from_raw(json, Vec::new()),
            // Strings and numbers alone: this cannot fail.
            answer => Args::one(&answer).unwrap_or_default(),
        }
    }

    const fn error(code: &'static str, detail: Option<String>) -> Self {
        Self::Error { status: "error", code, detail }
    }
}

/// Runs an embedder's handler, or what else takes its time; its result is the acknowledgement. What has to
/// wait for something goes on beside the session.
fn run(
    sockets: &Arc<Sockets>,
    session: &Session,
    client: &Arc<Client>,
    id: Option<u64>,
    busy: &'static str,
    begin: impl FnOnce() -> Answering,
) {
    if client.running.load(Ordering::Relaxed) >= sockets.settings.pending_acks_max {
        sockets.metrics.refused(busy);
        sockets.metrics.limit("pending_acks_max");
        tracing::warn!(sid = %client.sid, code = busy, "an event was refused: socket.pending_acks_max of this socket are being handled");
        let busy = Answer::error(busy, None).into_args();
        return acknowledge(sockets, session, client, id, &busy);
    }
    let mut answering = begin();
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
