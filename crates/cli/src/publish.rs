//! `idae-socket publish`: one POST.

use std::io::{ErrorKind, Read, Write};
use std::process::ExitCode;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use reqwest::{Client, Response, Url, redirect};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::terminal::{
    DIM, GREEN, Paint, REFUSED, UNREACHABLE, USAGE, complain, note, printable, unreachable,
};

const TIMEOUT: Duration = Duration::from_secs(30);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// What may stand in an event's name stays readable in the request.
const EVENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b':').remove(b'.').remove(b'_').remove(b'-').remove(b'/');

/// Publishes one event.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  idae-socket publish db-change --room admin '{\"entity\":\"users\",\"id\":123}'
  echo '{\"text\":\"hi\"}' | idae-socket publish chat:message --user 42 -

Exit codes: 0 published, 1 refused by the gateway, 2 wrong usage, 3 gateway not reachable")]
pub(crate) struct Publish {
    /// The event's name
    event: String,
    /// What the clients get, as JSON; `-` reads it from standard input
    #[arg(value_name = "JSON")]
    payload: String,
    /// Everybody in this room or with this role; may be given several times
    #[arg(long, value_name = "ROOM")]
    room: Vec<String>,
    /// Every socket of this user; may be given several times
    #[arg(long, value_name = "USER")]
    user: Vec<String>,
    /// Everybody in the namespace
    #[arg(long)]
    broadcast: bool,
    /// The namespace, `/` if not given
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Your id of the event: a repeat is emitted once
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The gateway
    #[arg(long, value_name = "URL", env = "IDAE_SOCKET_URL", default_value = "http://127.0.0.1:4000")]
    url: String,
    /// The publish key
    #[arg(long, value_name = "KEY", env = "IDAE_SOCKET_PUBLISH_KEY", hide_env_values = true)]
    key: Option<String>,
    /// Print the gateway's answer as it came
    #[arg(long)]
    json: bool,
}

/// The body of a publish request.
#[derive(Serialize)]
struct Body<'a> {
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    rooms: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    users: &'a [String],
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    broadcast: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
}

#[derive(Deserialize)]
struct Published {
    id: Option<String>,
    sockets: Option<u64>,
}

/// A refusal as RFC 9457 writes it.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Problem {
    title: Option<String>,
    detail: Option<String>,
    code: Option<String>,
    errors: Vec<Place>,
}

#[derive(Deserialize)]
struct Place {
    pointer: String,
    detail: String,
}

impl Publish {
    /// Publishes and says what became of it.
    pub(crate) async fn run(self) -> ExitCode {
        let body = match self.body() {
            Ok(body) => body,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof && self.payload == "-" => {
                return complain(
                    USAGE,
                    error,
                    Some("`-` reads the payload, which is JSON, from standard input"),
                );
            }
            Err(error) => {
                let advice = "text is written with quotes of its own: '\"like this\"'";
                return complain(USAGE, format_args!("the payload is not JSON: {error}"), Some(advice));
            }
        };
        let url = match target(&self.url, &self.event) {
            Ok(url) => url,
            Err(error) => return complain(USAGE, error, None),
        };
        match self.post(url, body).await {
            Ok(response) => self.report(response).await,
            Err(error) if error.is_builder() => complain(USAGE, deepest(&error), None),
            Err(error) => unreachable(&self.url, &deepest(&error)),
        }
    }

    fn names_nobody(&self) -> bool {
        self.room.is_empty() && self.user.is_empty() && !self.broadcast
    }

    fn body(&self) -> Result<String, std::io::Error> {
        let mut payload = self.payload.clone();
        if payload == "-" {
            payload.clear();
            std::io::stdin().read_to_string(&mut payload)?;
            if payload.trim().is_empty() {
                return Err(std::io::Error::new(ErrorKind::UnexpectedEof, "standard input was empty"));
            }
        }
        // The text goes out as it came in, numbers beyond any type included.
        let payload: &RawValue = serde_json::from_str(&payload)?;
        let body = Body {
            payload,
            rooms: &self.room,
            users: &self.user,
            broadcast: self.broadcast,
            namespace: self.namespace.as_deref(),
            id: self.id.as_deref(),
        };
        Ok(serde_json::to_string(&body)?)
    }

