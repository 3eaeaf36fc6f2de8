//! The public keys of somebody else: fetched, kept, and fetched again when a token names a new one.
//!
//! Invariants
//! * There are at most [`FETCHES_AT_ONCE`] fetches in a row and then one every [`INTERVAL`], whatever tokens come in.
//! * The last good set stays until there is a better one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::jws::KeySet;
use super::refusal::{Refusal, RefusalCode};
use crate::config::Address;
use crate::outbound::{Answer, Outbound};

/// Fetches that may follow each other at once: the one at the start, and those for a rotation.
const FETCHES_AT_ONCE: u32 = 3;

/// After that, the time between two fetches. A key that is new meanwhile is not known for so long.
const INTERVAL: Duration = Duration::from_secs(10);

/// How long one fetch may take.
const FETCH_TIME_MAX: Duration = Duration::from_secs(3);

/// An older set is fetched again the next time it is used, so that keys that were taken back do not live on.
const AGE_MAX: Duration = Duration::from_secs(300);

/// A key set at an address.
pub(super) struct Jwks {
    url: Address,
    outbound: Outbound,
    state: RwLock<State>,
    /// Held by the one who fetches; the others wait for what comes of it.
    fetching: tokio::sync::Mutex<()>,
    is_refreshing: AtomicBool,
}

#[derive(Clone, Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    /// How many fetches have ended.
    fetches: u64,
    ended: Option<Instant>,
    /// When all fetches that were made would have been due, one every [`INTERVAL`].
    due: Option<Instant>,
}

/// The keys as they were at some time.
pub(super) struct Snapshot {
    pub(super) keys: Option<Arc<KeySet>>,
    fetches: u64,
}

impl Jwks {
    pub(super) fn new(url: Address, outbound: Outbound) -> Self {
        Self {
            url,
            outbound,
            state: RwLock::default(),
            fetching: tokio::sync::Mutex::default(),
            is_refreshing: AtomicBool::new(false),
        }
    }

    /// The keys that are there. An old set is fetched again beside that.
    pub(super) fn snapshot(self: &Arc<Self>) -> Snapshot {
        let (snapshot, is_old) = {
            let state = self.state.read();
            let is_old = state.ended.is_some_and(|ended| ended.elapsed() > AGE_MAX);
            (Snapshot { keys: state.keys.clone(), fetches: state.fetches }, is_old)
        };
        if is_old && !self.is_refreshing.swap(true, Ordering::Relaxed) {
            let (jwks, seen) = (Arc::clone(self), Snapshot { keys: None, fetches: snapshot.fetches });
            tokio::spawn(async move {
                let _ = jwks.newer(&seen).await;
                jwks.is_refreshing.store(false, Ordering::Relaxed);
            });
        }
        snapshot
    }

    /// The keys after a fetch that ended later than `seen`: waits for one that goes on, or makes one if it may.
    pub(super) async fn newer(&self, seen: &Snapshot) -> Result<Arc<KeySet>, Refusal> {
        let turn = self.fetching.lock().await;
        if self.state.read().fetches <= seen.fetches && self.may_fetch(Instant::now()) {
            self.fetch().await;
        }
        drop(turn);
        let state = self.state.read().clone();
        state.keys.ok_or_else(|| {
            // Why is for the log, where the fetch has written it.
            Refusal::new(
                RefusalCode::JwksUnavailable,
                "the token cannot be checked at this moment; try again in a moment",
            )
        })
    }

    /// Whether one more fetch is within the allowance; takes it if so.
    fn may_fetch(&self, now: Instant) -> bool {
        let mut state = self.state.write();
        let due = state.due.map_or(now, |due| due.max(now));
        if due.saturating_duration_since(now) > (FETCHES_AT_ONCE - 1) * INTERVAL {
            return false;
        }
        state.due = Some(due + INTERVAL);
        true
    }

    async fn fetch(&self) {
        let request = self.outbound.get(&self.url).header("accept", "application/json");
        let fetched = match Outbound::ask(request, FETCH_TIME_MAX).await {
            Ok(Answer { status, body }) if status.is_success() => KeySet::from_jwks(&body),
            Ok(Answer { status, .. }) => Err(format!("its address answers {status}")),
            Err(error) => Err(error.to_string()),
        };
        let mut state = self.state.write();
        state.fetches += 1;
        state.ended = Some(Instant::now());
        match fetched {
            Ok(keys) => {
                tracing::debug!(keys = keys.len(), "the key set was fetched");
                state.keys = Some(Arc::new(keys));
            }
            Err(reason) => tracing::warn!(reason, "the key set of auth.jwks_url cannot be fetched"),
        }
    }
}
