//! Strategy `introspection`: a token that the backend judges.
//!
//! Invariants
//! * However many sockets show one token at a time, the backend is asked once.
//! * Whatever is not a clear yes is a no.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use http::StatusCode;
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::claims::ClaimNames;
use super::refusal::{Refusal, RefusalCode};
use super::{Check, Identity, Verdict, unix_now};
use crate::config::{self, Address, IntrospectionFormat, Secret};
use crate::outbound::{Answer, NoAnswer, Outbound};
use crate::recent::{Answers, Flight};

/// Verdicts that are remembered.
const VERDICTS_MAX: usize = 20_000;

/// Questions that are asked at the same time; more wait for their turn, within their time limit.
const ASKING_MAX: usize = 128;

type Hash = [u8; digest::SHA256_OUTPUT_LEN];

/// The backend's word on tokens.
pub(super) struct Introspection {
    url: Address,
    form: Form,
    time_max: Duration,
    ttl: Duration,
    names: ClaimNames,
    outbound: Outbound,
    turns: Semaphore,
    /// By the token's hash: what is remembered must not be worth stealing.
    verdicts: Answers<Hash, Verdict>,
}

enum Form {
    Json,
    Rfc7662 { id: String, secret: Secret },
}

impl Introspection {
    pub(super) fn new(auth: &config::Auth, names: ClaimNames, outbound: &Outbound) -> Self {
        let form = match (auth.introspection_format, &auth.introspection_client_secret) {
            (IntrospectionFormat::Rfc7662, Some(secret)) => {
                let id = auth.introspection_client_id.clone().unwrap_or_default();
                Form::Rfc7662 { id, secret: secret.clone() }
            }
            _ => Form::Json,
        };
        Self {
            url: auth.introspection_url.clone().unwrap_or_else(|| Address::from("")),
            form,
            time_max: Duration::from_millis(auth.introspection_timeout_ms),
            ttl: Duration::from_secs(auth.cache_ttl_s),
            names,
            outbound: outbound.clone(),
            turns: Semaphore::new(ASKING_MAX),
            verdicts: Answers::new(VERDICTS_MAX),
        }
    }

    /// Asks the backend, unless it was asked a moment ago.
    pub(super) fn check(self: &Arc<Self>, token: &str) -> Check {
        let hash = hash(token);
        let flight = self.verdicts.question(&hash, self.time_max);
        match flight.get() {
            Some(verdict) if still_counts(verdict) => return Check::Done(verdict.clone()),
            Some(_) => {
                let reason = "the token has expired since it was judged";
                return Check::Done(Err(Refusal::new(RefusalCode::TokenExpired, reason)));
            }
            None => {}
        }
        let (introspection, token) = (Arc::clone(self), token.to_owned());
        Check::Pending(Box::pin(async move {
            let decide = async {
                let verdict = introspection.judge(&token).await;
                introspection.remember(hash, &flight, &verdict);
                verdict
            };
            flight.get_or_init(|| decide).await.clone()
        }))
    }

    /// Keeps a verdict for as long as it counts; what is no verdict is asked again the next time.
    fn remember(&self, hash: Hash, flight: &Flight<Verdict>, verdict: &Verdict) {
        let is_verdict = match verdict {
            Ok(_) => true,
            Err(refusal) => !matches!(
                refusal.code(),
                RefusalCode::IntrospectionUnavailable | RefusalCode::IntrospectionTimeout
            ),
        };
        self.verdicts.keep(hash, flight, if is_verdict { self.ttl } else { Duration::ZERO });
    }

    async fn judge(&self, token: &str) -> Verdict {
        let asking = async {
            let _turn = self.turns.acquire().await;
            Outbound::ask(self.question(token), self.time_max).await
        };
        // Waiting for a turn counts too: the time limit is the client's.
        let answer = tokio::time::timeout(self.time_max, asking);
        let answer = answer.await.unwrap_or(Err(NoAnswer::TimedOut(self.time_max)));
        let answer = answer.map_err(|error| {
            let code = match error {
                NoAnswer::TimedOut(_) => RefusalCode::IntrospectionTimeout,
                NoAnswer::Unreachable(_) | NoAnswer::TooLarge => RefusalCode::IntrospectionUnavailable,
            };
            tracing::warn!(reason = %error, "the backend of auth.introspection_url did not judge a token");
            Refusal::new(code, "the token cannot be judged at this moment; try again in a moment")
        })?;
        let claims = verdict_of(&answer)?;
        self.names.identity(&claims, unix_now()).map(Arc::new)
    }

