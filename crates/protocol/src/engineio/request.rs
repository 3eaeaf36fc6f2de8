//! What a request to the Engine.IO endpoint asks for, and the refusals of the protocol.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// How packets travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// HTTP long polling.
    Polling,
    /// WebSocket.
    Websocket,
}

/// Why a request is refused. Codes, messages and their order of precedence are the protocol's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// `transport` is missing, unknown or switched off.
    #[error("Transport unknown")]
    UnknownTransport,
    /// No session has this `sid` (any more).
    #[error("Session ID unknown")]
    UnknownSid,
    /// A session can only be opened by GET.
    #[error("Bad handshake method")]
    BadHandshakeMethod,
    /// The request does not fit the session's state.
    #[error("Bad request")]
    BadRequest,
    /// The gateway does not want this client (origin, limits).
    #[error("Forbidden")]
    Forbidden,
    /// Not Engine.IO v4; Socket.IO 2 clients land here.
    #[error("Unsupported protocol version")]
    UnsupportedVersion,
}

impl Refusal {
    /// The number clients know the refusal by.
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The HTTP status on polling.
    pub const fn status(self) -> u16 {
        match self {
            Self::Forbidden => 403,
            _ => 400,
        }
    }

    /// The JSON body on polling; `message` replaces the standard text.
    pub fn body(self, message: Option<&str>) -> String {
        let standard = self.to_string();
        let message = serde_json::Value::from(message.unwrap_or(&standard));
        format!(r#"{{"code":{},"message":{message}}}"#, self.code())
    }
}

/// The query of a request, read and checked as far as that is possible without the sessions.
#[derive(Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// The transport the request is for.
    pub transport: Transport,
    /// The session it belongs to; none opens a new one.
    pub sid: Option<Cow<'a, str>>,
    /// Whether `EIO` is 4. Matters when a session is opened, and must agree later.
    pub version_4: bool,
    /// `b64`: the client cannot take binary frames and gets base64 text instead.
    pub text_only: bool,
}

impl<'a> Request<'a> {
    /// Reads a raw query string. Of a key given twice the last value counts, an empty `sid` is none.
    pub fn parse(query: &'a str) -> Result<Self, Refusal> {
        let (mut transport, mut sid, mut version_4, mut text_only) = (None, None, false, false);
        for pair in query.split('&') {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode(value);
            match percent_decode(key).as_ref() {
                "transport" => transport = Some(value),
                "sid" => sid = Some(value).filter(|sid| !sid.is_empty()),
                "EIO" => version_4 = value == "4",
                "b64" => text_only = !value.is_empty() && value != "0",
                _ => {}
            }
        }
        let transport = match transport.as_deref() {
            Some("polling") => Transport::Polling,
            Some("websocket") => Transport::Websocket,
            _ => return Err(Refusal::UnknownTransport),
        };
        Ok(Self { transport, sid, version_4, text_only })
    }
}

fn percent_decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_two_values_counts_and_an_empty_sid_is_none() {
        let request =
            Request::parse("EIO=3&transport=websocket&sid=a&EIO=4&transport=polling&sid=&t=x").unwrap();
        assert_eq!(
            request,
            Request { transport: Transport::Polling, sid: None, version_4: true, text_only: false }
        );
    }

    #[test]
    fn keys_and_values_may_be_percent_encoded() {
        let request = Request::parse("%45IO=%34&transport=%70olling&sid=a%2Db&b64=1").unwrap();
        let sid = Some("a-b".into());
        assert_eq!(request, Request { transport: Transport::Polling, sid, version_4: true, text_only: true });
    }

    #[test]
    fn unknown_transports_come_first() {
        for query in ["", "EIO=4", "transport=webtransport&EIO=4", "transport=__proto__", "transport=abc"] {
            assert_eq!(Request::parse(query), Err(Refusal::UnknownTransport), "{query}");
        }
    }

    #[test]
    fn only_4_is_version_4() {
        for query in [
            "transport=polling",
            "transport=polling&EIO=5",
            "transport=polling&EIO=abc",
            "transport=polling&EIO=3",
        ] {
            assert!(!Request::parse(query).unwrap().version_4, "{query}");
        }
    }

    #[test]
    fn refusals_are_written_as_the_protocol_says() {
        assert_eq!(Refusal::UnknownTransport.body(None), r#"{"code":0,"message":"Transport unknown"}"#);
        assert_eq!(Refusal::UnknownSid.body(None), r#"{"code":1,"message":"Session ID unknown"}"#);
        assert_eq!(Refusal::BadHandshakeMethod.body(None), r#"{"code":2,"message":"Bad handshake method"}"#);
        assert_eq!(Refusal::BadRequest.body(None), r#"{"code":3,"message":"Bad request"}"#);
        assert_eq!(Refusal::Forbidden.body(Some("no \"x\"")), r#"{"code":4,"message":"no \"x\""}"#);
        assert_eq!(
            Refusal::UnsupportedVersion.body(None),
            r#"{"code":5,"message":"Unsupported protocol version"}"#
        );
        assert_eq!((Refusal::Forbidden.status(), Refusal::UnknownSid.status()), (403, 400));
    }
}
