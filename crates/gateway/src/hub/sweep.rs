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
    loop {
        shard.swept.notified().await;
        // What publishers have left, to give their threads back.
        shard.run(&hub.limits, &hub.backlog, &*hub.watch);
        tokio::task::yield_now().await;
        let Unswept { outboxes, events } = std::mem::take(&mut *shard.unswept.lock());
        for turn in outboxes.chunks(SOCKETS_PER_TURN) {
            let bytes: usize = turn.iter().map(|outbox| outbox.sweep()).sum();
            hub.backlog.remove(bytes, hub.limits.backlog_bytes_max);
            tokio::task::yield_now().await;
        }
        for (sockets, at) in events {
            hub.watch.delivered(sockets, at);
        }
    }
}