    fn question(&self, token: &str) -> reqwest::RequestBuilder {
        let request = self.outbound.post(&self.url).header("accept", "application/json");
        match &self.form {
            Form::Json => {
                let body = serde_json::json!({ "token": token }).to_string();
                request.header("content-type", "application/json").body(body)
            }
            Form::Rfc7662 { id, secret } => {
                // RFC 6749, section 2.3.1: both are form-encoded before they become a password.
                let (id, secret) = (form_encoded(id), form_encoded(secret.expose()));
                let body = format!("token={}&token_type_hint=access_token", form_encoded(token));
                request
                    .basic_auth(id, Some(secret))
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(body)
            }
        }
    }
}

/// What an answer says: the claims of a token that counts, or why it does not.
fn verdict_of(answer: &Answer) -> Result<Map<String, Value>, Refusal> {
    let inactive = |reason: &'static str| Refusal::new(RefusalCode::TokenInactive, reason);
    let unclear = |what: String| {
        tracing::warn!(reason = what, "the backend of auth.introspection_url did not judge a token");
        Refusal::new(RefusalCode::IntrospectionUnavailable, "the token cannot be judged at this moment")
    };
    match answer.status {
        status if status.is_success() => {}
        // These are about the gateway's asking, not about the token.
        status @ (StatusCode::REQUEST_TIMEOUT
        | StatusCode::TOO_MANY_REQUESTS
        | StatusCode::METHOD_NOT_ALLOWED) => {
            return Err(unclear(format!("it answers {status}")));
        }
        status if status.is_client_error() => {
            return Err(inactive("the backend does not accept the token"));
        }
        status => return Err(unclear(format!("it answers {status}"))),
    }
    let Ok(Value::Object(claims)) = serde_json::from_slice(&answer.body) else {
        return Err(unclear("its answer is no JSON object".to_owned()));
    };
    match claims.get("active") {
        None | Some(Value::Bool(true)) => Ok(claims),
        Some(_) => Err(inactive("the token is not active")),
    }
}

fn still_counts(verdict: &Verdict) -> bool {
    let end = verdict.as_deref().ok().and_then(Identity::valid_until);
    end.is_none_or(|end| unix_now() < end)
}

fn hash(token: &str) -> Hash {
    let mut hash = Hash::default();
    hash.copy_from_slice(digest::digest(&digest::SHA256, token.as_bytes()).as_ref());
    hash
}

fn form_encoded(text: &str) -> String {
    use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
    const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');
    utf8_percent_encode(text, PLAIN).to_string()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(status: u16, body: &str, expected: Expect) {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            body: Bytes::copy_from_slice(body.as_bytes()),
        };
        let shown = match verdict_of(&answer) {
            Ok(claims) => Value::Object(claims).to_string(),
            Err(refusal) => refusal.code().as_str().to_owned(),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn only_a_clear_yes_is_one() {
        check(200, r#"{"active":true,"sub":"u"}"#, expect![[r#"{"active":true,"sub":"u"}"#]]);
        check(201, r#"{"sub":"u"}"#, expect![[r#"{"sub":"u"}"#]]);
        for body in [r#"{"active":false}"#, r#"{"active":"true"}"#, r#"{"active":null}"#, r#"{"active":1}"#] {
            check(200, body, expect!["token_inactive"]);
        }
        for body in ["", "true", "[]", "null", "<html>", r#"{"active":true"#] {
            check(200, body, expect!["introspection_unavailable"]);
        }
        for status in [400, 401, 403, 404, 410, 422] {
            check(status, r#"{"active":true}"#, expect!["token_inactive"]);
        }
        for status in [301, 302, 307, 308, 405, 408, 429, 500, 502, 503] {
            check(status, r#"{"active":true}"#, expect!["introspection_unavailable"]);
        }
    }

    #[test]
    fn forms_are_encoded() {
        assert_eq!(form_encoded("a b+c/ü%&=*-._"), "a%20b%2Bc%2F%C3%BC%25%26%3D*-._");
    }
}
