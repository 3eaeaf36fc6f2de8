//! The sessions of one shard, and when each has to be looked at.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};
use std::time::Instant;

use hashbrown::HashMap;
use idae_socket_protocol::Sid;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::Notify;

use super::Session;
use super::client::Client;

pub(super) struct Table {
    /// Where the tasks of the shard run.
    pub(super) thread: Handle,
    sessions: Mutex<HashMap<Sid, Arc<Session>>>,
    /// The clients whose ids belong to this shard and that may come back after a loss.
    clients: Mutex<HashMap<Sid, Weak<Client>>>,
    /// One entry per session that counts, and some that no longer do: a session says which. Moving
    /// a deadline back costs nothing, the entry is put right when its time has come.
    alarms: Mutex<BinaryHeap<Reverse<(Instant, Alarm)>>>,
    /// An alarm earlier than all others was set.
    pub(super) earlier: Notify,
    /// The last session has gone.
    left: Notify,
    /// Polling sessions for which too much waits.
    pub(super) overflows: Arc<Overflows>,
}

/// Notes for the clock.
#[derive(Default)]
pub(super) struct Overflows {
    sids: Mutex<Vec<Sid>>,
    pub(super) added: Notify,
}

impl Overflows {
    pub(super) fn add(&self, sid: Sid) {
        self.sids.lock().push(sid);
        self.added.notify_one();
    }

    pub(super) fn take(&self) -> Vec<Sid> {
        std::mem::take(&mut *self.sids.lock())
    }
}

/// An id that can stand in a heap.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Alarm([u8; Sid::BYTES]);

impl Table {
    pub(super) fn new(thread: Handle) -> Self {
        Self {
            thread,
            sessions: Mutex::default(),
            clients: Mutex::default(),
            alarms: Mutex::default(),
            earlier: Notify::new(),
            left: Notify::new(),
            overflows: Arc::default(),
        }
    }

    pub(super) fn insert(&self, session: Arc<Session>, deadline: Instant) {
        let sid = session.sid;
        self.sessions.lock().insert(sid, session);
        self.set_alarm(sid, deadline);
    }

    pub(super) fn find(&self, sid: &Sid) -> Option<Arc<Session>> {
        self.sessions.lock().get(sid).cloned()
    }

    pub(super) fn remove(&self, sid: &Sid) {
        let mut sessions = self.sessions.lock();
        sessions.remove(sid);
        if sessions.is_empty() {
            self.left.notify_waiters();
        }
    }

    /// Waits until there is no session any more.
    pub(super) async fn emptied(&self) {
        loop {
            // Before the look, so that whoever leaves after it is noticed.
            let left = self.left.notified();
            if self.sessions.lock().is_empty() {
                return;
            }
            left.await;
        }
    }

    pub(super) fn insert_client(&self, sid: Sid, client: Weak<Client>) {
        self.clients.lock().insert(sid, client);
    }

    /// Forgets a client, but not another one that has taken its id over.
    pub(super) fn remove_client(&self, client: &Client) {
        let mut clients = self.clients.lock();
        if clients.get(&client.sid).is_some_and(|known| std::ptr::eq(known.as_ptr(), client)) {
            clients.remove(&client.sid);
        }
    }

    pub(super) fn find_client(&self, sid: &Sid) -> Option<Arc<Client>> {
        self.clients.lock().get(sid)?.upgrade()
    }

    pub(super) fn all(&self) -> Vec<Arc<Session>> {
        self.sessions.lock().values().cloned().collect()
    }

    pub(super) fn set_alarm(&self, sid: Sid, at: Instant) {
        let mut alarms = self.alarms.lock();
        let is_first = alarms.peek().is_none_or(|Reverse((first, _))| at < *first);
        alarms.push(Reverse((at, Alarm(*sid.as_bytes()))));
        drop(alarms);
        if is_first {
            self.earlier.notify_one();
        }
    }

    /// When the next alarm goes off.
    pub(super) fn next_alarm(&self) -> Option<Instant> {
        self.alarms.lock().peek().map(|Reverse((at, _))| *at)
    }

    /// Takes an alarm that is due, with its session if that still exists.
    pub(super) fn due(&self, now: Instant) -> Option<(Instant, Option<Arc<Session>>)> {
        let mut alarms = self.alarms.lock();
        let Reverse((at, _)) = alarms.peek()?;
        if *at > now {
            return None;
        }
        let Reverse((at, Alarm(sid))) = alarms.pop()?;
        drop(alarms);
        Some((at, self.find(&Sid::from_bytes(sid))))
    }
}
