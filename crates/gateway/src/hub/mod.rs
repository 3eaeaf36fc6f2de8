//! Who is connected, who is in which room, and how one event reaches all of them.
//!
//! The hub is split into shards, one per thread of the gateway. A socket lives in exactly one of
//! them. Delivering visits every shard once: it collects the outboxes of the target under the
//! shard's lock and fills them after the lock is released, so a fan-out never delays a join.
//! A small target is written at once; a big one is queued and swept by the shard's own thread,
//! which yields after every few sockets, so that small messages overtake big ones.
//!
//! Invariants
//! * No lock is held across a fan-out or an await.
//! * A socket is in a room if and only if the room is in the socket's list.
//! * A target with several addresses reaches a socket at most once.
//! * All sockets of a shard see events in the order in which [`Hub::enqueue`] was called.
//! * A socket gets an event if and only if it was in the target when the event was fanned out in its shard; the
//!   positions in its [`Stay`] say which events that were.

mod event;
mod outbox;
mod shard;
mod sweep;
mod tables;
mod target;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use std::time::Instant;

use idae_socket_protocol::Sid;

pub(crate) use event::{Event, Shape};
pub(crate) use outbox::{Outbox, Standing, Status, cost};
use shard::{Backlog, Dispatch, Shard};
pub(crate) use sweep::sweep;
pub(crate) use tables::{Entry, Stay, Visit};
pub(crate) use target::{Address, Target};

/// Most shards: the number is a byte of every id.
pub(crate) const SHARDS_MAX: usize = 256;

/// The limits of the hub.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// What one socket may have waiting, in bytes; beyond it the socket is a slow consumer.
    pub(crate) outbox_bytes_max: usize,
    /// What may wait to be swept before publishers have to wait, in bytes.
    pub(crate) backlog_bytes_max: usize,
    /// Rooms one socket may be in.
    pub(crate) rooms_max: usize,
}

/// Hears how long deliveries take.
pub(crate) trait Watch: Send + Sync {
    /// An event that was taken up then has been written to so many sockets, as far as the kernel takes it.
    fn delivered(&self, sockets: usize, since: Instant);
}

/// All sockets of the gateway.
pub(crate) struct Hub {
    shards: Box<[Shard]>,
    limits: Limits,
    backlog: Backlog,
    watch: Arc<dyn Watch>,
}

/// Names a socket in the hub for as long as it is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketKey {
    shard: u8,
    index: u32,
    /// Indexes are used again, so a key must also name the socket's life.
    life: u64,
}

/// An event that is being queued, by this thread or by others.
pub(crate) struct Delivery(Arc<Dispatch>);

impl Delivery {
    /// How many sockets got the event, as soon as it is queued on all of them.
    pub(crate) async fn sockets(&self) -> usize {
        self.0.finished().await
    }

    /// How many it is queued on already.
    pub(crate) fn sockets_so_far(&self) -> usize {
        self.0.sockets_so_far()
    }
}

/// The socket has as many rooms as it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyRooms;

impl Hub {
    /// A hub with `shards` shards, [`SHARDS_MAX`] at most.
    pub(crate) fn new(shards: usize, limits: Limits, watch: Arc<dyn Watch>) -> Self {
        let shards = (0..shards.clamp(1, SHARDS_MAX)).map(|_| Shard::default()).collect();
        Self { shards, limits, backlog: Backlog::default(), watch }
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Adds a socket to the shard that its id names.
    pub(crate) fn enter(&self, entry: Entry) -> SocketKey {
        let shard = shard_of(&entry.sid) % self.shards.len();
        let (index, life) = self.shards[shard].tables.lock().enter(entry);
        SocketKey { shard: shard as u8, index, life }
    }

    /// The position of the last event that was fanned out in the shard of a socket.
    pub(crate) fn position(&self, sid: &Sid) -> u64 {
        self.shards[shard_of(sid) % self.shards.len()].tables.lock().position()
    }

    /// Brings a socket back to where it was. `catch_up` queues what it still has to get before anything else:
    /// every event up to the position it is told. Events behind that follow by themselves. If it says that it
    /// cannot, the socket does not come back.
    pub(crate) fn come_back(
        &self,
        entry: Entry,
        stay: &Stay,
        catch_up: impl FnOnce(u64) -> bool,
    ) -> Option<SocketKey> {
        let shard = shard_of(&entry.sid) % self.shards.len();
        let (index, life) = self.shards[shard].tables.lock().come_back(entry, stay, catch_up)?;
        Some(SocketKey { shard: shard as u8, index, life })
    }

    /// Takes a socket out of the hub and of all its rooms. Returns where it was, if it was here.
    pub(crate) fn leave(&self, socket: SocketKey) -> Option<Stay> {
        self.shard(socket).tables.lock().leave(socket.index, socket.life)
    }

    /// How many sockets and rooms there are; a room counts once for each shard and namespace with a member.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let counts = self.shards.iter().map(|shard| shard.tables.lock().counts());
        counts.fold((0, 0), |(sockets, rooms), (more, others)| (sockets + more, rooms + others))
    }

