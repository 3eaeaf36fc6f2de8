//! The public keys of somebody else: fetched, kept, and fetched again when a token names a new one.
//!
//! Invariants
//! * Two fetches lie [`INTERVAL_MIN`] apart, whatever tokens come in.
//! * The last good set stays until there is a better one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use tokio::time::{Instant, sleep_until};

use super::jws::KeySet;
use super::refusal::{Refusal, RefusalCode};
use crate::outbound::{Answer, Outbound};

/// Between two fetches. A token with a new key waits as long as this, and the fetch, to be accepted.
const INTERVAL_MIN: Duration = Duration::from_secs(5);

/// How long one fetch may take.
const FETCH_TIME_MAX: Duration = Duration::from_secs(5);

/// An older set is fetched again the next time it is used, so that keys that were taken back do not live on.
const AGE_MAX: Duration = Duration::from_secs(300);

/// A key set at an address.
pub(super) struct Jwks {
    url: String,
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
    failure: Option<String>,
}

/// The keys as they were at some time.
pub(super) struct Snapshot {
    pub(super) keys: Option<Arc<KeySet>>,
    fetches: u64,
}

impl Jwks {
    pub(super) fn new(url: String, outbound: Outbound) -> Self {
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

    /// The keys after a fetch that ended later than `seen`: waits for one that goes on, or makes one.
    pub(super) async fn newer(&self, seen: &Snapshot) -> Result<Arc<KeySet>, Refusal> {
        let _turn = self.fetching.lock().await;
        let before = self.state.read().clone();
        if before.fetches <= seen.fetches {
            if let Some(ended) = before.ended {
                sleep_until(ended + INTERVAL_MIN).await;
            }
            self.fetch().await;
        }
        let state = self.state.read().clone();
        match (state.keys, state.failure) {
            (Some(keys), None) => Ok(keys),
            (_, failure) => {
                let reason = format!("the key set cannot be fetched: {}", failure.unwrap_or_default());
                Err(Refusal::new(RefusalCode::JwksUnavailable, reason))
            }
        }
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
                state.failure = None;
            }
            Err(failure) => {
                tracing::warn!(reason = failure, "the key set of auth.jwks_url cannot be fetched");
                state.failure = Some(failure);
            }
        }
    }
}