    async fn post(&self, url: Url, body: String) -> Result<Response, reqwest::Error> {
        let mut client = Client::builder()
            .timeout(TIMEOUT)
            .connect_timeout(CONNECT_TIMEOUT)
            // A key is for the gateway that was named, not for where that points.
            .redirect(redirect::Policy::none())
            .user_agent(concat!("idae-socket/", env!("CARGO_PKG_VERSION")));
        if is_loopback(&url) {
            client = client.no_proxy();
        }
        let mut request = client.build()?.post(url).header(CONTENT_TYPE, "application/json").body(body);
        if let Some(key) = &self.key {
            if let Ok(mut value) = HeaderValue::try_from(format!("Bearer {key}")) {
                value.set_sensitive(true);
                request = request.header(AUTHORIZATION, value);
            } else {
                note("warning: the key has characters that no header can carry, so it is not sent");
            }
        }
        request.send().await
    }

    async fn report(&self, response: Response) -> ExitCode {
        let status = response.status();
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let text = match response.text().await {
            Ok(text) => text,
            Err(error) => {
                return complain(
                    UNREACHABLE,
                    format_args!("the answer broke off: {}", deepest(&error)),
                    None,
                );
            }
        };
        if self.json && serde_json::from_str::<&RawValue>(&text).is_ok() {
            let _ = writeln!(std::io::stdout(), "{}", text.trim());
            return ExitCode::from(if status.is_success() { 0 } else { REFUSED });
        }
        if status.is_success() {
            return self.published(&text);
        }
        let problem: Problem = serde_json::from_str(&text).unwrap_or_default();
        let advice = self.advice(status.as_u16(), &problem, retry_after.as_deref());
        complain(REFUSED, problem.describe(status), advice.as_deref())
    }

    fn published(&self, text: &str) -> ExitCode {
        let Ok(Published { id, sockets: Some(sockets) }) = serde_json::from_str(text) else {
            let error = format!("{} answered, but not as an idae-socket gateway does", self.url);
            return complain(REFUSED, error, Some("is this the gateway's address, and not the backend's?"));
        };
        let mut stdout = std::io::stdout();
        let paint = Paint::of(&stdout);
        let plural = if sockets == 1 { "socket" } else { "sockets" };
        let id = id.map(|id| paint.paint(DIM, format_args!(" (id {})", printable(&id)))).unwrap_or_default();
        let _ = writeln!(stdout, "{} to {sockets} {plural}{id}", paint.paint(GREEN, "published"));
        if sockets == 0 {
            note(self.who_would_match());
        }
        ExitCode::SUCCESS
    }

