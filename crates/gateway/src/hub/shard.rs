//! One shard: its tables, and the turns in which events are fanned out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering};

use idae_socket_protocol::websocket::Frame;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::outbox::{Outbox, Pushed};
use super::tables::Tables;
use super::{Limits, Target};

/// Up to this many sockets are written to at once, in the publisher's turn; more are swept.
///
/// A write costs some 8 µs, so the publisher's thread is kept for a quarter of a millisecond at most.
const DIRECT_MAX: usize = 32;

#[derive(Default)]
pub(super) struct Shard {
    pub(super) tables: Mutex<Tables>,
    turn: Mutex<Turn>,
    pub(super) dirty: Mutex<Vec<Arc<Outbox>>>,
    /// Wakes the sweep.
    pub(super) swept: Notify,
    /// Bytes that wait for the sweep. Below zero for a moment when it is faster than the fan-out
    /// that called it.
    pub(super) backlog: AtomicIsize,
    /// Wakes publishers that wait for the backlog to shrink.
    pub(super) drained: Notify,
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
    /// Kept from one turn to the next, because a big room needs a big list.
    outboxes: Vec<Arc<Outbox>>,
}

/// One event on its way through all shards.
pub(super) struct Dispatch {
    target: Target,
    frame: Frame,
    volatile: bool,
    sockets: AtomicUsize,
    shards_left: AtomicUsize,
    finished: Notify,
}

impl Dispatch {
    pub(super) fn new(target: Target, frame: Frame, volatile: bool, shards: usize) -> Self {
        Self {
            target,
            frame,
            volatile,
            sockets: AtomicUsize::new(0),
            shards_left: AtomicUsize::new(shards),
            finished: Notify::new(),
        }
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
    pub(super) fn run(&self, limits: &Limits) {
        let mut outboxes = {
            let mut turn = self.turn.lock();
            if turn.taken || turn.waiting.is_empty() {
                return;
            }
            turn.taken = true;
            std::mem::take(&mut turn.outboxes)
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
                        turn.outboxes = outboxes;
                        return;
                    }
                }
            };
            let sockets = self.fan_out(&dispatch, &mut outboxes, limits);
            dispatch.sockets.fetch_add(sockets, Ordering::Relaxed);
            if dispatch.shards_left.fetch_sub(1, Ordering::AcqRel) == 1 {
                dispatch.finished.notify_one();
            }
        }
    }

    fn fan_out(&self, dispatch: &Dispatch, outboxes: &mut Vec<Arc<Outbox>>, limits: &Limits) -> usize {
        self.tables.lock().collect(&dispatch.target, outboxes);
        let (frame, volatile, bytes_max) = (&dispatch.frame, dispatch.volatile, limits.outbox_bytes_max);
        if outboxes.len() <= DIRECT_MAX {
            let sent = |outbox: Arc<Outbox>| outbox.send(frame, volatile, bytes_max) != Pushed::Dropped;
            return outboxes.drain(..).map(sent).filter(|sent| *sent).count();
        }
        let mut dirty = Vec::new();
        let mut sockets = 0;
        for outbox in outboxes.drain(..) {
            match outbox.put(frame, volatile, bytes_max) {
                Pushed::Taken => sockets += 1,
                Pushed::TakenDirty => {
                    sockets += 1;
                    dirty.push(outbox);
                }
                Pushed::Dropped => {}
            }
        }
        self.backlog.fetch_add((sockets * frame.len()) as isize, Ordering::Relaxed);
        if !dirty.is_empty() {
            self.dirty.lock().append(&mut dirty);
            self.swept.notify_one();
        }
        sockets
    }

    /// Waits until less than `bytes_max` wait for the sweep.
    pub(super) async fn below(&self, bytes_max: isize) {
        while self.backlog.load(Ordering::Relaxed) > bytes_max {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            // Listening before looking again: a sweep that ends in between is not missed.
            drained.as_mut().enable();
            if self.backlog.load(Ordering::Relaxed) <= bytes_max {
                return;
            }
            drained.await;
        }
    }
}
