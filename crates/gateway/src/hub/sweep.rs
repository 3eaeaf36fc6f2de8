//! The sweep of a shard: writes what a fan-out has queued.

use super::Hub;
use super::shard::Unswept;

/// Sockets written to before everybody else on the thread gets a turn: about half a millisecond.
const SOCKETS_PER_TURN: usize = 64;

/// Sweeps a shard for ever; runs as one task on the shard's thread.
///
/// A socket is swept with everything that waits for it, so the more there is to do, the less each
/// frame costs.
pub(crate) async fn sweep(hub: &Hub, shard: usize) {
    let Some(shard) = hub.shards.get(shard) else { return };
    // Its lists are emptied and given back, so that a big room does not make new ones with every event.
    let mut work = Unswept::default();
    loop {
        shard.swept.notified().await;
        // What publishers have left, to give their threads back.
        shard.run(&hub.limits, &hub.backlog, &*hub.watch);
        tokio::task::yield_now().await;
        std::mem::swap(&mut work, &mut shard.unswept.lock());
        for turn in work.outboxes.chunks(SOCKETS_PER_TURN) {
            let bytes: usize = turn.iter().map(|outbox| outbox.sweep()).sum();
            hub.backlog.remove(bytes, hub.limits.backlog_bytes_max);
            tokio::task::yield_now().await;
        }
        work.outboxes.clear();
        for (sockets, at) in work.events.drain(..) {
            hub.watch.delivered(sockets, at);
        }
    }
}
