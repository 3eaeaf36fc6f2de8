//! `idae-socket listen`: a client that prints what it gets.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use idae_socket_client::{Args, Error, Socket, SocketDriver};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::sync::Notify;

use crate::terminal::{
    CYAN, DIM, GREEN, Paint, REFUSED, UNREACHABLE, USAGE, YELLOW, complain, note, printable, unreachable,
};

/// How long the gateway may take to answer a subscription.
const SUBSCRIBE_TIMEOUT: Duration = Duration::from_secs(10);

const IS_GATEWAY: &str = "is this the gateway's address, and not the backend's?";

/// Prints events as they come.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  idae-socket listen --room admin
  idae-socket listen --room public:news --event news:new --json | jq .args
  idae-socket listen --room admin --count 1    # waits for one event, then ends

Exit codes: 0 ended by Ctrl-C or --count, 1 refused by the gateway, 2 wrong usage, 3 gateway not reachable")]
pub(crate) struct Listen {
    /// Subscribe to this room; may be given several times
    #[arg(long, value_name = "ROOM")]
    room: Vec<String>,
    /// Print only events of this name; may be given several times
    #[arg(long, value_name = "EVENT")]
    event: Vec<String>,
    /// The namespace
    #[arg(long, value_name = "NAMESPACE", default_value = "/")]
    namespace: String,
    /// The gateway
    #[arg(long, value_name = "URL", env = "IDAE_SOCKET_URL", default_value = "http://127.0.0.1:4000")]
    url: String,
    /// The token to present
    #[arg(long, value_name = "TOKEN", env = "IDAE_SOCKET_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print one JSON object per line: {"event":…,"args":[…]}
    #[arg(long)]
    json: bool,
    /// End after so many events
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
}

/// What the driver's task tells the command. Telling it twice is telling it once.
#[derive(Default)]
struct News {
    /// The namespace was joined.
    connected: Notify,
    /// Enough events were printed, or nobody reads them any more.
    enough: Notify,
}

#[derive(Serialize)]
struct Line<'a> {
    event: &'a str,
    args: &'a RawValue,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    attachments: Vec<usize>,
}

/// The gateway's answer to `subscribe`.
#[derive(Deserialize)]
struct Subscribed {
    status: String,
    code: Option<String>,
    detail: Option<String>,
}

impl Listen {
    /// Prints until there is a reason to end.
    pub(crate) async fn run(self) -> ExitCode {
        let news = Arc::new(News::default());
        let socket = match self.driver(&news).connect().await {
            Ok(socket) => socket,
            Err(error) => return self.failed(&error),
        };
        let code = self.follow(&socket, &news).await;
        socket.close().await;
        code
    }

    async fn follow(&self, socket: &Socket, news: &News) -> ExitCode {
        let interrupted = tokio::signal::ctrl_c();
        tokio::pin!(interrupted);
        loop {
            tokio::select! {
                // In this order: enough is enough, even if the connection ended right behind it.
                biased;
                () = news.enough.notified() => return ExitCode::SUCCESS,
                _ = &mut interrupted => return ExitCode::SUCCESS,
                error = socket.inactive() => return self.failed(&error),
                () = news.connected.notified() => {}
            }
            tokio::select! {
                biased;
                _ = &mut interrupted => return ExitCode::SUCCESS,
                subscribed = self.subscribe(socket) => if let Err(code) = subscribed {
                    return code;
                },
            }
        }
    }

    fn driver(&self, news: &Arc<News>) -> SocketDriver {
        let mut driver = SocketDriver::new(&self.url)
            .namespace(&self.namespace)
            // What is printed are the event's own arguments, without a place in some history.
            .recovery(false);
        if let Some(token) = &self.token {
            driver = driver.token(token);
        }
        let paint = Paint::of(&std::io::stderr());
        let mut printer = Printer::new(self, Arc::clone(news));
        let news = Arc::clone(news);
        driver
            .on_connect(move |_| news.connected.notify_one())
            .on_disconnect(move |reason| {
                if reason.will_reconnect() {
                    note(format_args!("{} {reason}; connecting again", paint.paint(YELLOW, "disconnected:")));
                }
            })
            .on_connect_error(move |error| {
                if error.is_retryable() {
                    note(format_args!(
                        "{} {}",
                        paint.paint(DIM, "still trying:"),
                        printable(&error.to_string())
                    ));
                }
            })
            .on_any(move |event, args| printer.event(event, args))
    }

    async fn subscribe(&self, socket: &Socket) -> Result<(), ExitCode> {
        let paint = Paint::of(&std::io::stderr());
        if !self.room.is_empty() {
            let rooms = Args::one(&self.room).map_err(|error| complain(USAGE, error, None))?;
            match socket.emit_with_ack("subscribe", &rooms, SUBSCRIBE_TIMEOUT).await {
                Ok(answer) => self.check(&answer)?,
                // The next connection subscribes anew.
                Err(Error::Disconnected(_)) => return Ok(()),
                Err(error) => {
                    let error = format!("the gateway did not answer the subscription: {error}");
                    return Err(complain(REFUSED, error, Some(IS_GATEWAY)));
                }
            }
        }
        let what = if self.room.is_empty() { String::new() } else { format!(" to {}", self.room.join(", ")) };
        let place = if self.namespace == "/" { String::new() } else { format!(" in {}", self.namespace) };
        note(format_args!("{}{what}{place} on {}", paint.paint(GREEN, "listening"), self.url));
        Ok(())
    }

