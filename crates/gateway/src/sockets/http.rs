//! The HTTP front of an endpoint: which request means what, in the order the protocol checks it.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, ORIGIN,
    SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SET_COOKIE, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use idae_socket_protocol::engineio::{self, Refusal, Transport};
use idae_socket_protocol::websocket::handshake;

use super::client::Handshake;
use super::websocket::Upgrade;
use super::{Endpoint, Session, Sockets, browser, now, polling, recovery};
use crate::auth::TOKEN_BYTES_MAX;
use crate::hub::Outbox;
use crate::rules::{Cors, Grant};

/// What the listener does with a request.
pub(crate) enum Answer {
    Reply(Response<Full<Bytes>>),
    /// Sends the response, takes the connection out of HTTP and hands it over.
    Upgrade(Response<Full<Bytes>>, Upgrade),
}

/// A request that would open a session, as [`HttpDriver::on_opening`](crate::HttpDriver::on_opening) sees it.
#[derive(Debug)]
#[non_exhaustive]
pub struct Opening<'a> {
    /// Where it comes from.
    pub address: IpAddr,
    /// The path and the query.
    pub uri: &'a Uri,
    /// The headers.
    pub headers: &'a HeaderMap,
}

/// An embedder's word on who may open a session; the text of a refusal goes to the client.
pub(crate) type Admission = Arc<dyn Fn(&Opening<'_>) -> Result<(), String> + Send + Sync>;

/// A refusal with the text that goes with it, if that is not the standard one.
struct Refused {
    refusal: Refusal,
    message: Option<String>,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, message: None }
    }
}

