//! A Socket.IO socket: one client in one namespace, and the handle by which an embedder speaks to it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use idae_socket_protocol::Sid;
use idae_socket_protocol::socketio::{self, Args};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::recovery::Recovered;
use super::{Session, Sockets, control, now};
use crate::auth::Identity;
use crate::backend::Queue;
use crate::history::Doubt;
use crate::hub::{Shape, SocketKey, TooManyRooms};
use crate::publish::Memory;

/// What is known of a client before it says anything.
#[derive(Clone)]
pub(crate) struct Handshake {
    address: IpAddr,
    /// Binary messages go out as base64 text.
    pub(super) text_only: bool,
    /// Its library remembers offsets, unless the client says otherwise.
    pub(super) is_known_for_recovery: bool,
    /// The `Authorization` header, if anybody is going to look at it. Not for logs.
    authorization: Option<Box<str>>,
}

impl Handshake {
    pub(super) fn new(
        address: IpAddr,
        text_only: bool,
        is_known_for_recovery: bool,
        authorization: Option<&str>,
    ) -> Self {
        Self { address, text_only, is_known_for_recovery, authorization: authorization.map(Box::from) }
    }

    pub(super) fn authorization(&self) -> Option<&str> {
        self.authorization.as_deref()
    }

    /// The address of the peer that opened the session.
    pub(super) const fn address(&self) -> IpAddr {
        self.address
    }
}

/// The turns of a client's requests to a backend.
#[derive(Default)]
pub(super) struct Turns {
    /// Changes of its rooms.
    pub(super) rooms: tokio::sync::Mutex<()>,
    /// Its events.
    pub(super) forwards: Arc<Queue>,
}

/// One client in one namespace.
pub(crate) struct Client {
    pub(super) sid: Sid,
    pub(super) namespace: Box<str>,
    pub(super) key: SocketKey,
    /// How it gets its events; with offsets it may come back after a loss.
    pub(super) shape: Shape,
    /// Boxed, because most have never been away.
    recovered: Option<Box<Recovered>>,
    login: Mutex<Login>,
    pub(super) acks: Acks,
    /// It is out of the namespace, whoever wanted that.
    is_gone: AtomicBool,
    /// Handlers of an embedder that run for this client.
    pub(super) running: AtomicUsize,
    /// Boxed, because only somebody who has to wait for a backend needs them.
    turns: Mutex<Option<Arc<Turns>>>,
    session: Weak<Session>,
}

impl Client {
    pub(super) fn new(
        session: &Arc<Session>,
        namespace: &str,
        admitted: control::Admitted,
        login: Login,
    ) -> Self {
        let control::Admitted { sid, key, shape, recovered } = admitted;
        Self {
            sid,
            namespace: namespace.into(),
            key,
            shape,
            recovered,
            login: Mutex::new(login),
            acks: Acks::default(),
            is_gone: AtomicBool::new(false),
            running: AtomicUsize::new(0),
            turns: Mutex::new(None),
            session: Arc::downgrade(session),
        }
    }

    /// Who it is now.
    pub(super) fn identity(&self) -> Arc<Identity> {
        Arc::clone(&self.login.lock().identity)
    }

    /// From now on it is somebody else, or the same for longer, if it still is who it was.
    pub(super) fn log_in(&self, former: &Arc<Identity>, login: Login) -> bool {
        let mut current = self.login.lock();
        let is_former = Arc::ptr_eq(&current.identity, former);
        if is_former {
            *current = login;
        }
        is_former
    }

    /// When its token has to be looked at.
    pub(super) fn token_moment(&self) -> Option<Instant> {
        self.login.lock().next.map(|(at, _)| at)
    }

    /// What its token needs now, if anything, and whose token that is; told once.
    pub(super) fn token_due(&self, now: Instant) -> Option<(TokenDue, Arc<Identity>)> {
        let mut login = self.login.lock();
        let (_, due) = login.next.filter(|(at, _)| *at <= now)?;
        login.next = match due {
            TokenDue::Warning => login.ends.map(|ends| (ends, TokenDue::Expiry)),
            TokenDue::Expiry => None,
        };
        Some((due, Arc::clone(&login.identity)))
    }

    /// What has to wait for a backend is done one after the other.
    pub(super) fn turns(&self) -> Arc<Turns> {
        Arc::clone(self.turns.lock().get_or_insert_default())
    }

    /// It has sent something, so it knows that it is in.
    pub(super) fn heard(&self) {
        if let Some(recovered) = &self.recovered {
            recovered.heard();
        }
    }

