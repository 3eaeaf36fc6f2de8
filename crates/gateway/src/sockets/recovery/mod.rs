//! Coming back after a loss: who may, to what, and what was missed.
//!
//! A client that can be recovered gets a pid when it connects and an offset with every event. When it shows both
//! again it gets the same socket: first the events behind its offset, then CONNECT, then everything new.
//!
//! The stock client keeps events that come before CONNECT, and its offset stays where it was until CONNECT comes.
//! If the connection is lost in between it comes back with the old offset and with some of the events, and would
//! have them twice. So a client that shows the offset of a replay of which nothing is known to have arrived gets
//! CONNECT alone: it hands over what it has, which moves its offset. Then it is sent away, and comes back
//! with an offset that is exact.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use http::HeaderMap;
use http::header::{ORIGIN, SEC_WEBSOCKET_EXTENSIONS, USER_AGENT};
use idae_socket_protocol::Sid;
use idae_socket_protocol::websocket::Frame;
use serde::Deserialize;

use super::control::{self, Admitted};
use super::{Session, Sockets, now};
use crate::auth::Identity;
use crate::history::{Chunk, Doubt};
use crate::hub::{self, Address, Entry, Hub, Outbox, Shape, SocketKey, Stay, Visit};
use crate::observe::Metrics;
use crate::publish::{Departed, Memory};

/// Events looked at before everybody else on the thread gets a turn, and bytes of them.
const EVENTS_PER_TURN: usize = 128;
const BYTES_PER_TURN: usize = 64 * 1024;

/// The rest is looked at while nobody can fan out in the shard. It is nothing, or if more keeps coming, after so many
/// passes, less than so many events.
const PASSES_MAX: u32 = 8;
const EVENTS_UNDER_LOCK: u64 = 32;

/// What a CONNECT says about recovery; the rest of the auth object is somebody else's.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Wish {
    /// Whether the client wants it. Without a word what its library is known for counts.
    recovery: Option<serde_json::Value>,
    pid: Option<serde_json::Value>,
    offset: Option<serde_json::Value>,
}

impl Wish {
    pub(super) fn read(auth: Option<&str>) -> Self {
        // What cannot be read wishes nothing.
        auth.and_then(|auth| serde_json::from_str(auth).ok()).unwrap_or_default()
    }

    /// Whether the client remembers offsets.
    pub(super) fn is_recoverable(&self, is_known_for_it: bool) -> bool {
        self.recovery.as_ref().and_then(serde_json::Value::as_bool).unwrap_or(is_known_for_it)
    }

    /// Whether the client was here before, as it says.
    pub(super) fn comes_back(&self) -> bool {
        self.pid.as_ref().is_some_and(serde_json::Value::is_string)
    }
}

/// Whether a handshake is one of a library that knows recovery: of the stock JavaScript client in a browser
/// or in Node, Bun or Deno, or of the Rust client. Others would hand the offset to their user's handlers.
pub(super) fn is_known_for_recovery(headers: &HeaderMap) -> bool {
    let agent = headers.get(USER_AGENT).map(|agent| agent.to_str().unwrap_or("unreadable"));
    match agent {
        Some(agent) => {
            let known = ["Mozilla/", "node", "Bun/", "Deno/", "undici", "idae-socket-client/"];
            known.iter().any(|known| agent.starts_with(known))
        }
        // Node's WebSocket names neither itself nor an origin, and offers an extension. Python's names an origin,
        // those of Go and Rust offer nothing.
        None => !headers.contains_key(ORIGIN) && headers.contains_key(SEC_WEBSOCKET_EXTENSIONS),
    }
}

/// What a client that has come back remembers of that.
pub(super) struct Recovered {
    /// What it may have missed before, and still may: the replay can be lost as well.
    doubt: Doubt,
    /// Until when that counts.
    proven: Instant,
    /// Behind which position it was sent what it missed, if that was anything.
    replayed: Option<u64>,
    /// It only gets rid of what it has, and is sent away then.
    is_flush: bool,
    /// It has sent something, which it does after CONNECT alone.
    is_heard: AtomicBool,
}

impl Recovered {
    /// What may be missing if the connection is lost now, unless it is known to have lived.
    pub(super) fn doubt(&self, now: Instant) -> Option<Doubt> {
        (now < self.proven).then_some(self.doubt)
    }

    /// The position of a replay of which nothing is known to have arrived.
    pub(super) fn unproven(&self, now: Instant) -> Option<u64> {
        self.replayed.filter(|_| now < self.proven && !self.is_heard.load(Ordering::Relaxed))
    }