    /// Bytes that wait to be swept.
    pub(crate) fn backlog(&self) -> usize {
        self.backlog.bytes()
    }

    /// Puts a socket into rooms: all of them or, past the limit, none.
    pub(crate) fn join<R: AsRef<str>>(&self, socket: SocketKey, rooms: &[R]) -> Result<(), TooManyRooms> {
        self.shard(socket).tables.lock().join(socket.index, socket.life, rooms, self.limits.rooms_max)
    }

    /// Takes a socket out of rooms; those it is not in are passed over.
    pub(crate) fn part<R: AsRef<str>>(&self, socket: SocketKey, rooms: &[R]) {
        self.shard(socket).tables.lock().part(socket.index, socket.life, rooms);
    }

    /// Gives a socket to another user, or to nobody.
    pub(crate) fn set_user(&self, socket: SocketKey, user: Option<&str>) {
        self.shard(socket).tables.lock().set_user(socket.index, socket.life, user);
    }

    /// The rooms of a socket, in the order in which it joined them.
    pub(crate) fn rooms(&self, socket: SocketKey) -> Vec<String> {
        self.shard(socket).tables.lock().rooms(socket.index, socket.life)
    }

    /// The ids of the sockets of a target.
    pub(crate) fn sids(&self, target: &Target) -> Vec<Sid> {
        self.shards.iter().flat_map(|shard| shard.tables.lock().sids(target)).collect()
    }

    /// Takes an event up. Events are seen in the order of these calls; [`run`](Self::run) fans them out.
    pub(crate) fn enqueue(&self, event: Arc<Event>, at: Instant) -> Delivery {
        let dispatch = Arc::new(Dispatch::new(event, at, self.shards.len()));
        for shard in &self.shards {
            shard.enqueue(&dispatch);
        }
        Delivery(dispatch)
    }

    /// Queues events on the sockets they are for.
    pub(crate) fn run(&self) {
        for shard in &self.shards {
            shard.run(&self.limits, &self.backlog, &*self.watch);
        }
    }

    /// Whether more waits to be swept than the limit.
    pub(crate) fn is_full(&self) -> bool {
        self.backlog.bytes() > self.limits.backlog_bytes_max
    }

    /// Resolves when less waits to be swept than the limit: the answer to a publisher is how it is
    /// told to slow down.
    pub(crate) async fn drained(&self) {
        self.backlog.below(self.limits.backlog_bytes_max).await;
    }

    fn shard(&self, socket: SocketKey) -> &Shard {
        &self.shards[usize::from(socket.shard)]
    }
}

/// The shard that an id names: its last byte.
pub(crate) fn shard_of(sid: &Sid) -> usize {
    usize::from(sid.as_bytes()[Sid::BYTES - 1])
}

/// A fresh id that names a shard.
pub(crate) fn new_sid(shard: usize) -> Sid {
    let mut bytes: [u8; Sid::BYTES] = rand::random();
    bytes[Sid::BYTES - 1] = shard as u8;
    Sid::from_bytes(bytes)
}
