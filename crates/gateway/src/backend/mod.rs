//! The side of the backends: publishing over HTTP, and what they are asked and told in return.
//!
//! Invariants
//! * Whoever is refused learns the reason and a stable code; nothing is dropped silently.
//! * The publisher's JSON is checked and passed on as text, never written anew.
//! * Who may publish is decided before anything is told about event names.

mod access;
mod authorize;
mod batch;
mod forward;
mod problem;
mod submission;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, EXPECT, HeaderName};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::channel::Channel;
use http_body_util::{Either, Full};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;
use tokio::sync::Notify;
use tracing::Instrument as _;

pub(crate) use self::authorize::{Authorization, Authorizer};
pub(crate) use self::forward::{ClientEvent, Forwarder, Queue, Unanswered};
pub(crate) use self::problem::{Code, Problem};
pub(crate) use self::submission::Secrets;
use self::submission::{Deliver, Submission};
use crate::auth::{PublishKeys, Publisher};
use crate::body::{self, BodyError};
use crate::console::{self, Console};
use crate::observe::{Metrics, OPEN_METRICS};
use crate::publish::{Event, EventId, InFlight, Publication, Receipt, Road};
use crate::rules::{EventNames, NameRefused, Namespaces, OwnPage};

/// The body of an answer: in one piece, or the answers to a stream of events.
pub(crate) type ReplyBody = Either<Full<Bytes>, Channel<Bytes, std::convert::Infallible>>;

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Levels of nesting in a body. Clients in some languages fail at a thousand and a bit.
const DEPTH_MAX: usize = 512;

/// What publishers may do and use.
pub(crate) struct Settings {
    pub(crate) keys: PublishKeys,
    pub(crate) events: EventNames,
    pub(crate) namespaces: Namespaces,
    pub(crate) body_bytes_max: usize,
    pub(crate) batch_items_max: usize,
    pub(crate) batch_bytes_max: usize,
    /// Bytes of a room's name, as for the sockets.
    pub(crate) room_bytes_max: usize,
    /// Clients get the payload alone, unless the request says otherwise.
    pub(crate) delivers_payload: bool,
    pub(crate) sender_redact: Secrets,
    pub(crate) console: Option<Console>,
    pub(crate) own_page: OwnPage,
}

/// The publish API.
pub(crate) struct Backend {
    settings: Settings,
    road: Arc<Road>,
    metrics: Arc<Metrics>,
    is_draining: AtomicBool,
    /// It has begun to drain.
    drains: Notify,
}

impl Backend {
    pub(crate) fn new(settings: Settings, road: Arc<Road>, metrics: Arc<Metrics>) -> Self {
        Self { settings, road, metrics, is_draining: AtomicBool::new(false), drains: Notify::new() }
    }

    /// From now on nothing is published any more, and `/readyz` says so.
    pub(crate) fn drain(&self) {
        self.is_draining.store(true, Ordering::Relaxed);
        self.drains.notify_waiters();
    }

    fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Relaxed)
    }

    /// Resolves when it begins to drain.
    async fn drained(&self) {
        let drains = self.drains.notified();
        tokio::pin!(drains);
        // Listening before looking, so that it is not missed.
        drains.as_mut().enable();
        if !self.is_draining() {
            drains.await;
        }
    }

    /// A limit was reached on the way here.
    pub(crate) fn reached(&self, limit: &'static str) {
        self.metrics.limit(limit);
    }

    /// A Socket.IO client that looks for its server in the wrong place.
    fn no_sockets_here(&self) -> Problem {
        let path = self.settings.events.socket_path();
        let detail = format!("Socket.IO clients connect at `{path}` (setting socket.path)");
        Problem::new(Code::EventNotFound, detail)
    }

    /// Checks an event name as for a request.
    pub(crate) fn check_event(&self, name: &str) -> Result<(), NameRefused> {
        self.settings.events.check(name)
    }

    pub(crate) const fn road(&self) -> &Arc<Road> {
        &self.road
    }

    /// Serves every request that is not for the sockets.
    pub(crate) async fn handle(
        self: &Arc<Self>,
        request: Request<Incoming>,
        peer: IpAddr,
    ) -> Response<ReplyBody> {
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        let is_batch = request.uri().path() == "/v1/events";
        let trace_id = trace_id(request.headers());
        let answer = match request.uri().path() {
            _ if is_for_sockets(&request) => Err(self.no_sockets_here()),
            path if is_read && (path == "/" || path.starts_with(console::PREFIX)) => self.page(path),
            "/livez" if is_read => Ok(health(true)),
            "/readyz" if is_read => Ok(health(!self.is_draining())),
            "/metrics" if is_read => Ok(self.metrics()),
            // Boxed, because every request pays for the size of this future, and most are single events.
            "/v1/events" => Box::pin(self.batch(request, peer, trace_id.clone())).await,
            _ => match trace_id.clone() {
                None => self.event(request, peer).await,
                Some(trace_id) => {
                    let span = tracing::info_span!("request", trace_id);
                    Box::pin(self.event(request, peer).instrument(span)).await
                }
            }
            .map(|receipt| json_response(StatusCode::OK, receipt.to_json())),
        };
        answer.unwrap_or_else(|problem| {
            self.metrics.refused(problem.code());
            match problem.code() {
                "payload_too_large" if is_batch => self.metrics.limit("batch_bytes_max"),
                "payload_too_large" => self.metrics.limit("body_bytes_max"),
                "too_many_items" => self.metrics.limit("batch_items_max"),
                _ => {}
            }
            tracing::info!(remote = %peer, key = problem.key(), code = problem.code(), status = problem.status(), detail = problem.detail(), trace_id, "publish refused");
            problem.with_trace(trace_id).into_response()
        })
    }

    /// The console, or what stands in its place where it is off.
    fn page(&self, path: &str) -> Result<Response<ReplyBody>, Problem> {
        match self.settings.console.as_ref().and_then(|console| console.file(path)) {
            Some(file) => Ok(file.map(whole)),
            None if path == "/" => Ok(welcome()),
            None => Err(Problem::new(Code::EventNotFound, "there is nothing here (setting `console`)")),
        }
    }

    fn metrics(&self) -> Response<ReplyBody> {
        let mut response = Response::new(whole(self.metrics.text(&self.road.sample()).unwrap_or_default()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS));
        response
    }

    /// `POST /<event>`
    async fn event(&self, request: Request<Incoming>, peer: IpAddr) -> Result<Receipt, Problem> {
        let (admitted, body) = {
            let (head, body) = request.into_parts();
            match self.admit(&head, peer) {
                Ok(admitted) => (admitted, body),
                Err(problem) => return Err(Box::pin(turn_away(head, body, problem)).await),
            }
        };
        let refused = |problem: Problem| problem.of(&admitted.publisher);
        let body = read(body, self.settings.body_bytes_max).await.map_err(refused)?;
        let publication = self.take(&admitted, &body).map_err(refused)?;
        // What is not needed any more must not wait with the publisher.
        let Admitted { publisher, name, header_id, .. } = admitted;
        drop((name, header_id, body));
        Ok(publication.receipt(publisher.name()).await)
    }

    /// Publishes the event of a body.
    fn take(&self, admitted: &Admitted, body: &[u8]) -> Result<Publication<'_>, Problem> {
        let Admitted { publisher, name, deliver, header_id } = admitted;
        let mut submission = Submission::parse(text(body)?, &self.settings)?;
        submission.set_header_id(header_id.as_deref())?;
        self.publish(publisher, name, *deliver, submission)
    }

    /// All that can be decided before the body is read.
    fn admit(&self, head: &Parts, peer: IpAddr) -> Result<Admitted, Problem> {
        let name = event_name(&head.uri).into_owned();
        if head.method != Method::POST {
            // A path that is no event does not exist for any method.
            self.settings.events.check_shape(&name).map_err(|refused| Problem::event_not_found(&refused))?;
            return Err(access::wrong_method(head));
        }
        let publisher = self.publisher(&head.headers, peer)?;
        match self.admit_event(head, &name, &publisher) {
            Ok((deliver, header_id)) => Ok(Admitted { publisher, name, deliver, header_id }),
            Err(problem) => Err(problem.of(&publisher)),
        }
    }

    /// Whether this publisher may publish this event, and how.
    fn admit_event(
        &self,
        head: &Parts,
        name: &str,
        publisher: &Publisher,
    ) -> Result<(Deliver, Option<String>), Problem> {
        self.settings.events.check(name).map_err(|refused| Problem::event_not_found(&refused))?;
        if !publisher.may_publish(name) {
            return Err(Problem::event_forbidden(name));
        }
        access::require_json(&head.headers, &["application/json"])?;
        let deliver = self.deliver(head.uri.query())?;
        Ok((deliver, idempotency_key(&head.headers)?))
    }

    /// The last steps, the same for single events and batches: what the key allows, and the road.
    fn publish(
        &self,
        publisher: &Publisher,
        name: &str,
        deliver: Deliver,
        submission: Submission<'_>,
    ) -> Result<Publication<'_>, Problem> {
        let Submission { target, volatile, id, content } = submission;
        if !publisher.may_reach_everybody() {
            access::check_target(publisher, &target, content.rooms())?;
        }
        let argument = content.argument(deliver);
        let event = Event {
            name,
            argument: &argument,
            target,
            volatile,
            id: id.as_deref().map(|id| EventId { publisher: publisher.name().unwrap_or_default(), id }),
        };
        self.road.publish(event).map_err(|InFlight| {
            Problem::new(
                Code::IdInFlight,
                "an event with this id is being published at this moment; ask again for its answer",
            )
        })
    }

    fn publisher(&self, headers: &HeaderMap, peer: IpAddr) -> Result<Publisher, Problem> {
        if self.is_draining() {
            return Err(Problem::draining());
        }
        if !self.settings.own_page.publishes(headers) {
            access::refuse_browsers(headers)?;
        }
        access::publisher(&self.settings.keys, headers, peer)
    }

    /// What clients get, from the query or the configuration.
    fn deliver(&self, query: Option<&str>) -> Result<Deliver, Problem> {
        let pairs = query.unwrap_or_default().split('&').filter_map(|pair| pair.split_once('='));
        let (asked, others): (Vec<_>, Vec<_>) = pairs.partition(|(key, _)| *key == "deliver");
        // Almost right, it would be passed over without a word. Others are for whatever is in between.
        if let Some((unknown, _)) =
            others.iter().find(|(key, _)| strsim::damerau_levenshtein(key, "deliver") <= 2)
        {
            let unknown: String = unknown.chars().take(submission::NAME_CHARS_SHOWN).collect();
            return Err(Problem::new(
                Code::UnknownField,
                format!("unknown query parameter `{unknown}`; did you mean `deliver`?"),
            ));
        }
        match asked.last() {
            Some((_, "payload")) => Ok(Deliver::Payload),
            Some((_, "envelope")) => Ok(Deliver::Envelope),
            Some((_, other)) => Err(Problem::new(
                Code::InvalidValue,
                format!("the query parameter `deliver` is `payload` or `envelope`, not `{other}`"),
            )),
            None if self.settings.delivers_payload => Ok(Deliver::Payload),
            None => Ok(Deliver::Envelope),
        }
    }
}