    const fn who_would_match(&self) -> &'static str {
        if self.broadcast {
            "nobody is connected; `idae-socket listen` would be"
        } else if self.room.is_empty() {
            "nobody is connected who matches; a socket belongs to the user whom its token names"
        } else {
            "nobody is connected who matches; `idae-socket listen --room …` would be"
        }
    }

    /// What to do about a refusal.
    fn advice(&self, status: u16, problem: &Problem, retry_after: Option<&str>) -> Option<String> {
        let text = match status {
            // A proxy in front refuses in words of its own, too, but not with these.
            400 | 404 | 405 | 500 | 501 if problem.code.is_none() => {
                "this does not look like an idae-socket gateway; is it the backend's address?"
            }
            401 if self.key.is_some() => {
                "the key given with --key or IDAE_SOCKET_PUBLISH_KEY is none of the gateway's `publish.keys`"
            }
            401 => "give a publish key with --key or IDAE_SOCKET_PUBLISH_KEY",
            403 => {
                "the key, or the place you publish from, does not allow this; the gateway's `publish.keys` decide"
            }
            404 => "the gateway's `events` say which names may be published",
            409 => "the same id is being published right now; its answer will be yours, too",
            413 => "send less: a reference instead of the thing itself, or raise `publish.body_bytes_max`",
            422 if self.names_nobody() => "name somebody: --room, --user or --broadcast",
            429 | 503 => {
                let when =
                    retry_after.map_or_else(|| "later".to_owned(), |seconds| format!("in {seconds} s"));
                return Some(format!("try again {when}; with --id a repeat is emitted once"));
            }
            300..=399 => "the address points elsewhere; give the gateway's own with --url",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

impl Problem {
    pub(crate) fn describe(&self, status: reqwest::StatusCode) -> String {
        let mut text = printable(
            self.title.as_deref().unwrap_or_else(|| status.canonical_reason().unwrap_or("refused")),
        );
        if let Some(detail) = &self.detail {
            text.push_str(&format!(": {}", printable(detail)));
        }
        let code = self.code.as_deref().map(|code| format!(", {}", printable(code))).unwrap_or_default();
        text.push_str(&format!(" ({}{code})", status.as_u16()));
        // An empty pointer is the body as a whole, of which the detail has spoken, as it has of a single place.
        let is_news =
            |place: &&Place| !place.pointer.is_empty() && Some(&place.detail) != self.detail.as_ref();
        for place in self.errors.iter().filter(is_news) {
            text.push_str(&format!("\n  {} {}", printable(&place.pointer), printable(&place.detail)));
        }
        text
    }
}

/// The address of an event; a prefix of the gateway's address stays in front.
fn target(gateway: &str, event: &str) -> Result<Url, String> {
    let with_scheme = if gateway.contains("://") { gateway.to_owned() } else { format!("http://{gateway}") };
    let url = Url::parse(&with_scheme).map_err(|error| format!("`{gateway}` is no URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("`{gateway}` is no http or https URL"));
    }
    // URL arithmetic would take these for directions.
    if event.is_empty() || event.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(format!("`{event}` is no event name"));
    }
    let event = utf8_percent_encode(event, EVENT);
    let prefix = url.path().trim_end_matches('/').to_owned();
    let mut url = url;
    url.set_path(&format!("{prefix}/{event}"));
    Ok(url)
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

/// The cause at the bottom: "connection refused" says more than "error sending request".
pub(crate) fn deepest(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_become_paths() {
        for (gateway, event, expected) in [
            ("http://127.0.0.1:4000", "db-change", "http://127.0.0.1:4000/db-change"),
            ("localhost:4000", "a:b", "http://localhost:4000/a:b"),
            ("https://h/gateway/", "component/refresh", "https://h/gateway/component/refresh"),
            ("http://h", "a b?c#d%e", "http://h/a%20b%3Fc%23d%25e"),
        ] {
            assert_eq!(target(gateway, event).unwrap().as_str(), expected);
        }
        for (gateway, event) in [("ftp://h", "x"), ("http://", "x"), ("h", ""), ("h", "a/../b"), ("h", "/x")]
        {
            assert!(target(gateway, event).is_err(), "{gateway} {event}");
        }
    }

    #[test]
    fn problems_read_well() {
        let problem: Problem = serde_json::from_str(
            r#"{"title":"Invalid event","detail":"no target","code":"no_target","status":422,
                "errors":[{"pointer":"","detail":"no target"},{"pointer":"/rooms/0","detail":"empty\u001b[2J"}]}"#,
        )
        .unwrap();
        assert_eq!(
            problem.describe(reqwest::StatusCode::UNPROCESSABLE_ENTITY),
            "Invalid event: no target (422, no_target)\n  /rooms/0 empty\u{fffd}[2J"
        );
        assert_eq!(Problem::default().describe(reqwest::StatusCode::FORBIDDEN), "Forbidden (403)");
    }
}
