//! Events of clients on their way to the backend, as webhooks whose answer is the acknowledgement.
//!
//! A request is signed as Standard Webhooks describes it: the headers `webhook-id`, `webhook-timestamp`, and
//! `webhook-signature` with the HMAC-SHA256 of id, timestamp and body.
//! <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>
//!
//! Invariants
//! * One client has one event at the backend at a time. One that is given up counts no more.
//! * What waits is counted in bytes for each client, and there is no other copy of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use idae_socket_protocol::socketio::Args;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use crate::auth::{Identity, unix_now};
use crate::config::{self, Address, webhook_key};
use crate::hub;
use crate::outbound::{Answer, NoAnswer, Outbound};
use crate::rules::{Pattern, PatternError};

/// Requests at the same time.
const SENDING_MAX: usize = 64;

/// Clients with an event on its way, or waiting for its turn among those of others.
const WAITING_MAX: usize = 1_024;

/// Forwards events of clients.
pub(crate) struct Forwarder {
    routes: Vec<Route>,
    outbound: Outbound,
    turns: Semaphore,
    waiting: AtomicUsize,
    bytes_max: usize,
}

/// The events of one client: in their order, and not too many bytes of them.
#[derive(Default)]
pub(crate) struct Queue {
    turn: tokio::sync::Mutex<()>,
    bytes: AtomicUsize,
}

/// An event in its client's queue; out of it again when this is dropped.
pub(crate) struct Queued {
    queue: Arc<Queue>,
    bytes: usize,
}

impl Drop for Queued {
    fn drop(&mut self) {
        self.queue.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

struct Route {
    event: Pattern,
    url: Address,
    key: Option<hmac::Key>,
    time_max: Duration,
}

/// What a client sent, and who it is.
pub(crate) struct ClientEvent<'a> {
    pub(crate) name: &'a str,
    pub(crate) args: &'a Args<'a>,
    pub(crate) identity: &'a Identity,
    pub(crate) socket_id: &'a str,
    pub(crate) namespace: &'a str,
}

/// Why the backend's answer is no acknowledgement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unanswered {
    pub(crate) code: &'static str,
    pub(crate) detail: String,
}

impl Unanswered {
    fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    event: &'a str,
    args: &'a RawValue,
    /// Binary arguments in base64; `args` has `{"_placeholder":true,"num":N}` in their places.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    attachments: &'a [String],
    user: Option<&'a str>,
    roles: &'a [String],
    socket_id: &'a str,
    namespace: &'a str,
}

