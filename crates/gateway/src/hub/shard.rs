//! One shard: its tables, and the turns in which events are fanned out.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use idae_socket_protocol::websocket::Frame;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::outbox::{Outbox, Pushed};
use super::tables::{Receiver, Tables};
use super::{Event, Limits, Shape, Watch};

/// Up to this many sockets are written to at once, in the publisher's turn; more are swept.
///
/// A write costs some 8 µs, so the publisher's thread is kept for a quarter of a millisecond at most.
const DIRECT_MAX: usize = 32;

#[derive(Default)]
pub(super) struct Shard {
    pub(super) tables: Mutex<Tables>,
    turn: Mutex<Turn>,
    pub(super) unswept: Mutex<Unswept>,
    /// Wakes the sweep.
    pub(super) swept: Notify,
}

/// What waits to be swept, in all shards together: a socket that has come back may be in another shard than
/// the other sockets of its connection, and whoever sweeps their outbox takes what both have put there.
#[derive(Default)]
pub(super) struct Backlog {
    /// Below zero for a moment when the sweep is faster than the fan-out that called it.
    bytes: AtomicIsize,
    /// Wakes publishers that wait for it to shrink.
    drained: Notify,
}

impl Backlog {
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as isize, Ordering::Relaxed);
    }

    /// So much was swept.
    pub(super) fn remove(&self, bytes: usize, bytes_max: usize) {
        let before = self.bytes.fetch_sub(bytes as isize, Ordering::Relaxed);
        if before > bytes_max as isize {
            self.drained.notify_waiters();
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed).max(0) as usize
    }

    /// Waits until no more than `bytes_max` wait for the sweep.
    pub(super) async fn below(&self, bytes_max: usize) {
        while self.bytes() > bytes_max {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            // Listening before looking again: a sweep that ends in between is not missed.
            drained.as_mut().enable();
            if self.bytes() <= bytes_max {
                return;
            }
            drained.await;
        }
    }
}

/// What the sweep has to do.
#[derive(Default)]
pub(super) struct Unswept {
    /// Those with something to write, each once.
    pub(super) outboxes: Vec<Arc<Outbox>>,
    /// The events that wait in them: for how many sockets, and since when.
    pub(super) events: Vec<(usize, Instant)>,
}

/// Events fanned out in one go. Then the shard's own thread goes on, after everybody else on it had a
/// turn: a publisher's thread must not work for all others for ever.
const DISPATCHES_PER_TURN: usize = 8;

/// Events are fanned out one after the other, by whichever thread finds nobody at it. So a thread
/// never waits for another one, and all sockets see the events in the same order.
#[derive(Default)]
struct Turn {
    waiting: VecDeque<Arc<Dispatch>>,
    taken: bool,
    lists: Lists,
}

/// What a fan-out fills and empties. Kept from one turn to the next, because a big room needs big lists.
#[derive(Default)]
struct Lists {
    receivers: Vec<Receiver>,
    dirty: Vec<Arc<Outbox>>,
}

/// One event on its way through all shards.
pub(super) struct Dispatch {
    event: Arc<Event>,
    /// The shapes that some socket wants. Here and not in the event, which the history keeps.
    frames: [OnceLock<Frame>; Shape::COUNT],
    /// When it was taken up.
    at: Instant,
    sockets: AtomicUsize,
    shards_left: AtomicUsize,
    finished: Notify,
}

impl Dispatch {
    pub(super) fn new(event: Arc<Event>, at: Instant, shards: usize) -> Self {
        Self {
            event,
            frames: Default::default(),
            at,
            sockets: AtomicUsize::new(0),
            shards_left: AtomicUsize::new(shards),
            finished: Notify::new(),
        }
    }

    /// The event as a socket wants it.
    fn frame(&self, shape: Shape) -> &Frame {
        self.frames[shape.index()].get_or_init(|| self.event.frame(shape))
    }

    /// How many sockets got the event, as soon as it is queued on all of them.
    pub(super) async fn finished(&self) -> usize {
        // The permit that `notify_one` leaves makes this race-free: there is one waiter.
        while self.shards_left.load(Ordering::Acquire) > 0 {
            self.finished.notified().await;
        }
        self.sockets_so_far()
    }

    pub(super) fn sockets_so_far(&self) -> usize {
        self.sockets.load(Ordering::Relaxed)
    }
}

impl Shard {
    pub(super) fn enqueue(&self, dispatch: &Arc<Dispatch>) {
        self.turn.lock().waiting.push_back(Arc::clone(dispatch));
    }

    /// Fans out whatever waits, unless another thread is at it already.
    pub(super) fn run(&self, limits: &Limits, backlog: &Backlog, watch: &dyn Watch) {
        let mut lists = {
            let mut turn = self.turn.lock();
            if turn.taken || turn.waiting.is_empty() {
                return;
            }
            turn.taken = true;
            std::mem::take(&mut turn.lists)
        };
        for done in 0.. {
            let dispatch = {
                let mut turn = self.turn.lock();
                match turn.waiting.pop_front() {
                    Some(dispatch) if done < DISPATCHES_PER_TURN => dispatch,
                    next => {
                        if let Some(next) = next {
                            turn.waiting.push_front(next);
                            self.swept.notify_one();
                        }
                        turn.taken = false;
                        turn.lists = lists;
                        return;
                    }
                }
            };
            let sockets = self.fan_out(&dispatch, &mut lists, limits, backlog, watch);
            dispatch.sockets.fetch_add(sockets, Ordering::Relaxed);
            if dispatch.shards_left.fetch_sub(1, Ordering::AcqRel) == 1 {
                dispatch.finished.notify_one();
            }
        }
    }

    fn fan_out(
        &self,
        dispatch: &Dispatch,
        Lists { receivers, dirty }: &mut Lists,
        limits: &Limits,
        backlog: &Backlog,
        watch: &dyn Watch,
    ) -> usize {
        let event = &*dispatch.event;
        self.tables.lock().collect(event, receivers);
        let bytes_max = limits.outbox_bytes_max;
        if receivers.len() <= DIRECT_MAX {
            let sent = |Receiver { outbox, shape }: Receiver| {
                outbox.send(dispatch.frame(shape), event.volatile, bytes_max) != Pushed::Dropped
            };
            let sockets = receivers.drain(..).map(sent).filter(|sent| *sent).count();
            if sockets > 0 {
                watch.delivered(sockets, dispatch.at);
            }
            return sockets;
        }
        let (mut sockets, mut bytes) = (0, 0);
        for Receiver { outbox, shape } in receivers.drain(..) {
            let frame = dispatch.frame(shape);
            match outbox.put(frame, event.volatile, bytes_max) {
                Pushed::Taken => {}
                Pushed::TakenDirty => dirty.push(outbox),
                Pushed::Dropped => continue,
            }
            sockets += 1;
            bytes += frame.len();
        }
        backlog.add(bytes);
        if sockets > 0 {
            let mut unswept = self.unswept.lock();
            unswept.outboxes.append(dirty);
            unswept.events.push((sockets, dispatch.at));
            drop(unswept);
            self.swept.notify_one();
        }
        sockets
    }
}