    pub(super) fn heard(&self) {
        self.is_heard.store(true, Ordering::Relaxed);
    }

    pub(super) const fn is_flush(&self) -> bool {
        self.is_flush
    }
}

/// A socket that somebody has taken back, and how far its client had got.
pub(super) struct Return {
    sid: Sid,
    stay: Stay,
    /// The position of the last event that the client has.
    position: u64,
    doubt: Doubt,
    /// Who it was.
    former: Arc<Identity>,
    /// It may hold a part of what it was sent the last time.
    is_unproven: bool,
}

/// Takes back the socket that a client claims, if it may have it.
pub(super) fn claim(
    sockets: &Arc<Sockets>,
    session: &Session,
    namespace: &str,
    identity: &Identity,
    wish: &Wish,
) -> Option<Return> {
    let pid = wish.pid.as_ref()?.as_str()?;
    let history = &sockets.history;
    let sid = history.sid_of(pid)?;
    let now = now();
    let offset = match &wish.offset {
        // It has received nothing yet.
        None | Some(serde_json::Value::Null) => None,
        Some(offset) => Some(history.parse_offset(offset.as_str()?)?),
    };
    // A claim that must fail changes nothing for the owner.
    let live = sockets.client(&sid);
    let is_owner = match (&live, history.away_as(&sid, now)) {
        (Some(client), _) => *client.namespace == *namespace && client.identity().user() == identity.user(),
        (None, Some(away)) => *away.namespace == *namespace && away.identity.user() == identity.user(),
        (None, None) => false,
    };
    if !is_owner || !history.claim(sid, now) {
        return None;
    }
    // Back before its loss was noticed: the connection it had is not its own any more.
    if let Some(former) = live.and_then(|client| client.session())
        && !std::ptr::eq(&*former, session)
    {
        former.end_silently(sockets);
    }
    let away = history.come_back(&sid, now)?;
    // Leaving has given the claim back; from here on it is this client's.
    history.claim(sid, now);
    let Departed { namespace: former_namespace, identity: former, stay, unproven } = &away.what;
    if **former_namespace != *namespace || former.user() != identity.user() {
        return None;
    }
    let position = offset.unwrap_or(0).max(stay.since);
    let is_unproven = *unproven == Some(position);
    let former = Arc::clone(former);
    Some(Return { sid, stay: away.what.stay, position, doubt: away.doubt, former, is_unproven })
}

/// Brings a client back to where it was, with what it missed. `false` if that cannot be had any more.
pub(super) async fn bring_back(
    sockets: &Arc<Sockets>,
    session: &Arc<Session>,
    namespace: &str,
    auth: Option<&str>,
    identity: &Arc<Identity>,
    back: Return,
) -> bool {
    let Return { sid, mut stay, position, doubt, former, is_unproven } = back;
    if former.roles() != identity.roles() || former.claims() != identity.claims() {
        let is_there = |visit: &&Visit| visit.until.is_none();
        let rooms = stay.visits.iter().filter(is_there).map(|visit| visit.room.clone()).collect();
        let allowed = control::allowed_rooms(sockets, identity, namespace, rooms).await;
        let is_lost = |visit: &Visit| visit.until.is_none() && !allowed.contains(&visit.room);
        // Who asked for a room counts on being there. A fresh session says that it has to ask anew. The rooms of
        // roles come and go with these.
        if stay.visits.iter().any(|visit| is_lost(visit) && !former.roles().contains(&visit.room)) {
            return false;
        }
        stay.visits.retain(|visit| !is_lost(visit));
    }
    let shape = Shape { parser: session.parser(), has_offset: true };
    let entry = Entry {
        sid,
        namespace: namespace.to_owned(),
        user: identity.user().map(str::to_owned),
        outbox: Arc::clone(&session.outbox),
        shape,
    };
    let connected = session.packet(&control::connected(sockets, namespace, &sid, true));
    let entered = if is_unproven {
        // What is new must not come before what it misses, so it goes nowhere.
        let entry = Entry { outbox: Outbox::closed(), ..entry };
        let flush = |_| {
            session.outbox.replay([connected, Frame::text("2")]);
            true
        };
        session.expect_flush();
        sockets.hub.come_back(entry, &stay, flush).map(|key| (key, Some(position)))
    } else {
        let missed = Missed {
            position,
            doubt,
            bytes_max: sockets.settings.replay_bytes_max,
            metrics: &sockets.metrics,
        };
        let entered = enter(&sockets.hub, &sockets.history, entry, &stay, missed, connected).await;
        entered.map(|(key, events)| (key, (events > 0).then_some(position)))
    };
    let Some((key, replayed)) = entered else { return false };
    // Roles that are new; past the limit the socket keeps what it has.
    let _ = sockets.hub.join(key, &control::role_rooms(sockets, identity));
    let recovered = Recovered {
        doubt,
        proven: sockets.history.proven(now()),
        replayed,
        is_flush: is_unproven,
        is_heard: AtomicBool::new(false),
    };
    let admitted = Admitted { sid, key, shape, recovered: Some(Box::new(recovered)) };
    control::admitted(sockets, session, namespace, auth, Arc::clone(identity), admitted);
    true
}

