//! What the gateway asks others over HTTP: key sets, verdicts on tokens, verdicts on rooms, forwarded events.
//!
//! Invariants
//! * Redirects are not followed: a token or an event is for the address that was configured.
//! * Every question has a time limit, and every answer a limit in bytes.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use reqwest::{Client, RequestBuilder, redirect};

use crate::config::Address;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// The gateway as a client. Clones share its connections.
#[derive(Clone)]
pub(crate) struct Outbound(Client);

/// An answer, whatever its status.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

/// Why there is no answer. The texts name neither what was sent nor the address, which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error("no answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    #[error("it cannot be reached ({0})")]
    Unreachable(String),
    #[error("its answer is larger than {ANSWER_BYTES_MAX} bytes")]
    TooLarge,
}

impl Outbound {
    /// # Errors
    /// The system's certificates cannot be used.
    pub(crate) fn new() -> Result<Self, String> {
        Client::builder()
            .redirect(redirect::Policy::none())
            // The environment is not ours to read.
            .no_proxy()
            .user_agent(concat!("idae-socket/", env!("CARGO_PKG_VERSION")))
            .build()
            .map(Self)
            .map_err(|error| deepest(&error))
    }

    pub(crate) fn get(&self, address: &Address) -> RequestBuilder {
        self.0.get(address.expose())
    }

    pub(crate) fn post(&self, address: &Address) -> RequestBuilder {
        self.0.post(address.expose())
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn ask(request: RequestBuilder, time_max: Duration) -> Result<Answer, NoAnswer> {
        let asking = async {
            let mut response =
                request.send().await.map_err(|error| NoAnswer::Unreachable(deepest(&error)))?;
            let status = response.status();
            let mut body = BytesMut::new();
            while let Some(chunk) =
                response.chunk().await.map_err(|error| NoAnswer::Unreachable(deepest(&error)))?
            {
                if body.len() + chunk.len() > ANSWER_BYTES_MAX {
                    return Err(NoAnswer::TooLarge);
                }
                body.extend_from_slice(&chunk);
            }
            Ok(Answer { status, body: body.freeze() })
        };
        tokio::time::timeout(time_max, asking).await.unwrap_or(Err(NoAnswer::TimedOut(time_max)))
    }
}

/// The cause at the bottom: "connection refused" says more than "error sending request".
fn deepest(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    // The error at the top would tell the address.
    if std::ptr::addr_eq(cause, error) { "the request failed".to_owned() } else { cause.to_string() }
}
