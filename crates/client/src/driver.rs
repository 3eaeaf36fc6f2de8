//! Where to connect, as whom, and what to do with what comes.

use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use idae_socket_protocol::socketio::Args;
use serde::Serialize;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::address::Address;
use crate::handlers::{Handler, Handlers};
use crate::handshake::Target;
use crate::session::Resume;
use crate::shared::{Alive, Shared};
use crate::socket::object;
use crate::worker::Worker;
use crate::{Backoff, Connected, DisconnectReason, Error, Reply, Socket};

/// How long one attempt may take, as in the JavaScript client.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
const YEAR: Duration = Duration::from_hours(24 * 365);
const USER_AGENT: &str = concat!("idae-socket-client/", env!("CARGO_PKG_VERSION"));
/// What the handshake itself needs to say.
const OWN_HEADERS: [HeaderName; 6] = [
    header::HOST,
    header::CONNECTION,
    header::UPGRADE,
    header::SEC_WEBSOCKET_KEY,
    header::SEC_WEBSOCKET_VERSION,
    header::SEC_WEBSOCKET_EXTENSIONS,
];

/// A connector to one namespace of a Socket.IO v4 server. Say everything, then
/// [`connect`](Self::connect).
///
/// Handlers run on the driver's task, one after the other and in the order of arrival; while one
/// runs, the connection waits. Slow work belongs into a task of its own, its result into a
/// [`Reply`] if the server waits for it.
///
/// What is wrong with a setting is told by `connect`.
#[must_use = "a driver does nothing until it is connected"]
pub struct SocketDriver {
    address: String,
    path: String,
    namespace: String,
    auth: Map<String, Value>,
    headers: HeaderMap,
    backoff: Backoff,
    connect_timeout: Duration,
    recovery: Option<bool>,
    handlers: Handlers,
    #[cfg(feature = "tls")]
    tls: Option<Arc<rustls::ClientConfig>>,
    /// The first setting that cannot be used.
    wrong: Option<Error>,
}

impl SocketDriver {
    /// A driver for `[http|https|ws|wss://]host[:port][/prefix]`.
    ///
    /// Without a scheme it is `http`. A path is a prefix of the endpoint's, for gateways behind a
    /// reverse proxy; the namespace is set with [`namespace`](Self::namespace).
    pub fn new(address: impl Into<String>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        Self {
            address: address.into(),
            path: "/socket.io/".to_owned(),
            namespace: "/".to_owned(),
            auth: Map::new(),
            headers,
            backoff: Backoff::default(),
            connect_timeout: CONNECT_TIMEOUT,
            recovery: None,
            handlers: Handlers::default(),
            #[cfg(feature = "tls")]
            tls: None,
            wrong: None,
        }
    }