    /// Whether it only gets rid of what it has of an earlier return.
    pub(super) fn is_flush(&self) -> bool {
        self.recovered.as_ref().is_some_and(|recovered| recovered.is_flush())
    }

    /// The position of its last return, if nothing has shown that it got what lies behind that.
    pub(super) fn unproven(&self, now: Instant) -> Option<u64> {
        self.recovered.as_ref().and_then(|recovered| recovered.unproven(now))
    }

    /// What it may be missing if its connection is lost now.
    pub(super) fn doubt(&self, history: &Memory, now: Instant) -> Doubt {
        let inherited = self.recovered.as_ref().and_then(|recovered| recovered.doubt(now));
        inherited.unwrap_or_else(|| history.doubt(now))
    }

    pub(super) fn session(&self) -> Option<Arc<Session>> {
        self.session.upgrade()
    }

    /// The client is out of the namespace: nobody answers any more, and nothing is sent.
    pub(super) fn leave(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
        self.acks.fail_all();
    }

    pub(super) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Relaxed)
    }

    /// Queues a packet and its attachments, and sends them.
    pub(super) fn send(&self, sockets: &Sockets, text: &str, args: &Args<'_>) {
        if let Some(session) = self.session.upgrade() {
            session.push_packet(sockets, text, args.attachments());
            session.outbox.flush();
        }
    }
}

/// How long before its end a client is told that its token ends.
const TOKEN_WARNING_TIME: Duration = Duration::from_secs(30);

/// Who a client is, and until when.
pub(super) struct Login {
    identity: Arc<Identity>,
    /// When its token ends.
    ends: Option<Instant>,
    /// The next thing to do about its token.
    next: Option<(Instant, TokenDue)>,
}

/// What a token needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenDue {
    /// Its client has to be told that it ends soon.
    Warning,
    /// It has ended.
    Expiry,
}

impl Login {
    /// `unix_now` and `now` are the same moment, on two clocks.
    pub(super) fn new(identity: Arc<Identity>, unix_now: u64, now: Instant) -> Self {
        // A hundred years are for ever, and less than what an instant can hold.
        const FOR_EVER_S: u64 = 100 * 365 * 86_400;
        let left =
            identity.valid_until().map(|end| end.saturating_sub(unix_now)).filter(|left| *left < FOR_EVER_S);
        let ends = left.map(|left| now + Duration::from_secs(left));
        // If it is too late for the whole time, the client is told at once.
        let next = ends.map(|ends| (ends.checked_sub(TOKEN_WARNING_TIME).unwrap_or(now), TokenDue::Warning));
        Self { identity, ends, next }
    }
}

/// Events of the server that a client was asked to acknowledge.
#[derive(Default)]
pub(crate) struct Acks {
    next: AtomicU64,
    /// Boxed, because most sockets are never asked.
    pending: Mutex<Option<Box<Pending>>>,
}

type Pending = HashMap<u64, oneshot::Sender<Args<'static>>>;

impl Acks {
    /// The client has answered. An answer nobody waits for is ignored.
    pub(super) fn resolve(&self, id: u64, args: Args<'static>) {
        let waiting = self.pending.lock().as_mut().and_then(|pending| pending.remove(&id));
        if let Some(waiting) = waiting {
            // Whoever asked may have stopped waiting; that is no error.
            let _ = waiting.send(args);
        }
    }

    /// Nobody will answer any more.
    fn fail_all(&self) {
        self.pending.lock().take();
    }

    fn expect(
        &self,
        client: &Client,
        pending_max: usize,
    ) -> Result<(u64, oneshot::Receiver<Args<'static>>), EmitError> {
        let (answer, answered) = oneshot::channel();
        let mut pending = self.pending.lock();
        // Under the lock, so that who is gone has either failed this answer or is seen here.
        if client.is_gone() {
            return Err(EmitError::Disconnected);
        }
        let pending = pending.get_or_insert_default();
        if pending.len() >= pending_max {
            return Err(EmitError::TooManyPending);
        }
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        pending.insert(id, answer);
        Ok((id, answered))
    }

    fn forget(&self, id: u64) {
        if let Some(pending) = self.pending.lock().as_mut() {
            pending.remove(&id);
        }
    }
}

/// Why a client's answer did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EmitError {
    /// It took longer than the caller wanted to wait.
    #[error("the client did not answer in time")]
    TimedOut,
    /// The client is gone.
    #[error("the client has disconnected")]
    Disconnected,
    /// The socket has `socket.pending_acks_max` unanswered events already.
    #[error("too many events wait for this client's answer")]
    TooManyPending,
}

