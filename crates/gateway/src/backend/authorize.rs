//! The backend's word on rooms that no rule decides.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;
use tokio::sync::Semaphore;

use crate::auth::Identity;
use crate::config::Address;
use crate::outbound::{Answer, Outbound};
use crate::recent::Answers;

/// Answers that are remembered.
const ANSWERS_MAX: usize = 20_000;

/// Questions that are asked at the same time.
const ASKING_MAX: usize = 64;

/// Asks `rooms.authorize_url`.
pub(crate) struct Authorizer {
    url: Address,
    outbound: Outbound,
    time_max: Duration,
    ttl: Duration,
    turns: Semaphore,
    /// By the question itself.
    answers: Answers<Arc<str>, Authorization>,
}

/// What the backend says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Authorization {
    Granted,
    Denied,
    /// It cannot be asked, or says neither yes nor no.
    Unavailable,
}

#[derive(Serialize)]
struct Question<'a> {
    user: Option<&'a str>,
    roles: &'a [String],
    room: &'a str,
    namespace: &'a str,
}

impl Authorizer {
    pub(crate) fn new(url: &Address, time_max: Duration, ttl: Duration, outbound: &Outbound) -> Self {
        Self {
            url: url.clone(),
            outbound: outbound.clone(),
            time_max,
            ttl,
            turns: Semaphore::new(ASKING_MAX),
            answers: Answers::new(ANSWERS_MAX),
        }
    }

    /// How long an answer may take.
    pub(crate) const fn time_max(&self) -> Duration {
        self.time_max
    }

    /// Whether somebody may join a room. Asked once for all who ask the same at a time.
    pub(crate) async fn authorize(&self, identity: &Identity, room: &str, namespace: &str) -> Authorization {
        let question = Question { user: identity.user(), roles: identity.roles(), room, namespace };
        // Strings alone: this cannot fail.
        let question: Arc<str> = serde_json::to_string(&question).unwrap_or_default().into();
        let flight = self.answers.question(&question, self.time_max);
        let decide = async {
            let answer = self.ask(&question).await;
            let is_answer = answer != Authorization::Unavailable;
            self.answers.keep(
                Arc::clone(&question),
                &flight,
                if is_answer { self.ttl } else { Duration::ZERO },
            );
            answer
        };
        *flight.get_or_init(|| decide).await
    }

    async fn ask(&self, question: &str) -> Authorization {
        let asking = async {
            let _turn = self.turns.acquire().await;
            let request = self.outbound.post(&self.url).header("content-type", "application/json");
            Outbound::ask(request.body(question.to_owned()), self.time_max).await
        };
        let reason = match tokio::time::timeout(self.time_max, asking).await {
            Ok(Ok(Answer { status, .. })) if status.is_success() => return Authorization::Granted,
            Ok(Ok(Answer { status: StatusCode::FORBIDDEN, .. })) => return Authorization::Denied,
            Ok(Ok(Answer { status, .. })) => format!("it answers {status}, where 2xx is yes and 403 no"),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("no turn within {} ms", self.time_max.as_millis()),
        };
        tracing::warn!(reason, "the backend of rooms.authorize_url does not say who may join a room");
        Authorization::Unavailable
    }
}