    /// The namespace, `/` if not set. Each namespace takes a driver of its own.
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        let namespace = namespace.into();
        self.namespace = if namespace.starts_with('/') { namespace } else { format!("/{namespace}") };
        if self.namespace.contains(',') {
            let wrong = format!("`{}` is no namespace: it has a comma", self.namespace);
            self.wrong.get_or_insert(Error::Setting(wrong));
        }
        self
    }

    /// Where the server has its endpoint, `/socket.io/` if not set.
    pub fn path(mut self, path: impl Into<String>) -> Self {
        self.path = path.into();
        self
    }

    /// The object presented to the namespace; replaces what was set before.
    pub fn auth<T: Serialize + ?Sized>(mut self, auth: &T) -> Self {
        match object(auth) {
            Ok(auth) => self.auth = auth,
            Err(error) => {
                self.wrong.get_or_insert(error);
            }
        }
        self
    }

    /// The token presented to the namespace, as `token` of the auth object.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.auth.insert("token".to_owned(), Value::String(token.into()));
        self
    }

    /// An HTTP header of the handshake request; replaces one of the same name.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        match (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            (Ok(name), Ok(value)) if !OWN_HEADERS.contains(&name) => {
                self.headers.insert(name, value);
            }
            _ => {
                // The value may be a secret and stays out of the message.
                self.wrong.get_or_insert(Error::Setting(format!("the header `{name}` cannot be set so")));
            }
        }
        self
    }

    /// The pauses between attempts; [`Backoff::never`] for none.
    pub fn reconnect(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// How long one attempt may take until the namespace is joined, 20 s if not set.
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        // Much longer than a year is no limit, and no date that a clock can hold.
        self.connect_timeout = if timeout.as_secs() > YEAR.as_secs() { YEAR } else { timeout };
        self
    }

    /// Whether a connection takes up the one before, with its id, its rooms and what it missed.
    ///
    /// If not set it does when the server offers it, as an idae-socket gateway does to this driver. `false`
    /// asks the gateway for fresh connections; `true` asks for recovery, which is needed if
    /// [`header`](Self::header) replaces the `User-Agent` by which the gateway knows the driver.
    ///
    /// Handlers get an event's own arguments. Only other servers that recover, such as Socket.IO for Node with
    /// `connectionStateRecovery`, do not tell a string that they append, the place in their history, from an
    /// argument of the event: it is left there, and [`Args::first`] reads past it.
    pub const fn recovery(mut self, recovery: bool) -> Self {
        self.recovery = Some(recovery);
        self
    }

    /// How TLS is spoken, in place of the platform's trusted certificates.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, config: Arc<rustls::ClientConfig>) -> Self {
        self.tls = Some(config);
        self
    }

    /// Calls `handler` with the arguments of each `event`.
    pub fn on(self, event: impl Into<String>, handler: impl FnMut(Args<'static>) + Send + 'static) -> Self {
        self.handle(event.into(), Handler::Plain(Box::new(handler)))
    }

    /// Calls `handler` with the arguments of each `event`, and acknowledges it with what it returns.
    pub fn on_with_ack(
        self,
        event: impl Into<String>,
        handler: impl FnMut(Args<'static>) -> Args<'static> + Send + 'static,
    ) -> Self {
        self.handle(event.into(), Handler::WithAck(Box::new(handler)))
    }

    /// Calls `handler` with the arguments of each `event` and a [`Reply`] to acknowledge it later.
    pub fn on_with_reply(
        self,
        event: impl Into<String>,
        handler: impl FnMut(Args<'static>, Reply) + Send + 'static,
    ) -> Self {
        self.handle(event.into(), Handler::WithReply(Box::new(handler)))
    }

    /// Calls `handler` with name and arguments of every event, before the event's own handlers.
    pub fn on_any(mut self, handler: impl FnMut(&str, &Args<'static>) + Send + 'static) -> Self {
        self.handlers.any.push(Box::new(handler));
        self
    }

    /// Calls `handler` each time the namespace was joined.
    pub fn on_connect(mut self, handler: impl FnMut(Connected) + Send + 'static) -> Self {
        self.handlers.connect.push(Box::new(handler));
        self
    }

    /// Calls `handler` each time the namespace was left.
    pub fn on_disconnect(mut self, handler: impl FnMut(DisconnectReason) + Send + 'static) -> Self {
        self.handlers.disconnect.push(Box::new(handler));
        self
    }

    /// Calls `handler` each time an attempt failed, except for the one that `connect` returns.
    ///
    /// [`Error::is_retryable`] tells whether the driver goes on: after [`Error::Refused`] it does not.
    pub fn on_connect_error(mut self, handler: impl FnMut(&Error) + Send + 'static) -> Self {
        self.handlers.connect_error.push(Box::new(handler));
        self
    }

    fn handle(mut self, event: String, handler: Handler) -> Self {
        self.handlers.events.entry(event).or_default().push(handler);
        self
    }

    /// Connects once, and from then on stays connected.
    ///
    /// # Errors
    /// What is wrong with a setting; [`Error::Refused`] by the namespace; or why the server could not
    /// be reached. The driver is gone then; [`connect_lazily`](Self::connect_lazily) goes on instead.
    pub async fn connect(self) -> Result<Socket, Error> {
        let (first, outcome) = oneshot::channel();
        let socket = self.start(Some(first))?;
        // The task drops the sender only when a handler panicked.
        outcome.await.unwrap_or(Err(Error::Closed))?;
        Ok(socket)
    }

    /// Returns at once and connects in the background, for as long as it takes.
    ///
    /// # Errors
    /// What is wrong with a setting.
    pub fn connect_lazily(self) -> Result<Socket, Error> {
        self.start(None)
    }

    fn start(mut self, first: Option<oneshot::Sender<Result<(), Error>>>) -> Result<Socket, Error> {
        if let Some(wrong) = self.wrong.take() {
            return Err(wrong);
        }
        let address = Address::parse(&self.address)?;
        let target = Target {
            request_target: address.request_target(&self.path)?,
            address,
            headers: self.headers,
            #[cfg(feature = "tls")]
            tls: self.tls,
        };
        let runtime = Handle::try_current().map_err(|_| Error::NoRuntime)?;
        let shared = Arc::new(Shared::new(self.namespace, self.auth));
        let alive = Arc::new(Alive(Arc::clone(&shared)));
        let worker = Worker {
            shared,
            alive: Arc::downgrade(&alive),
            target,
            handlers: self.handlers,
            backoff: self.backoff,
            connect_timeout: self.connect_timeout,
            recovery: self.recovery,
            first,
            resume: Resume::default(),
            failures: 0,
        };
        runtime.spawn(worker.run());
        Ok(Socket::new(alive))
    }
}

impl std::fmt::Debug for SocketDriver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without auth and headers: they hold secrets.
        f.debug_struct("SocketDriver")
            .field("address", &self.address)
            .field("path", &self.path)
            .field("namespace", &self.namespace)
            .finish_non_exhaustive()
    }
}
