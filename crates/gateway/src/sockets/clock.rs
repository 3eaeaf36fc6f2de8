//! The clock of a shard: heartbeats and time limits of all its sessions.

use std::sync::Arc;

use tokio::time::sleep_until;

use super::{Sockets, now};

/// Sessions looked at before everybody else on the thread gets a turn.
const SESSIONS_PER_TURN: usize = 64;

pub(super) async fn run(sockets: &Arc<Sockets>, shard: usize) {
    let Some(table) = sockets.shards.get(shard) else { return };
    loop {
        match table.next_alarm() {
            Some(at) => {
                tokio::select! {
                    () = sleep_until(at.into()) => {}
                    () = table.earlier.notified() => continue,
                }
            }
            None => {
                table.earlier.notified().await;
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