impl Forwarder {
    /// Of one client as many bytes may wait as one event may have.
    ///
    /// # Errors
    /// A pattern cannot be read.
    pub(crate) fn new(
        routes: &[config::Forward],
        bytes_max: usize,
        outbound: &Outbound,
    ) -> Result<Self, PatternError> {
        let route = |route: &config::Forward| {
            let key = route.secret.as_ref().and_then(webhook_key);
            Ok(Route {
                event: Pattern::parse(&route.event)?,
                url: route.url.clone(),
                key: key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, &key)),
                time_max: Duration::from_millis(route.timeout_ms),
            })
        };
        Ok(Self {
            routes: routes.iter().map(route).collect::<Result<_, _>>()?,
            outbound: outbound.clone(),
            turns: Semaphore::new(SENDING_MAX),
            waiting: AtomicUsize::new(0),
            bytes_max,
        })
    }

    /// Puts an event into its client's queue, if there is room for it. Alone it always fits.
    pub(crate) fn queue(&self, queue: &Arc<Queue>, name: &str, args: &Args<'_>) -> Option<Queued> {
        let attachments = args.attachments().iter().map(|bytes| bytes.len()).sum::<usize>();
        let bytes = name.len() + args.items().len() + attachments;
        let queued = Queued { queue: Arc::clone(queue), bytes };
        let before = queue.bytes.fetch_add(bytes, Ordering::Relaxed);
        (before == 0 || before + bytes <= self.bytes_max).then_some(queued)
    }

    /// Whether events of this name go to the backend.
    pub(crate) fn takes(&self, event: &str) -> bool {
        self.route(event).is_some()
    }

    fn route(&self, event: &str) -> Option<&Route> {
        self.routes.iter().find(|route| route.event.matches(event))
    }

    /// Sends an event, as soon as it is its client's turn. The answer's JSON, `None` if the answer is empty.
    pub(crate) async fn forward(
        &self,
        event: &ClientEvent<'_>,
        queued: Queued,
    ) -> Result<Option<String>, Unanswered> {
        let Some(route) = self.route(event.name) else {
            return Err(Unanswered::new("unknown_event", "no [[forward]] covers the event"));
        };
        // Waiting counts too: the client waits for its answer.
        let end = Instant::now() + route.time_max;
        let turns = async {
            let client_turn = queued.queue.turn.lock().await;
            // Only now, so that one client takes one place.
            let place = self.place()?;
            let turn = self.turns.acquire().await;
            Some((client_turn, place, turn))
        };
        // With less time left it would be sent only to be given up, and the backend would work for nobody.
        let wait_max = route.time_max / 2;
        let Ok(turns) = timeout(wait_max, turns).await else {
            let (code, detail) = (
                "forward_timeout",
                format!("no turn within {} ms: the event was not sent", wait_max.as_millis()),
            );
            tracing::warn!(event = event.name, code, reason = detail, "an event was not forwarded");
            return Err(Unanswered::new(code, detail));
        };
        let Some((_client_turn, _place, _turn)) = turns else {
            return Err(Unanswered::new("forward_busy", "too many events are on their way to the backend"));
        };
        let asking = Outbound::ask(self.request(route, body(event)), route.time_max);
        match timeout_at(end, asking).await.unwrap_or(Err(NoAnswer::TimedOut(route.time_max))) {
            Ok(answer) => acknowledgement(&answer),
            Err(error) => Err(unanswered(event.name, &error)),
        }
    }

    fn request(&self, route: &Route, body: String) -> reqwest::RequestBuilder {
        let id = format!("msg_{}", hub::new_sid(0));
        let timestamp = unix_now();
        let mut request = self
            .outbound
            .post(&route.url)
            .header("content-type", "application/json")
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp);
        if let Some(key) = &route.key {
            let signature = hmac::sign(key, format!("{id}.{timestamp}.{body}").as_bytes());
            request = request.header("webhook-signature", format!("v1,{}", STANDARD.encode(signature)));
        }
        request.body(body)
    }

    fn place(&self) -> Option<Place<'_>> {
        let place = Place(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= WAITING_MAX {
            tracing::warn!(limit = WAITING_MAX, "an event was not forwarded: too many are on their way");
            return None;
        }
        Some(place)
    }
}

/// A place among the events on their way; free again when this is dropped.
struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn body(event: &ClientEvent<'_>) -> String {
    let args = format!("[{}]", event.args.items());
    let attachments: Vec<String> =
        event.args.attachments().iter().map(|bytes| STANDARD.encode(bytes)).collect();
    let body = Body {
        event: event.name,
        // What the protocol crate hands out is valid JSON.
        args: serde_json::from_str(&args).unwrap_or(RawValue::NULL),
        attachments: &attachments,
        user: event.identity.user(),
        roles: event.identity.roles(),
        socket_id: event.socket_id,
        namespace: event.namespace,
    };
    serde_json::to_string(&body).unwrap_or_default()
}

/// What the client is told of an event that the backend did not answer.
fn unanswered(event: &str, error: &NoAnswer) -> Unanswered {
    let code = match error {
        NoAnswer::TimedOut(_) => "forward_timeout",
        NoAnswer::Unreachable(_) => "forward_failed",
        NoAnswer::TooLarge => "forward_invalid_answer",
    };
    tracing::warn!(event, code, reason = %error, "an event did not get to the backend");
    // Which machine cannot be reached, and why, is not the client's business.
    let detail = match error {
        NoAnswer::Unreachable(_) => "the backend cannot be reached".to_owned(),
        other => format!("the backend gave no answer: {other}"),
    };
    Unanswered::new(code, detail)
}

/// What an answer is worth as an acknowledgement.
fn acknowledgement(answer: &Answer) -> Result<Option<String>, Unanswered> {
    if !answer.status.is_success() {
        let detail = format!("the backend answered {}", answer.status.as_u16());
        return Err(Unanswered::new("forward_refused", detail));
    }
    if answer.body.trim_ascii().is_empty() {
        return Ok(None);
    }
    let invalid = |_| Unanswered::new("forward_invalid_answer", "the backend's answer is no JSON");
    super::json(&answer.body).map(|json| Some(json.to_owned())).map_err(invalid)
}
