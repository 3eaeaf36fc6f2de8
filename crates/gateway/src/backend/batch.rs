//! `POST /v1/events`: many events with one request, as an array or as a stream of lines.

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use hyper::body::{Body, Incoming};
use serde_json::value::RawValue;
use tokio::time::{sleep, timeout};

use super::problem::{Code, FieldError, Problem};
use super::submission::{Deliver, Submission};
use super::{Backend, IDEMPOTENCY_KEY, ReplyBody, access, json, json_response, read, turn_away};
use crate::auth::Publisher;
use crate::body;
use crate::observe::Metrics;
use crate::patience::ARRIVAL_TIME_MAX;

const NDJSON: &str = "application/x-ndjson";

/// Items published before everybody else on the thread gets a turn, and bytes of them.
const ITEMS_PER_TURN: usize = 16;
const BYTES_PER_TURN: usize = 64 * 1024;

/// Answers that may wait for a publisher that does not read them; then no more lines are read.
const REPLIES_WAITING_MAX: usize = 16;

/// How long a stream may be silent before it is ended.
const SILENCE_MAX: Duration = Duration::from_secs(120);

/// What the request says of all its items.
struct Batch {
    publisher: Publisher,
    peer: IpAddr,
    deliver: Deliver,
    trace_id: Option<String>,
}

impl Backend {
    pub(super) async fn batch(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
        trace_id: Option<String>,
    ) -> Result<Response<ReplyBody>, Problem> {
        let (head, body) = request.into_parts();
        let batch = match self.admit_batch(&head, peer) {
            Ok((publisher, deliver)) => Batch { publisher, peer, deliver, trace_id },
            Err(problem) => return Err(turn_away(head, body, problem).await),
        };
        if access::content_type(&head.headers).eq_ignore_ascii_case(NDJSON) {
            return Ok(self.stream(body, batch));
        }
        let refused = |problem: Problem| problem.of(&batch.publisher);
        let body = read(body, self.settings.batch_bytes_max).await.map_err(refused)?;
        let items: Vec<&RawValue> = serde_json::from_str(json(&body).map_err(refused)?).map_err(|_| {
            refused(Problem::of_fields(vec![FieldError {
                pointer: String::new(),
                detail: "a batch is a JSON array of events; a single event is posted to its own path"
                    .to_owned(),
                code: Code::InvalidType,
            }]))
        })?;
        if items.len() > self.settings.batch_items_max {
            let detail = format!(
                "a batch may have {} events (setting publish.batch_items_max)",
                self.settings.batch_items_max
            );
            return Err(refused(Problem::new(Code::TooManyItems, detail)));
        }
        let mut replies = Vec::with_capacity(items.len());
        let mut work = 0;
        for item in items {
            // Even the smallest is worth its share of a turn.
            work += item.get().len().max(BYTES_PER_TURN / ITEMS_PER_TURN);
            if work > BYTES_PER_TURN {
                work = 0;
                tokio::task::yield_now().await;
            }
            replies.push(self.item(&batch, item.get()).await);
        }
        Ok(json_response(StatusCode::OK, format!("[{}]", replies.join(","))))
    }

    fn admit_batch(&self, head: &Parts, peer: IpAddr) -> Result<(Publisher, Deliver), Problem> {
        if head.method != Method::POST {
            return Err(access::wrong_method(head));
        }
        let publisher = self.publisher(&head.headers, peer)?;
        let refused = |problem: Problem| problem.of(&publisher);
        if head.headers.contains_key(&IDEMPOTENCY_KEY) {
            return Err(refused(Problem::new(
                Code::IdempotencyKeyInBatch,
                "give each event of a batch an `id` of its own instead of the header Idempotency-Key",
            )));
        }
        access::require_json(&head.headers, &["application/json", NDJSON]).map_err(refused)?;
        let deliver = self.deliver(head.uri.query()).map_err(refused)?;
        Ok((publisher, deliver))
    }

    /// Publishes one item. A bad one is answered as a problem and does not stop the others.
    async fn item(&self, batch: &Batch, item: &str) -> String {
        match self.try_item(batch, item).await {
            Ok(reply) => reply,
            Err(problem) => self.item_refused(batch, problem),
        }
    }

    /// The answer to an item that is not published.
    fn item_refused(&self, batch: &Batch, problem: Problem) -> String {
        self.metrics.refused(problem.code());
        if problem.code() == "payload_too_large" {
            self.metrics.limit("body_bytes_max");
        }
        let trace_id = batch.trace_id.clone();
        tracing::info!(
            remote = %batch.peer,
            key = batch.publisher.name(),
            code = problem.code(),
            detail = problem.detail(),
            trace_id,
            "an item of a batch was refused"
        );
        problem.with_trace(trace_id).to_json()
    }