impl Sockets {
    /// Serves a request to an endpoint's path.
    pub(crate) async fn handle(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        request: Request<Incoming>,
        peer: IpAddr,
        shard: usize,
    ) -> Answer {
        let is_upgrade = has_token(request.headers(), UPGRADE, "websocket");
        let cors = match self.settings.own_page.connects(request.headers()) {
            true => Cors::Allowed(Grant::Nothing),
            false => self.settings.origins.judge(request.headers().get(ORIGIN)),
        };
        let asked_headers = request.headers().get(http::header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let lacks_upgrade =
            !is_upgrade && request.uri().query().is_some_and(|query| query.contains("transport=websocket"));
        let is_preflight = request.method() == Method::OPTIONS;
        let refused_origin = match cors {
            Cors::Refused => request.headers().get(ORIGIN).map(shown),
            Cors::Allowed(_) => None,
        };
        let answer = match &cors {
            Cors::Refused => Err(Refused {
                refusal: Refusal::Forbidden,
                message: Some(
                    "This origin is not allowed; the setting socket.cors_origins lists those that are".into(),
                ),
            }),
            Cors::Allowed(_) if is_preflight && !is_upgrade => Ok(Answer::Reply(preflight(asked_headers))),
            Cors::Allowed(_) => self.route(endpoint, request, is_upgrade, peer, shard).await,
        };
        let mut answer = answer.unwrap_or_else(|refused| {
            match refused.refusal {
                // Every session that ends while a request is on its way.
                Refusal::UnknownSid => tracing::debug!(remote = %peer, "a request for a session that is over"),
                refusal => {
                    let reason = refused.message.as_deref().map_or_else(|| refusal.to_string(), str::to_owned);
                    let hint = hint(refusal, lacks_upgrade);
                    tracing::info!(remote = %peer, code = refusal.code(), reason, origin = refused_origin, hint, "an Engine.IO request was refused");
                }
            }
            Answer::Reply(if is_upgrade { refused.on_upgrade() } else { refused.on_polling() })
        });
        let (Answer::Reply(response) | Answer::Upgrade(response, _)) = &mut answer;
        cors.write(response.headers_mut());
        answer
    }

    async fn route(
        self: &Arc<Self>,
        endpoint: &Arc<Endpoint>,
        http: Request<Incoming>,
        is_upgrade: bool,
        peer: IpAddr,
        shard: usize,
    ) -> Result<Answer, Refused> {
        if let Some(name) = http.uri().path().strip_prefix(&endpoint.path)
            && matches!(*http.method(), Method::GET | Method::HEAD)
            && !is_upgrade
            && let Some(file) =
                browser::file(name, http.headers(), has_token(http.headers(), ACCEPT_ENCODING, "gzip"))
        {
            return Ok(Answer::Reply(file));
        }
        let request = engineio::Request::parse(http.uri().query().unwrap_or_default())?;
        let offered = match request.transport {
            Transport::Polling => self.settings.transports.polling,
            Transport::Websocket => self.settings.transports.websocket,
        };
        if !offered {
            return Err(Refusal::UnknownTransport.into());
        }
        let session = match &request.sid {
            Some(sid) => Some(self.session_for(endpoint, sid).ok_or(Refusal::UnknownSid)?),
            None => None,
        };
        let over_websocket = request.transport == Transport::Websocket;
        match session {
            Some(_) if !request.version_4 || over_websocket != is_upgrade => Err(Refusal::BadRequest.into()),
            Some(session) if is_upgrade => {
                let response = switch_protocols(&http)?;
                Ok(upgrade(response, |sockets| Upgrade::probe(sockets, session), self))
            }
            Some(session) if session.transport() != Transport::Polling => Err(Refusal::BadRequest.into()),
            Some(session) => Ok(Answer::Reply(self.poll(&session, http).await?)),
            None if http.method() != Method::GET => Err(Refusal::BadHandshakeMethod.into()),
            None if over_websocket != is_upgrade => Err(Refusal::BadRequest.into()),
            None => {
                let refused = |message| Refused { refusal: Refusal::Forbidden, message: Some(message) };
                if let Some(admission) = &self.handlers.opening {
                    let opening = Opening { address: peer, uri: http.uri(), headers: http.headers() };
                    admission(&opening).map_err(refused)?;
                }
                if !request.version_4 {
                    return Err(Refusal::UnsupportedVersion.into());
                }
                let authorization = http.headers().get(AUTHORIZATION).and_then(|value| value.to_str().ok());
                // Kept as long as the session, so not longer than a token may be.
                let authorization =
                    authorization.filter(|text| self.auth.is_on() && text.len() <= TOKEN_BYTES_MAX);
                let is_known = recovery::is_known_for_recovery(http.headers());
                let handshake = Handshake::new(peer, request.text_only, is_known, authorization);
                if is_upgrade {
                    let response = switch_protocols(&http)?;
                    let (endpoint, place) = (Arc::clone(endpoint), self.admit(peer).map_err(refused)?);
                    let open = |sockets| Upgrade::open(sockets, endpoint, handshake, shard, place);
                    return Ok(upgrade(response, open, self));
                }
                let place = self.admit(peer).map_err(refused)?;
                let session =
                    self.open(endpoint, shard, Transport::Polling, Outbox::polling(), handshake, place);
                let body = session.outbox.take_payload().unwrap_or_default();
                let mut response = payload(body, http.headers());
                if let Some(name) = &self.settings.cookie
                    && let Ok(cookie) = HeaderValue::try_from(format!(
                        "{name}={}; Path=/; HttpOnly; SameSite=Lax",
                        session.sid
                    ))
                {
                    response.headers_mut().insert(SET_COOKIE, cookie);
                }
                Ok(Answer::Reply(response))
            }
        }
    }

    /// The session of an id, brought up to the present: what timed out does not exist any more.
    fn session_for(self: &Arc<Self>, endpoint: &Arc<Endpoint>, sid: &str) -> Option<Arc<Session>> {
        let session = self.find(sid).filter(|session| Arc::ptr_eq(&session.endpoint, endpoint))?;
        session.tick(self, now());
        self.find(sid)
    }

    async fn poll(
        self: &Arc<Self>,
        session: &Arc<Session>,
        http: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Refused> {
        match *http.method() {
            Method::GET => {
                let headers = http.headers().clone();
                Ok(match polling::get(self, session).await? {
                    Some(body) => payload(body, &headers),
                    None => empty(StatusCode::BAD_REQUEST),
                })
            }
            Method::POST => Ok(match polling::post(self, session, http).await? {
                polling::Posted::Taken => {
                    let mut response = Response::new(Full::from("ok"));
                    let headers = response.headers_mut();
                    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
                    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                    response
                }
                polling::Posted::Refused(status) => empty(status),
            }),
            _ => {
                let mut response = empty(StatusCode::METHOD_NOT_ALLOWED);
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, POST"));
                Ok(response)
            }
        }
    }
}

impl Refused {
    fn on_polling(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::from(self.refusal.body(self.message.as_deref())));
        *response.status_mut() =
            StatusCode::from_u16(self.refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// WebSocket clients show the bare text at best, and the reference answers 400 to everything.
    fn on_upgrade(&self) -> Response<Full<Bytes>> {
        let text = self.message.clone().unwrap_or_else(|| self.refusal.to_string());
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = StatusCode::BAD_REQUEST;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html"));
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }
}

fn upgrade(
    response: Result<Response<Full<Bytes>>, Response<Full<Bytes>>>,
    make: impl FnOnce(Arc<Sockets>) -> Upgrade,
    sockets: &Arc<Sockets>,
) -> Answer {
    match response {
        Ok(response) => Answer::Upgrade(response, make(Arc::clone(sockets))),
        Err(response) => Answer::Reply(response),
    }
}

/// The 101, or what is wrong with the WebSocket handshake (RFC 6455 §4.2).
#[allow(clippy::type_complexity, reason = "three outcomes, each told to the client in another way")]
fn switch_protocols(
    http: &Request<Incoming>,
) -> Result<Result<Response<Full<Bytes>>, Response<Full<Bytes>>>, Refused> {
    let headers = http.headers();
    if headers.get(SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
        let mut response = empty(StatusCode::UPGRADE_REQUIRED);
        response.headers_mut().insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        return Ok(Err(response));
    }
    let key = headers.get(SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    let key = key.filter(|key| handshake::is_valid_key(key)).ok_or(Refusal::BadRequest)?;
    // A body would be read as frames.
    let has_body = !http.body().is_end_stream();
    let is_handshake = http.method() == Method::GET && http.version() == Version::HTTP_11;
    if has_body || !is_handshake || !has_token(headers, CONNECTION, "upgrade") {
        return Err(Refusal::BadRequest.into());
    }
    let mut response = empty(StatusCode::SWITCHING_PROTOCOLS);
    let accept = HeaderValue::try_from(handshake::accept_key(key)).map_err(|_| Refusal::BadRequest)?;
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, accept);
    Ok(Ok(response))
}

/// A header's value for a line of the log.
fn shown(value: &HeaderValue) -> String {
    const CHARS_MAX: usize = 128;
    String::from_utf8_lossy(value.as_bytes()).chars().take(CHARS_MAX).collect()
}

/// What an operator may do about a refusal.
const fn hint(refusal: Refusal, lacks_upgrade: bool) -> Option<&'static str> {
    match refusal {
        Refusal::BadRequest if lacks_upgrade => {
            Some("a WebSocket request without the header Upgrade: does a proxy in front drop it?")
        }
        Refusal::UnsupportedVersion => {
            Some("the client speaks an older protocol: use version 3 or 4 of the client library")
        }
        _ => None,
    }
}

/// A poll's body, compressed when that is wanted and worth it.
fn payload(body: Vec<u8>, request: &HeaderMap) -> Response<Full<Bytes>> {
    let is_worth_it = (polling::GZIP_BYTES_MIN..=polling::GZIP_BYTES_MAX).contains(&body.len());
    let gzip = is_worth_it && has_token(request, ACCEPT_ENCODING, "gzip");
    let (body, is_compressed) = match gzip.then(|| polling::gzip(&body)).flatten() {
        Some(compressed) => (compressed, true),
        None => (body, false),
    };
    let mut response = Response::new(Full::from(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=UTF-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if is_compressed {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn preflight(asked_headers: Option<HeaderValue>) -> Response<Full<Bytes>> {
    use http::header::{ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, CONTENT_LENGTH, VARY};
    let mut response = empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE"));
    if let Some(asked) = asked_headers {
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked);
        headers.append(VARY, HeaderValue::from_static("Access-Control-Request-Headers"));
    }
    response
}

fn empty(status: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    response
}

/// Whether a header's list holds a token. Weights (`gzip;q=0.5`) are passed over, `q=0` excludes.
fn has_token(headers: &HeaderMap, name: http::HeaderName, token: &str) -> bool {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|item| {
            let (item, weight) = item.split_once(';').unwrap_or((item, ""));
            item.trim().eq_ignore_ascii_case(token)
                && !matches!(weight.trim(), "q=0" | "q=0.0" | "q=0.00" | "q=0.000")
        })
}