/// The event that a path names.
fn event_name(uri: &Uri) -> Cow<'_, str> {
    let path = uri.path();
    let path = path.strip_prefix('/').unwrap_or(path);
    match memchr::memchr(b'%', path.as_bytes()) {
        None => Cow::Borrowed(path),
        Some(_) => percent_decode_str(path).decode_utf8_lossy(),
    }
}

/// A request that may go on to its body.
struct Admitted {
    publisher: Publisher,
    name: String,
    deliver: Deliver,
    header_id: Option<String>,
}

/// Takes the body off the connection, so that the answer arrives. Whoever asked before sending it
/// (`Expect: 100-continue`) is better answered at once.
async fn turn_away(head: Parts, body: Incoming, problem: Problem) -> Problem {
    if !head.headers.contains_key(EXPECT) {
        body::discard(body).await;
    }
    problem
}

async fn read(body: Incoming, bytes_max: usize) -> Result<Bytes, Problem> {
    body::read(body, bytes_max).await.map_err(|error| match error {
        BodyError::TooLarge => Problem::payload_too_large(bytes_max),
        BodyError::TooSlow => {
            Problem::new(Code::BodyTimeout, "the body was not complete in time; send it at once")
        }
        BodyError::Broken => Problem::new(Code::MalformedJson, "the body was cut off"),
    })
}

/// The body as one JSON value: whole, and not too deep.
fn json(body: &[u8]) -> Result<&str, Problem> {
    value(text(body)?)
}

