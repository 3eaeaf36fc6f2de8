//! The clock of a shard: heartbeats and time limits of all its sessions.

use std::sync::Arc;

use tokio::time::sleep_until;

use super::{Sockets, now};

/// Sessions looked at before everybody else on the thread gets a turn.
const SESSIONS_PER_TURN: usize = 64;

pub(super) async fn run(sockets: &Arc<Sockets>, shard: usize) {
    let Some(table) = sockets.shards.get(shard) else { return };
    loop {
        let alarm = async {
            match table.next_alarm() {
                Some(at) => sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = alarm => {}
            () = table.earlier.notified() => continue,
            () = table.overflows.added.notified() => {
                for session in table.overflows.take().iter().filter_map(|sid| table.find(sid)) {
                    session.tick(sockets, now());
                }
                continue;
            }
        }
        let mut looked_at = 0;
        while let Some((at, session)) = table.due(now()) {
            if let Some(session) = session {
                session.alarm(sockets, at, now());
            }
            looked_at += 1;
            if looked_at % SESSIONS_PER_TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }
}
