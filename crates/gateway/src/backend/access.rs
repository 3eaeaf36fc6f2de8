//! Who may publish, told from a request's peer and headers.

use std::net::IpAddr;

use http::header::{
    ACCESS_CONTROL_REQUEST_METHOD, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, FORWARDED, HeaderName,
    ORIGIN, VIA,
};
use http::request::Parts;
use http::{HeaderMap, Method};

use super::problem::{Code, FieldError, Problem};
use crate::auth::{KeyRefused, PublishKeys, Publisher};
use crate::hub::Target;
use crate::rules::SEC_FETCH_SITE;

/// Headers by which a proxy says that the request comes from somewhere else. With one of them a
/// loopback peer is not the publisher.
static FORWARDING: [HeaderName; 9] = [
    FORWARDED,
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-real-ip"),
    VIA,
    HeaderName::from_static("cf-connecting-ip"),
    HeaderName::from_static("true-client-ip"),
];

static API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// Who sends the request. Without keys that can only be a program on this machine.
pub(super) fn publisher(keys: &PublishKeys, headers: &HeaderMap, peer: IpAddr) -> Result<Publisher, Problem> {
    if keys.is_empty() {
        return local(headers, peer);
    }
    let Some(key) = presented(headers) else {
        return Err(Problem::new(
            Code::Unauthorized,
            "send the publish key as `Authorization: Bearer <key>` or `X-API-Key: <key>`",
        ));
    };
    keys.identify(key).map_err(|KeyRefused| {
        Problem::new(Code::KeyInvalid, "no key of publish.key or [[publish.keys]] is the one that was sent")
    })
}

fn local(headers: &HeaderMap, peer: IpAddr) -> Result<Publisher, Problem> {
    const CURE: &str = "set a publish key (publish.key, or IDAE_SOCKET_PUBLISH_KEY) and send it";
    let refuse = |why: String| Err(Problem::new(Code::NotLoopback, format!("{why}; {CURE}")));
    if !peer.to_canonical().is_loopback() {
        return refuse(format!(
            "without a publish key only this machine may publish, and the request came from {peer}"
        ));
    }
    match headers.keys().find(|name| FORWARDING.contains(name)) {
        Some(name) => refuse(format!(
            "without a publish key only this machine may publish, and the header `{name}` says that the request came through a proxy"
        )),
        None => Ok(Publisher::LOCAL),
    }
}

/// The key of a request: `X-API-Key`, or the bearer token.
fn presented(headers: &HeaderMap) -> Option<&str> {
    if let Some(key) = headers.get(&API_KEY) {
        return key.to_str().ok();
    }
    let (scheme, key) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// A web page in a developer's browser reaches loopback too. Whatever a browser sends on behalf of
/// a page carries one of these headers.
pub(super) fn refuse_browsers(headers: &HeaderMap) -> Result<(), Problem> {
    let site = headers.get(&SEC_FETCH_SITE).is_some_and(|site| site != "none");
    if site || headers.contains_key(ORIGIN) {
        return Err(Problem::new(
            Code::BrowserRequest,
            "events are published by backends: a request that a web page makes (Origin, Sec-Fetch-Site) is refused; publish from your server",
        ));
    }
    Ok(())
}

/// What is said of a method that does not publish. A web page asks with OPTIONS first (CORS), and is to hear that
/// it is the page that is at fault.
pub(super) fn wrong_method(head: &Parts) -> Problem {
    let is_preflight =
        head.method == Method::OPTIONS && head.headers.contains_key(&ACCESS_CONTROL_REQUEST_METHOD);
    match refuse_browsers(&head.headers) {
        Err(problem) if is_preflight => problem,
        _ => Problem::new(Code::MethodNotAllowed, "events are published with POST"),
    }
}

/// Any other type could be sent by a web page without asking first.
pub(super) fn require_json(headers: &HeaderMap, wanted: &[&str]) -> Result<(), Problem> {
    let kind = content_type(headers);
    if wanted.iter().any(|wanted| kind.eq_ignore_ascii_case(wanted)) {
        return require_plain(headers);
    }
    let got = if kind.is_empty() { "none".to_owned() } else { format!("`{kind}`") };
    Err(Problem::new(
        Code::UnsupportedMediaType,
        format!("send the header `content-type: {}` (got {got})", wanted.join("` or `")),
    ))
}

/// Bodies are small, and one that unpacks to a thousand times its size is an old trick.
fn require_plain(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|encoding| *encoding != "identity") else {
        return Ok(());
    };
    let encoding = String::from_utf8_lossy(encoding.as_bytes());
    Err(Problem::new(
        Code::UnsupportedMediaType,
        format!(
            "send the body as it is, without `content-encoding: {encoding}`: compressed bodies are not taken"
        ),
    ))
}

/// The media type of a request's body, without parameters.
pub(super) fn content_type(headers: &HeaderMap) -> &str {
    let kind = headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim()
}

/// Holds a target against a key that is limited to rooms.
pub(super) fn check_target(
    publisher: &Publisher,
    target: &Target,
    rooms: Option<&str>,
) -> Result<(), Problem> {
    let forbid = |code, detail: String| Err(Problem::new(code, detail));
    if target.everyone {
        return forbid(
            Code::BroadcastForbidden,
            "a key that is limited to rooms may not broadcast".to_owned(),
        );
    }
    if !target.users.is_empty() {
        return forbid(
            Code::UsersForbidden,
            "a key that is limited to rooms may not name users or sockets".to_owned(),
        );
    }
    let is_list = rooms.is_some_and(|rooms| rooms.starts_with('['));
    let forbidden = target.rooms.iter().enumerate().filter(|(_, room)| !publisher.may_reach(room));
    let errors: Vec<FieldError> = forbidden
        .map(|(index, room)| FieldError {
            pointer: if is_list { format!("/rooms/{index}") } else { "/rooms".to_owned() },
            detail: format!("this key may not publish to the room `{room}`; its `rooms` in [[publish.keys]] say where it may"),
            code: Code::RoomForbidden,
        })
        .collect();
    if errors.is_empty() { Ok(()) } else { Err(Problem::of_fields(errors)) }
}
