//! Errors as publishers get them: problem details (RFC 9457) with a stable code.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde::Serialize;

use super::ReplyBody;
use crate::rules::NameRefused;

/// Where each code is explained.
const CATALOGUE: &str = "https://github.com/medyll/idae-socket/blob/main/docs/errors.md#";

macro_rules! codes {
    ($($(#[$doc:meta])* $Variant:ident = $text:literal, $title:literal;)*) => {
        /// What is wrong, in a form that programs can rely on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Code { $($(#[$doc])* $Variant),* }

        impl Code {
            /// Every code, for the tests that hold the documents to the code.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$Variant),*];

            pub(crate) const fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $text),* }
            }

            const fn title(self) -> &'static str {
                match self { $(Self::$Variant => $title),* }
            }
        }
    };
}

codes! {
    MalformedJson = "malformed_json", "The body is not valid JSON";
    EmptyBody = "empty_body", "The body is empty";
    MissingPayload = "missing_payload", "The payload is missing";
    MissingEvent = "missing_event", "The event is missing";
    NoTarget = "no_target", "The event has no target";
    UnknownField = "unknown_field", "The body has an unknown field";
    DuplicateField = "duplicate_field", "The body has a field twice";
    InvalidType = "invalid_type", "A value has the wrong type";
    InvalidValue = "invalid_value", "A value is not allowed";
    UnknownNamespace = "unknown_namespace", "There is no such namespace";
    EventNotFound = "event_not_found", "There is no such event";
    MethodNotAllowed = "method_not_allowed", "The method is not allowed";
    UnsupportedMediaType = "unsupported_media_type", "The content type is not supported";
    PayloadTooLarge = "payload_too_large", "The body is too large";
    BodyTimeout = "body_timeout", "The body took too long";
    Unauthorized = "unauthorized", "A publish key is needed";
    KeyInvalid = "key_invalid", "The publish key is not known";
    NotLoopback = "not_loopback", "Only this machine may publish";
    BrowserRequest = "browser_request", "Web pages may not publish";
    EventForbidden = "event_forbidden", "The key may not publish this event";
    RoomForbidden = "room_forbidden", "The key may not publish to this room";
    BroadcastForbidden = "broadcast_forbidden", "The key may not broadcast";
    UsersForbidden = "users_forbidden", "The key may not name users";
    IdInFlight = "id_in_flight", "The event is being published";
    IdConflict = "id_conflict", "Two different ids were given";
    IdempotencyKeyInBatch = "idempotency_key_in_batch", "A batch has no single id";
    TooManyItems = "too_many_items", "The batch has too many events";
    Draining = "draining", "The gateway is stopping";
}

/// A refusal.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    header: Option<(HeaderName, HeaderValue)>,
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
    pub(crate) fn new(status: StatusCode, code: Code, detail: impl Into<String>) -> Self {
        Self { status, code, detail: detail.into(), errors: Vec::new(), header: None }
    }

    pub(crate) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, Code::MalformedJson, detail)
    }

    /// The body is JSON, but not what it should be. There is at least one error.
    pub(crate) fn unprocessable(errors: Vec<FieldError>) -> Self {
        Self::of_fields(StatusCode::UNPROCESSABLE_ENTITY, errors)
    }

    pub(crate) fn of_fields(status: StatusCode, errors: Vec<FieldError>) -> Self {
        let (code, detail) = match errors.first() {
            Some(first) => (first.code, first.detail.clone()),
            None => (Code::InvalidValue, String::new()),
        };
        Self { errors, ..Self::new(status, code, detail) }
    }

    pub(crate) fn event_not_found(refused: NameRefused) -> Self {
        Self::new(StatusCode::NOT_FOUND, Code::EventNotFound, refused.to_string())
    }

    pub(crate) fn event_forbidden(event: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            Code::EventForbidden,
            format!("this key may not publish `{event}`; its `events` in [[publish.keys]] say what it may"),
        )
    }

    pub(crate) fn payload_too_large(bytes_max: usize) -> Self {
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            Code::PayloadTooLarge,
            format!(
                "the body may have {bytes_max} bytes (settings publish.body_bytes_max and publish.batch_bytes_max)"
            ),
        )
    }

    pub(crate) fn unauthorized(code: Code, detail: &str) -> Self {
        let challenge = match code {
            Code::KeyInvalid => r#"Bearer realm="idae-socket", error="invalid_token""#,
            _ => r#"Bearer realm="idae-socket""#,
        };
        Self::new(StatusCode::UNAUTHORIZED, code, detail)
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
    }

    pub(crate) fn draining() -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::Draining,
            "the gateway is stopping; publish again in a moment",
        )
        .with_header(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    pub(crate) fn id_in_flight() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            Code::IdInFlight,
            "an event with this id is being published at this moment; ask again for its answer",
        )
    }

    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    pub(crate) const fn code(&self) -> &'static str {
        self.code.as_str()
    }

    pub(crate) const fn status(&self) -> u16 {
        self.status.as_u16()
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
        }
        let body = Body {
            r#type: format!("{CATALOGUE}{}", self.code()),
            title: self.code.title(),
            status: self.status(),
            detail: &self.detail,
            code: self.code(),
            errors: &self.errors,
        };
        // Strings and numbers alone: this cannot fail.
        serde_json::to_string(&body).unwrap_or_default()
    }

    pub(crate) fn into_response(self) -> Response<ReplyBody> {
        let mut response = Response::new(Full::from(Bytes::from(self.to_json())).boxed_unsync());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        response
    }
}