/// A text that is one JSON value, without the space around it.
fn value(text: &str) -> Result<&str, Problem> {
    let value: &RawValue =
        serde_json::from_str(text).map_err(|error| Problem::new(Code::MalformedJson, error.to_string()))?;
    Ok(value.get())
}

/// The body as text that is not nested too deep, should it be JSON.
fn text(body: &[u8]) -> Result<&str, Problem> {
    let text = simdutf8::compat::from_utf8(body)
        .map_err(|error| Problem::new(Code::MalformedJson, format!("the body is not UTF-8: {error}")))?;
    if text.starts_with('\u{feff}') {
        let detail =
            "the body begins with a byte order mark (BOM), which JSON does not have; send UTF-8 without it";
        return Err(Problem::new(Code::MalformedJson, detail));
    }
    if text.trim_ascii().is_empty() {
        return Err(Problem::new(
            Code::EmptyBody,
            r#"send a JSON object such as {"rooms":["admin"],"payload":{"id":1}}"#,
        ));
    }
    // Counting is much faster, and nearly always enough.
    if brackets(body) > DEPTH_MAX && depth(text) > DEPTH_MAX {
        return Err(Problem::new(
            Code::MalformedJson,
            format!("the JSON is nested more than {DEPTH_MAX} levels deep"),
        ));
    }
    Ok(text)
}

/// How many brackets a text opens. In pieces, for whose sums a byte is enough, so that many bytes are looked at at once.
fn brackets(body: &[u8]) -> usize {
    let count = |piece: &[u8]| piece.iter().map(|byte| u8::from(matches!(byte, b'[' | b'{'))).sum::<u8>();
    body.chunks(usize::from(u8::MAX)).map(|piece| usize::from(count(piece))).sum()
}

/// How deep arrays and objects are nested in JSON.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut is_escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The id of the trace that a request belongs to (W3C Trace Context, `traceparent`, section 3.2).
fn trace_id(headers: &HeaderMap) -> Option<String> {
    let mut parts = headers.get(&TRACEPARENT)?.to_str().ok()?.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Capital letters and ids of zeros are invalid. Versions to come may add fields, the first has none.
    let is_hex = |part: &str, length| {
        part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_id = |part: &str, length| is_hex(part, length) && part.bytes().any(|byte| byte != b'0');
    let is_good = is_hex(version, 2) && is_id(trace, 32) && is_id(parent, 16) && is_hex(flags, 2);
    let is_known = version != "ff" && (version != "00" || parts.next().is_none());
    (is_good && is_known).then(|| trace.to_owned())
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(key) = headers.get(&IDEMPOTENCY_KEY) else { return Ok(None) };
    match key.to_str() {
        Ok(key) if (1..=submission::ID_CHARS_MAX).contains(&key.len()) => Ok(Some(key.to_owned())),
        _ => Err(Problem::new(
            Code::InvalidValue,
            format!("the header Idempotency-Key has 1 to {} visible characters", submission::ID_CHARS_MAX),
        )),
    }
}

/// A body in one piece.
pub(crate) fn whole(body: impl Into<Bytes>) -> ReplyBody {
    ReplyBody::Left(Full::new(body.into()))
}

fn json_response(status: StatusCode, body: String) -> Response<ReplyBody> {
    let mut response = Response::new(whole(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Whether a request is one of a Socket.IO client or some other WebSocket.
fn is_for_sockets(request: &Request<Incoming>) -> bool {
    let upgrades = request.headers().get_all(http::header::UPGRADE).iter();
    let mut tokens = upgrades.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    tokens.any(|token| token.trim().eq_ignore_ascii_case("websocket"))
        || request.uri().query().is_some_and(|query| query.split('&').any(|pair| pair.starts_with("EIO=")))
}

fn health(is_well: bool) -> Response<ReplyBody> {
    let (status, text) = match is_well {
        true => (StatusCode::OK, "ok\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
    };
    let mut response = Response::new(whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// For whoever opens the address in a browser.
fn welcome() -> Response<ReplyBody> {
    let text = concat!(
        "idae-socket ",
        env!("CARGO_PKG_VERSION"),
        "\n\n",
        "Publish an event:   POST /<event>  {\"rooms\":[\"admin\"],\"payload\":{…}}\n",
        "Receive events:     any Socket.IO v4 client, after emit('subscribe', 'admin')\n",
    );
    let mut response = Response::new(whole(text));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