    async fn try_item(&self, batch: &Batch, item: &str) -> Result<String, Problem> {
        if item.len() > self.settings.body_bytes_max {
            return Err(Problem::payload_too_large(self.settings.body_bytes_max));
        }
        let (name, submission) = Submission::parse_item(item, &self.settings)?;
        self.settings.events.check(&name).map_err(|refused| Problem::event_not_found(&refused))?;
        if !batch.publisher.may_publish(&name) {
            return Err(Problem::event_forbidden(&name));
        }
        let publication = self.publish(&batch.publisher, &name, batch.deliver, submission)?;
        Ok(publication.receipt(batch.publisher.name()).await.to_json())
    }

    /// Answers each line as it arrives.
    fn stream(self: &Arc<Self>, body: Incoming, batch: Batch) -> Response<ReplyBody> {
        let (replies, reply_body) = Channel::new(REPLIES_WAITING_MAX);
        let backend = Arc::clone(self);
        tokio::spawn(async move { backend.answer_lines(body, &batch, replies).await });
        let mut response = Response::new(ReplyBody::Right(reply_body));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(NDJSON));
        response
    }

    async fn answer_lines(&self, body: Incoming, batch: &Batch, mut replies: Sender<Bytes>) {
        let (metrics, bytes_max) = (&*self.metrics, self.settings.body_bytes_max);
        let mut lines = Lines { body, buffer: BytesMut::new(), bytes_max, metrics };
        let mut stop = pin!(async {
            self.drained().await;
            // A line that was sent before may still be on its way.
            sleep(ARRIVAL_TIME_MAX).await;
        });
        let mut is_last = false;
        while !is_last {
            let line = tokio::select! {
                biased;
                line = lines.next() => line,
                () = &mut stop => None,
            };
            let Some(line) = line else { break };
            is_last = self.is_draining();
            let mut reply = match line {
                Line::Complete(line) if line.trim_ascii().is_empty() => {
                    // Not asked for anything, it has refused nothing.
                    is_last = false;
                    continue;
                }
                _ if is_last => self.item_refused(batch, Problem::draining()),
                Line::Complete(line) => match json(&line) {
                    Ok(line) => self.item(batch, line).await,
                    Err(problem) => self.item_refused(batch, problem),
                },
                Line::TooLong => {
                    self.item_refused(batch, Problem::payload_too_large(self.settings.body_bytes_max))
                }
            };
            reply.push('\n');
            if replies.send_data(Bytes::from(reply)).await.is_err() {
                return;
            }
        }
        if self.is_draining() {
            // The end of the answers first: only then does the publisher know that it may end as well.
            drop(replies);
            body::discard(lines.body).await;
        }
    }
}

/// The lines of a body, one after the other as they arrive.
struct Lines<'a, B> {
    body: B,
    buffer: BytesMut,
    bytes_max: usize,
    metrics: &'a Metrics,
}

enum Line {
    Complete(Bytes),
    /// Longer than the limit; it was passed over.
    TooLong,
}

impl<B: Body<Data = Bytes> + Unpin> Lines<'_, B> {
    /// The next line, or `None` at the end of the body.
    async fn next(&mut self) -> Option<Line> {
        let mut is_too_long = false;
        let mut searched = 0;
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let line = self.buffer.split_to(searched + end + 1).freeze();
                return Some(if is_too_long || line.len() > self.bytes_max + 1 {
                    Line::TooLong
                } else {
                    Line::Complete(line)
                });
            }
            if self.buffer.len() > self.bytes_max {
                is_too_long = true;
                self.buffer.clear();
            }
            searched = self.buffer.len();
            match timeout(SILENCE_MAX, self.body.frame()).await {
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Ok(None) if is_too_long => {
                    self.buffer.clear();
                    return Some(Line::TooLong);
                }
                Ok(None) if !self.buffer.is_empty() => {
                    return Some(Line::Complete(self.buffer.split().freeze()));
                }
                // The end, a connection that failed, or a publisher that fell silent. What it began
                // and did not finish is no event.
                Ok(None | Some(Err(_))) => return None,
                Err(_) => {
                    self.metrics.limit("stream_silence_s");
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_that_falls_silent_is_ended_and_counted() {
        let metrics = Metrics::new();
        let (mut sender, body) = Channel::<Bytes>::new(1);
        let mut lines = Lines { body, buffer: BytesMut::new(), bytes_max: 100, metrics: &metrics };
        sender.send_data(Bytes::from_static(b"{}\n{")).await.unwrap();
        assert!(matches!(lines.next().await, Some(Line::Complete(line)) if *line == *b"{}\n"));
        let counted =
            || metrics.text(&Default::default()).unwrap().contains(r#"limit="stream_silence_s"} 1"#);
        assert!(!counted());
        assert!(lines.next().await.is_none());
        assert!(counted());
    }
}
