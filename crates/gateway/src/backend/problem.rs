//! Errors as publishers get them: problem details (RFC 9457) with a stable code.

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use super::{ReplyBody, whole};
use crate::auth::Publisher;
use crate::rules::NameRefused;

/// Where each code is explained.
const CATALOGUE: &str = "https://github.com/medyll/idae-socket/blob/main/docs/errors.md#";

macro_rules! codes {
    ($($Variant:ident = $status:literal $text:literal, $title:literal;)*) => {
        /// What is wrong, in a form that programs can rely on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code { $($Variant),* }

        impl Code {
            /// Every code, for the tests that hold the documents to the code.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$Variant),*];

            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $text),* }
            }

            /// The HTTP status that goes with it, always the same.
            const fn status(self) -> u16 {
                match self { $(Self::$Variant => $status),* }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$Variant => $title),* }
            }
        }
    };
}

codes! {
    MalformedJson = 400 "malformed_json", "The body is not valid JSON";
    EmptyBody = 400 "empty_body", "The body is empty";
    MissingPayload = 422 "missing_payload", "The payload is missing";
    MissingEvent = 422 "missing_event", "The event is missing";
    NoTarget = 422 "no_target", "The event has no target";
    UnknownField = 422 "unknown_field", "There is an unknown field";
    DuplicateField = 422 "duplicate_field", "The body has a field twice";
    InvalidType = 422 "invalid_type", "A value has the wrong type";
    InvalidValue = 422 "invalid_value", "A value is not allowed";
    UnknownNamespace = 422 "unknown_namespace", "There is no such namespace";
    EventNotFound = 404 "event_not_found", "There is no such event";
    MethodNotAllowed = 405 "method_not_allowed", "The method is not allowed";
    UnsupportedMediaType = 415 "unsupported_media_type", "The content type is not supported";
    PayloadTooLarge = 413 "payload_too_large", "The body is too large";
    BodyTimeout = 408 "body_timeout", "The body took too long";
    Unauthorized = 401 "unauthorized", "A publish key is needed";
    KeyInvalid = 401 "key_invalid", "The publish key is not known";
    NotLoopback = 403 "not_loopback", "Only this machine may publish";
    BrowserRequest = 403 "browser_request", "Web pages may not publish";
    EventForbidden = 403 "event_forbidden", "The key may not publish this event";
    RoomForbidden = 403 "room_forbidden", "The key may not publish to this room";
    BroadcastForbidden = 403 "broadcast_forbidden", "The key may not broadcast";
    UsersForbidden = 403 "users_forbidden", "The key may not name users";
    IdInFlight = 409 "id_in_flight", "The event is being published";
    IdConflict = 422 "id_conflict", "Two different ids were given";
    IdempotencyKeyInBatch = 422 "idempotency_key_in_batch", "A batch has no single id";
    TooManyItems = 413 "too_many_items", "The batch has too many events";
    TooManyConnections = 503 "too_many_connections", "The gateway has too many connections";
    TooManyConnectionsPerAddress = 429 "too_many_connections_per_address", "This address has too many connections";
    Draining = 503 "draining", "The gateway is stopping";
}

/// A refusal.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    trace_id: Option<String>,
    /// Who is refused, once that is known.
    publisher: Option<Publisher>,
}

/// What is wrong with one part of the body.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct FieldError {
    /// JSON Pointer (RFC 6901).
    pub(crate) pointer: String,
    pub(crate) detail: String,
    #[serde(skip)]
    pub(crate) code: Code,
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), errors: Vec::new(), trace_id: None, publisher: None }
    }

    /// The first of several errors gives the problem its code.
    pub(crate) fn of_fields(errors: Vec<FieldError>) -> Self {
        let (code, detail) = match errors.first() {
            Some(first) => (first.code, first.detail.clone()),
            None => (Code::InvalidValue, String::new()),
        };
        Self { code, detail, errors, trace_id: None, publisher: None }
    }

    pub(crate) fn event_not_found(refused: &NameRefused) -> Self {
        Self::new(Code::EventNotFound, refused.to_string())
    }

    pub(crate) fn event_forbidden(event: &str) -> Self {
        let detail =
            format!("this key may not publish `{event}`; its `events` in [[publish.keys]] say what it may");
        Self::new(Code::EventForbidden, detail)
    }

    /// The gateway stops.
    pub(super) fn draining() -> Self {
        Self::new(Code::Draining, "the gateway is stopping; publish again in a moment")
    }

    pub(crate) fn payload_too_large(bytes_max: usize) -> Self {
        let detail = format!(
            "the body may have {bytes_max} bytes (settings publish.body_bytes_max and publish.batch_bytes_max)"
        );
        Self::new(Code::PayloadTooLarge, detail)
    }

    /// Names the trace in which it happened.
    pub(crate) fn with_trace(self, trace_id: Option<String>) -> Self {
        Self { trace_id, ..self }
    }

    /// Names who is refused, for the log.
    pub(super) fn of(self, publisher: &Publisher) -> Self {
        Self { publisher: Some(publisher.clone()), ..self }
    }

    /// The name of the key of whoever is refused.
    pub(super) fn key(&self) -> Option<&str> {
        self.publisher.as_ref()?.name()
    }

    pub(crate) const fn code(&self) -> &'static str {
        self.code.as_str()
    }

    pub(crate) const fn status(&self) -> u16 {
        self.code.status()
    }

    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    pub(crate) fn to_json(&self) -> String {
        #[derive(Serialize)]
        struct Body<'a> {
            r#type: String,
            title: &'a str,
            status: u16,
            detail: &'a str,
            code: &'a str,
            #[serde(skip_serializing_if = "<[_]>::is_empty")]
            errors: &'a [FieldError],
            #[serde(skip_serializing_if = "Option::is_none")]
            trace_id: Option<&'a str>,
        }
        let body = Body {
            r#type: format!("{CATALOGUE}{}", self.code()),
            title: self.code.title(),
            status: self.status(),
            detail: &self.detail,
            code: self.code(),
            errors: &self.errors,
            trace_id: self.trace_id.as_deref(),
        };
        // Strings and numbers alone: this cannot fail.
        serde_json::to_string(&body).unwrap_or_default()
    }

    pub(crate) fn into_response(self) -> Response<ReplyBody> {
        let mut response = Response::new(whole(self.to_json()));
        *response.status_mut() = StatusCode::from_u16(self.status()).unwrap_or(StatusCode::BAD_REQUEST);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        let more = match self.code {
            Code::Unauthorized => Some((WWW_AUTHENTICATE, r#"Bearer realm="idae-socket""#)),
            Code::KeyInvalid => {
                Some((WWW_AUTHENTICATE, r#"Bearer realm="idae-socket", error="invalid_token""#))
            }
            Code::MethodNotAllowed => Some((ALLOW, "POST")),
            Code::Draining | Code::TooManyConnections | Code::TooManyConnectionsPerAddress => {
                Some((RETRY_AFTER, "1"))
            }
            _ => None,
        };
        if let Some((name, value)) = more {
            headers.insert(name, HeaderValue::from_static(value));
        }
        response
    }
}