/// What a client may have missed, and how much of it may be.
#[derive(Clone, Copy)]
struct Missed<'a> {
    /// Behind this position.
    position: u64,
    doubt: Doubt,
    /// What the frames may cost.
    bytes_max: usize,
    metrics: &'a Metrics,
}

/// Collects the events that were meant for a socket, then queues them and `last`, and enters the socket into the
/// hub, with nothing lost or doubled in between. Returns how many events were queued; `None`, and nothing was
/// queued, if some are gone or there are too many.
async fn enter(
    hub: &Hub,
    history: &Memory,
    entry: Entry,
    stay: &Stay,
    missed: Missed<'_>,
    last: Frame,
) -> Option<(SocketKey, usize)> {
    let sid = entry.sid.to_string();
    let (namespace, user) = (entry.namespace.clone(), entry.user.clone());
    let address = Address::new(&namespace, &sid, user.as_deref(), stay);
    let (outbox, shape) = (Arc::clone(&entry.outbox), entry.shape);
    let mut replay = Replay { history, address: &address, shape, missed, frames: Vec::new(), bytes: 0 };
    for pass in 0.. {
        // Not further than the shard has come: what it has not fanned out yet follows by itself.
        let reached = hub.position(&entry.sid);
        let left = reached.saturating_sub(replay.missed.position);
        if left == 0 || (left < EVENTS_UNDER_LOCK && pass >= PASSES_MAX) {
            break;
        }
        for event in replay.collect(reached)? {
            if replay.push(&event)? {
                tokio::task::yield_now().await;
            }
        }
        tokio::task::yield_now().await;
    }
    let mut events = 0;
    let key = hub.come_back(entry, stay, |until| {
        // What came in the meantime, while nobody can fan out in this shard.
        while replay.missed.position < until {
            let collected = replay.collect(until);
            if collected.is_none_or(|events| events.iter().any(|event| replay.push(event).is_none())) {
                return false;
            }
        }
        events = replay.frames.len();
        outbox.replay(replay.frames.drain(..).chain([last]));
        true
    });
    key.map(|key| (key, events))
}

/// What a client has missed, as far as it was looked at.
struct Replay<'a> {
    history: &'a Memory,
    address: &'a Address<'a>,
    shape: Shape,
    missed: Missed<'a>,
    frames: Vec<Frame>,
    bytes: usize,
}

impl Replay<'_> {
    /// Looks at some more events, up to a position, and returns those that were meant for the socket. `None`: some are
    /// gone.
    fn collect(&mut self, until: u64) -> Option<Vec<Arc<hub::Event>>> {
        let Missed { position, doubt, .. } = self.missed;
        let chunk = self.history.after(position, doubt, EVENTS_PER_TURN)?;
        // At least one further: what is gone and is no loss leaves a gap.
        self.missed.position = chunk.position.max(position + 1).min(until);
        Some(meant_for(self.address, chunk, until).collect())
    }

    /// Takes an event in its client's shape. `None`: there are too many. `true`: that took so long that others should
    /// have a turn.
    fn push(&mut self, event: &hub::Event) -> Option<bool> {
        let turns = self.bytes / BYTES_PER_TURN;
        let frame = event.frame(self.shape);
        self.bytes += hub::cost(&frame);
        self.frames.push(frame);
        if self.bytes > self.missed.bytes_max {
            self.missed.metrics.limit("replay_bytes_max");
            return None;
        }
        Some(self.bytes / BYTES_PER_TURN > turns)
    }
}

/// The events of a chunk that a socket has missed.
fn meant_for(
    address: &Address<'_>,
    chunk: Chunk<Arc<hub::Event>>,
    until: u64,
) -> impl Iterator<Item = Arc<hub::Event>> {
    chunk
        .events
        .into_iter()
        .filter(move |event| event.position <= until && event.target.covers(address, event.position))
}