    fn check(&self, answer: &Args<'_>) -> Result<(), ExitCode> {
        match answer.first::<Subscribed>() {
            Ok(answer) if answer.status == "ok" => Ok(()),
            Ok(answer) => {
                let detail = printable(answer.detail.as_deref().unwrap_or("no reason given"));
                let advice = (answer.code.as_deref() == Some("room_forbidden"))
                    .then_some("the gateway's `rooms.join` says who may join what; --token says who you are");
                let code = answer.code.map(|code| format!(" ({})", printable(&code))).unwrap_or_default();
                Err(complain(REFUSED, format_args!("not subscribed: {detail}{code}"), advice))
            }
            Err(_) => Err(complain(REFUSED, "the subscription was answered with something else", None)),
        }
    }

    fn failed(&self, error: &Error) -> ExitCode {
        let text = printable(&error.to_string());
        match error {
            // The words of Socket.IO itself.
            Error::Refused { message, .. } if message == "Invalid namespace" => {
                let name = printable(&self.namespace);
                let advice = "the gateway's `namespaces` say which there are; a name begins with `/`";
                complain(REFUSED, format_args!("there is no namespace `{name}`"), Some(advice))
            }
            Error::Refused { .. } => {
                let code = error.code().map(|code| format!(" ({})", printable(code))).unwrap_or_default();
                let advice = match self.token {
                    Some(_) => "the token given with --token or IDAE_SOCKET_TOKEN was not accepted",
                    None => "a token can be given with --token or IDAE_SOCKET_TOKEN",
                };
                complain(REFUSED, format_args!("{text}{code}"), Some(advice))
            }
            Error::Disconnected(_) => complain(REFUSED, format_args!("ended by the gateway: {text}"), None),
            Error::Unreachable { address, source } => unreachable(address, &source.to_string()),
            Error::Handshake { status: 404, .. } if has_path(&self.url) => {
                let advice =
                    "--url has a path, under which no gateway answers; a namespace is given with --namespace";
                complain(REFUSED, text, Some(advice))
            }
            Error::Handshake { .. } | Error::Protocol { .. } => complain(REFUSED, text, Some(IS_GATEWAY)),
            error if error.is_retryable() => complain(UNREACHABLE, text, Some(IS_GATEWAY)),
            _ => complain(USAGE, text, None),
        }
    }
}

/// Prints on the driver's task: while a slow reader of our output makes us wait, nothing is read from
/// the network, so nothing piles up here.
struct Printer {
    events: Vec<String>,
    json: bool,
    paint: Paint,
    left: Option<u64>,
    news: Arc<News>,
}

impl Printer {
    fn new(listen: &Listen, news: Arc<News>) -> Self {
        Self {
            events: listen.event.clone(),
            json: listen.json,
            paint: Paint::of(&std::io::stdout()),
            left: listen.count,
            news,
        }
    }

    fn event(&mut self, event: &str, args: &Args<'_>) {
        if !self.events.is_empty() && !self.events.iter().any(|wanted| wanted == event) {
            return;
        }
        if self.left == Some(0) {
            return;
        }
        let line = if self.json { as_json(event, args) } else { self.as_text(event, args) };
        let is_read = writeln!(std::io::stdout(), "{line}").is_ok();
        self.left = self.left.map(|left| left - 1);
        if self.left == Some(0) || !is_read {
            self.news.enough.notify_one();
        }
    }

    fn as_text(&self, event: &str, args: &Args<'_>) -> String {
        let time = self.paint.paint(DIM, time_of_day(SystemTime::now()));
        let event = self.paint.paint(CYAN, printable(event));
        let mut line = format!("{time} {event} {}", printable(args.items()));
        for attachment in args.attachments() {
            line.push_str(&format!(" <{} bytes>", attachment.len()));
        }
        line
    }
}

fn as_json(event: &str, args: &Args<'_>) -> String {
    let array = format!("[{}]", args.items());
    // What the protocol crate hands out is valid JSON.
    let args_json: &RawValue = serde_json::from_str(&array).unwrap_or(RawValue::NULL);
    let attachments = args.attachments().iter().map(|bytes| bytes.len()).collect();
    serde_json::to_string(&Line { event, args: args_json, attachments }).unwrap_or_default()
}

fn has_path(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split_once('/').is_some_and(|(_, path)| !path.is_empty())
}

/// `12:34:56.789Z`
fn time_of_day(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs() % (24 * 60 * 60);
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", since.subsec_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_the_json_that_travelled() {
        let args = Args::from_raw(r#"{"b":1,"a":1.50}"#, Vec::new());
        assert_eq!(as_json("x\"y", &args), r#"{"event":"x\"y","args":[{"b":1,"a":1.50}]}"#);
        let args = Args::binary(&b"abc"[..]);
        assert_eq!(
            as_json("b", &args),
            r#"{"event":"b","args":[{"_placeholder":true,"num":0}],"attachments":[3]}"#
        );
    }

    #[test]
    fn times_are_read_by_people() {
        let time = UNIX_EPOCH + Duration::from_millis(86_400_000 + 45_296_789);
        assert_eq!(time_of_day(time), "12:34:56.789Z");
    }
}