/// A handle to a connected client in one namespace. Clones speak for the same client; a handle
/// that outlives its client does nothing.
#[derive(Clone)]
pub struct Socket {
    client: Arc<Client>,
    sockets: Arc<Sockets>,
}

impl Socket {
    pub(super) fn new(client: &Arc<Client>, sockets: &Arc<Sockets>) -> Self {
        Self { client: Arc::clone(client), sockets: Arc::clone(sockets) }
    }

    /// The socket's id, as the client knows it.
    pub fn id(&self) -> String {
        self.client.sid.to_string()
    }

    /// The namespace, `/` unless the client chose another.
    pub fn namespace(&self) -> &str {
        &self.client.namespace
    }

    /// Who the socket belongs to at this moment: a client may show a new token.
    pub fn identity(&self) -> Arc<Identity> {
        self.client.identity()
    }

    /// The peer's address, or `None` once it is gone.
    pub fn address(&self) -> Option<IpAddr> {
        self.client.session.upgrade().map(|session| session.handshake.address())
    }

    /// The rooms the socket is in.
    pub fn rooms(&self) -> Vec<String> {
        self.sockets.hub.rooms(self.client.key)
    }

    /// Puts the socket into a room, whatever the rules say. With another identity (`token:refresh`, or a return with
    /// another token) the rules count again. Returns `false` when it is in
    /// `socket.rooms_max` rooms already.
    pub fn join(&self, room: &str) -> bool {
        self.sockets.hub.join(self.client.key, &[room]) != Err(TooManyRooms)
    }

    /// Takes the socket out of a room.
    pub fn leave(&self, room: &str) {
        self.sockets.hub.part(self.client.key, &[room]);
    }

    /// Whether the client came back after a loss, with its rooms and what it had missed.
    pub fn is_recovered(&self) -> bool {
        self.client.recovered.is_some()
    }

    /// Sends an event to this client alone. It is not kept for one that is away; what is to be kept goes through
    /// [`Gateway::to_user`](crate::Gateway::to_user) with the socket's id.
    pub fn emit(&self, event: &str, args: &Args<'_>) {
        if self.client.is_gone() {
            return;
        }
        let items = args.items();
        let is_ambiguous = items.is_empty() || items.ends_with('"') || items.ends_with("null");
        let text = if self.client.shape.has_offset && is_ambiguous {
            // A client that can be recovered takes a last item that is text for its offset, be it the event's name.
            // The Rust client drops a null behind the arguments, which must not be one of theirs.
            let separator = if items.is_empty() { "" } else { "," };
            let guarded = Args::from_raw(format!("{items}{separator}null"), args.attachments().to_vec());
            socketio::event(&self.client.namespace, None, event, &guarded)
        } else {
            socketio::event(&self.client.namespace, None, event, args)
        };
        self.client.send(&self.sockets, &text, args);
    }

    /// Sends an event and waits for the client's answer.
    ///
    /// # Errors
    /// The client does not answer within `timeout`, is gone, or owes too many answers already.
    pub async fn emit_with_ack(
        &self,
        event: &str,
        args: &Args<'_>,
        timeout: Duration,
    ) -> Result<Args<'static>, EmitError> {
        let expected = self.client.acks.expect(&self.client, self.sockets.settings.pending_acks_max);
        let (id, answered) = expected.inspect_err(|error| {
            if *error == EmitError::TooManyPending {
                self.sockets.metrics.limit("pending_acks_max");
            }
        })?;
        let text = socketio::event(&self.client.namespace, Some(id), event, args);
        self.client.send(&self.sockets, &text, args);
        match tokio::time::timeout(timeout, answered).await {
            Ok(Ok(args)) => Ok(args),
            Ok(Err(_)) => Err(EmitError::Disconnected),
            Err(_) => {
                self.client.acks.forget(id);
                Err(EmitError::TimedOut)
            }
        }
    }

    /// Takes the client out of every namespace and closes its connection. It stays away, as after
    /// [`Socket::disconnect`].
    pub fn close(&self) {
        if let Some(session) = self.client.session.upgrade() {
            session.dismiss(&self.sockets);
        }
    }

    /// Takes the client out of the namespace; it sees `io server disconnect` and stays away.
    pub fn disconnect(&self) {
        let Some(session) = self.client.session.upgrade() else { return };
        let Some(client) = session.kick(&self.sockets, &self.client.namespace, now()) else { return };
        control::left(&self.sockets, &client, "server namespace disconnect");
        client.send(&self.sockets, &socketio::disconnect(&client.namespace), &Args::none());
    }
}
