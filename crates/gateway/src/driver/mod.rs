//! The assembly: settings become parts, parts become a gateway that runs.

mod gateway;
mod selection;
mod threads;

use std::future::Future;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use idae_socket_protocol::engineio::{self, Message};
use idae_socket_protocol::socketio::{self, Args, Parsers};
use tokio::sync::watch;

pub use self::gateway::Gateway;
pub use self::selection::{Answers, Selection};
use self::threads::Threads;
use crate::auth::{self, Auth, Check, Identity, PublishKeys, Refusal};
use crate::backend::{self, Authorizer, Backend, Forwarder, Secrets};
use crate::config::{Config, Deliver, Parser, Strategy, Transport};
use crate::console::Console;
use crate::error::Error;
use crate::history::{self, History};
use crate::hub::{self, Hub};
use crate::listen::{self, BindError, Router};
use crate::observe::Metrics;
use crate::outbound::Outbound;
use crate::places::{self, Places};
use crate::publish::Road;
use crate::rules::{EventNames, Namespaces, Origins, OwnPage, Patterns, Proxies, RoomRules, TemplateError};
use crate::sockets::{
    self, Application, Endpoint, Handlers, IntoAck, Opening, RawSocket, Socket, Sockets, Transports,
};

/// The server: an HTTP and Socket.IO gateway.
///
/// ```no_run
/// # async fn run() -> Result<(), idae_socket::Error> {
/// idae_socket::HttpDriver::new().listen(4000).await
/// # }
/// ```
///
/// To embed it, with handlers for client events and publishing in process:
///
/// ```
/// use idae_socket::{Args, HttpDriver, Socket};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), idae_socket::Error> {
/// let gateway = HttpDriver::new()
///     .on("greet", |_socket: Socket, args: Args<'static>| async move { args })
///     .start(0)
///     .await?;
/// println!("listening on {}", gateway.url());
/// gateway.to_room("admin", "db-change", &serde_json::json!({ "id": 1 })).await?;
/// gateway.stop().await;
/// # Ok(())
/// # }
/// ```
#[must_use = "a driver does nothing until it listens"]
#[derive(Default)]
pub struct HttpDriver {
    config: Config,
    handlers: Handlers,
    raw: Vec<(String, sockets::RawHandler)>,
}

impl HttpDriver {
    /// A gateway with the default configuration: loopback, no authentication.
    pub fn new() -> Self {
        Self::default()
    }

    /// A gateway with this configuration. It is checked when the gateway starts.
    pub fn with_config(config: Config) -> Self {
        Self { config, ..Self::default() }
    }

    /// Handles an event of clients, in every namespace. The [`Args`] that the handler returns are the
    /// acknowledgement, if the client asks for one; `()` is none. A handler for `grantIn`, `subscribe` or
    /// `unsubscribe` takes the place of the gateway's own.
    ///
    /// Handlers of one client run beside each other; at most `socket.pending_acks_max` at a time.
    pub fn on<F, A>(mut self, event: &str, handler: F) -> Self
    where
        F: Fn(Socket, Args<'static>) -> A + Send + Sync + 'static,
        A: Future<Output: IntoAck> + Send + 'static,
    {
        let handler = Arc::new(move |socket, args| {
            let answering = handler(socket, args);
            Box::pin(async move { answering.await.into_ack() }) as sockets::Answering
        });
        self.handlers.events.insert(event.to_owned(), handler);
        self
    }

    /// Is asked about every request that would open a session, before anything is kept for it. The text of
    /// a refusal goes to the client, with Engine.IO code 4 and status 403 (400 for a WebSocket). It must
    /// not block.
    pub fn on_opening(
        mut self,
        handler: impl Fn(&Opening<'_>) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.handlers.opening = Some(Arc::new(handler));
        self
    }

    /// Is called when a client has joined a namespace, with the auth object it sent (JSON text,
    /// `{}` if none). What the handler emits arrives right after the connect packet. It must not block.
    pub fn on_connect(mut self, handler: impl Fn(Socket, &str) + Send + Sync + 'static) -> Self {
        self.handlers.connect = Some(Arc::new(handler));
        self
    }

    /// Is called when a client is out of a namespace, with its socket id, the namespace, and the
    /// reason in Socket.IO's words. It must not block.
    pub fn on_disconnect(mut self, handler: impl Fn(&str, &str, &str) + Send + Sync + 'static) -> Self {
        self.handlers.disconnect = Some(Arc::new(handler));
        self
    }

    /// Speaks plain Engine.IO at another path, which begins and ends with `/`: the handler gets
    /// every message as it came. It must not block.
    pub fn engine_io(
        mut self,
        path: &str,
        handler: impl Fn(&RawSocket, Message<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.raw.push((path.to_owned(), Arc::new(handler)));
        self
    }

    /// Checks the configuration and the keys, as [`start`](Self::start) does, without listening.
    ///
    /// # Errors
    /// The gateway would not start.
    pub fn check(&self) -> Result<(), Error> {
        self.config.validate()?;
        Access::new(&self.config, &Outbound::new().map_err(Error::Auth)?).map(|_| ())
    }

    /// What a token would get its bearer when it connects, or why it would be refused. Asks whom the
    /// configuration says: the key set's address, the introspection endpoint.
    ///
    /// # Errors
    /// The gateway would not start.
    pub async fn judge(&self, token: &str) -> Result<Result<Judgement, Refusal>, Error> {
        self.config.validate()?;
        let Access { auth, rooms, .. } = Access::new(&self.config, &Outbound::new().map_err(Error::Auth)?)?;
        let verdict = match auth.check(auth::presented(None, Some(token))) {
            Check::Done(verdict) => verdict,
            Check::Pending(checking) => checking.await,
        };
        Ok(verdict.map(|identity| {
            let rooms = rooms.filled(&|claim| identity.claim(claim));
            Judgement { identity, rooms }
        }))
    }

    /// Listens on a port of the configured host until the process ends.
    ///
    /// # Errors
    /// A setting is wrong, or the port cannot be had.
    pub async fn listen(self, port: u16) -> Result<(), Error> {
        let gateway = self.start(port).await?;
        tracing::info!(url = gateway.url(), "listening");
        gateway.run().await;
        Ok(())
    }

    /// Starts the gateway on a port of the configured host and returns; port 0 takes a free one.
    ///
    /// # Errors
    /// A setting is wrong, or the port cannot be had.
    pub async fn start(self, port: u16) -> Result<Gateway, Error> {
        let Self { config, handlers, raw } = self;
        let config = Config { port, ..config }.normalised();
        for warning in config.validate()? {
            tracing::warn!("{warning}");
        }
        warn_of_few_files(config.socket.connections_max);
        let listeners =
            listen::bind(&config.host, port).await.map_err(|error| listen_error(&config, error))?;
        let addresses = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let threads = Threads::start(cores.min(hub::SHARDS_MAX)).map_err(Error::Thread)?;
        let parts = Parts::assemble(&config, handlers, raw, &threads)?;
        let auth = Arc::clone(&parts.auth);
        threads.handles[0].spawn(async move { auth.warm_up().await });
        let road = Arc::clone(parts.router.backend.road());
        threads.handles[0].spawn(async move { road.tidy().await });
        let (stopping, stopped) = watch::channel(false);
        for (shard, thread) in threads.handles.iter().enumerate() {
            let (hub, sockets) = (Arc::clone(&parts.hub), Arc::clone(&parts.router.sockets));
            thread.spawn(async move { hub::sweep(&hub, shard).await });
            thread.spawn(async move { sockets.run_clock(shard).await });
        }
        let socket = &config.socket;
        let connections = Places::new(socket.connections_max, socket.connections_per_address_max);
        let accepting = listeners.into_iter().map(|listener| {
            threads.handles[0].spawn(listen::accept(
                listener,
                Arc::clone(&parts.router),
                Arc::clone(&connections),
                Arc::clone(&threads.handles),
                stopped.clone(),
            ))
        });
        let accepting = accepting.collect();
        Ok(Gateway::new(config, addresses, parts.router, connections, threads, accepting, stopping))
    }
}

/// Each connection is an open file. A limit that is a tenth of what the connections may need is nobody's decision, but
/// what the system gives to whoever does not ask.
fn warn_of_few_files(connections_max: usize) {
    if let Some(files) = places::open_files_max().filter(|files| *files < connections_max / 10) {
        tracing::warn!(
            "the limit of open files is {files}, so there cannot be {connections_max} connections (socket.connections_max): \
             raise it (`ulimit -n`, LimitNOFILE of systemd, ulimits of Compose), or lower the setting"
        );
    }
}

fn listen_error(config: &Config, error: BindError) -> Error {
    let port = config.port;
    match error {
        BindError::Taken(IpAddr::V6(address)) => Error::PortTaken { host: format!("[{address}]"), port },
        BindError::Taken(IpAddr::V4(address)) => Error::PortTaken { host: address.to_string(), port },
        BindError::Other(source) => Error::Listen { host: config.host.clone(), port, source },
    }
}

/// The parts of a gateway, made from its settings.
struct Parts {
    hub: Arc<Hub>,
    router: Arc<Router>,
    auth: Arc<Auth>,
}

impl Parts {
    fn assemble(
        config: &Config,
        handlers: Handlers,
        raw: Vec<(String, sockets::RawHandler)>,
        threads: &Threads,
    ) -> Result<Self, Error> {
        let (publish, socket) = (&config.publish, &config.socket);
        let metrics = Arc::new(Metrics::new());
        let outbound = Outbound::new().map_err(Error::Auth)?;
        let hub = Arc::new(Hub::new(
            threads.handles.len(),
            hub::Limits {
                outbox_bytes_max: socket.outbox_bytes_max,
                backlog_bytes_max: publish.queue_bytes_max,
                rooms_max: socket.rooms_max,
            },
            Arc::<Metrics>::clone(&metrics),
        ));
        let history = Arc::new(History::new(history::Settings {
            window: Duration::from_secs(config.recovery.window_s),
            // A pong proves what was sent before its ping, which is a timeout older, and a client that sends something
            // else meanwhile gets one timeout more.
            notice_time: Duration::from_millis(socket.ping_interval_ms + 3 * socket.ping_timeout_ms),
            bytes_max: config.recovery.bytes_max,
        }));
        let road = Arc::new(Road::new(
            Arc::clone(&hub),
            Arc::clone(&history),
            Duration::from_secs(publish.idempotency_window_s),
            publish.idempotency_ids_max,
            Arc::clone(&metrics),
        ));
        let Access { auth, rooms, namespaces } = Access::new(config, &outbound)?;
        let auth = Arc::new(auth);
        let endpoints = endpoints(config, raw);
        let paths: Vec<String> = endpoints.iter().map(|endpoint| endpoint.path.clone()).collect();
        let events = || Ok::<_, Error>(EventNames::new(Patterns::parse(&config.events)?, paths.clone()));
        let console = Console::new(config);
        let own_page = OwnPage::new(console.is_some(), &config.host, !publish.every_key().is_empty());
        let backend = Backend::new(
            backend::Settings {
                keys: PublishKeys::new(&publish.every_key())?,
                events: events()?,
                namespaces: namespaces.clone(),
                body_bytes_max: publish.body_bytes_max,
                batch_items_max: publish.batch_items_max,
                batch_bytes_max: publish.batch_bytes_max,
                room_bytes_max: socket.room_bytes_max,
                delivers_payload: publish.deliver == Deliver::Payload,
                sender_redact: Secrets::new(&publish.sender_redact),
                console,
                own_page: own_page.clone(),
            },
            Arc::clone(&road),
            Arc::clone(&metrics),
        );
        let settings = sockets::Settings {
            transports: Transports {
                polling: socket.transports.contains(&Transport::Polling),
                websocket: socket.transports.contains(&Transport::WebSocket),
            },
            sessions: Places::new(socket.connections_max, socket.connections_per_address_max),
            connect_timeout: Duration::from_millis(socket.connect_timeout_ms),
            event_interval: Duration::from_secs(1)
                / u32::try_from(socket.events_per_s_max).unwrap_or(u32::MAX),
            connection: socketio::Limits {
                parsers: Parsers {
                    json: socket.parsers.contains(&Parser::Json),
                    msgpack: socket.parsers.contains(&Parser::Msgpack),
                },
                namespaces_max: socket.namespaces_max,
                auth_bytes_max: socket.auth_bytes_max,
                attachments_bytes_max: socket.payload_bytes_max,
            },
            room_bytes_max: socket.room_bytes_max,
            replay_bytes_max: config.recovery.replay_bytes_max,
            pending_acks_max: socket.pending_acks_max,
            namespaces,
            rooms,
            events: events()?,
            origins: Origins::new(socket.cors_origins.as_deref(), auth.is_on()),
            own_page,
            // Checked with the configuration.
            proxies: Proxies::parse(&config.trusted_proxies).unwrap_or_default(),
            cookie: socket.cookie.clone(),
        };
        let parts = sockets::Parts {
            hub: Arc::clone(&hub),
            history,
            auth: Arc::clone(&auth),
            authorizer: authorizer(config, &outbound),
            forwarder: Forwarder::new(&config.forward, socket.payload_bytes_max, &outbound)?,
            metrics,
        };
        let sockets = Sockets::new(settings, parts, endpoints, handlers, &threads.handles);
        let router = Arc::new(Router { backend: Arc::new(backend), sockets: Arc::new(sockets) });
        Ok(Self { hub, router, auth })
    }
}

/// The backend's word on rooms, if it is to be asked. Without authentication every room is open.
fn authorizer(config: &Config, outbound: &Outbound) -> Option<Authorizer> {
    let rooms = &config.rooms;
    let url = rooms.authorize_url.as_ref().filter(|_| config.auth.strategy != Strategy::None)?;
    let time_max = Duration::from_millis(rooms.authorize_timeout_ms);
    Some(Authorizer::new(url, time_max, Duration::from_secs(rooms.authorize_cache_s), outbound))
}

/// Who gets in, and where to.
struct Access {
    auth: Auth,
    rooms: RoomRules,
    namespaces: Namespaces,
}

impl Access {
    fn new(config: &Config, outbound: &Outbound) -> Result<Self, Error> {
        let template = |error: TemplateError| Error::Auth(error.to_string());
        let rooms = match config.auth.strategy {
            Strategy::None => RoomRules::Open,
            Strategy::Jwt | Strategy::Introspection => {
                RoomRules::parse(&config.rooms.join).map_err(template)?
            }
        };
        let namespaces = Namespaces::parse(&config.namespaces).map_err(template)?;
        let mut claims: Vec<String> = rooms.claims().chain(namespaces.claims()).map(str::to_owned).collect();
        claims.sort();
        claims.dedup();
        let auth = Auth::new(&config.auth, claims, outbound).map_err(Error::Auth)?;
        Ok(Self { auth, rooms, namespaces })
    }
}

/// What a token would get its bearer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Judgement {
    /// Who the bearer is.
    pub identity: Arc<Identity>,
    /// The patterns of the rooms that the bearer may join, besides those of its roles.
    pub rooms: Vec<String>,
}

fn endpoints(config: &Config, raw: Vec<(String, sockets::RawHandler)>) -> Vec<Endpoint> {
    let socket = &config.socket;
    let settings = engineio::Settings {
        ping_interval: Duration::from_millis(socket.ping_interval_ms),
        ping_timeout: Duration::from_millis(socket.ping_timeout_ms),
        upgrade_timeout: Duration::from_millis(socket.upgrade_timeout_ms),
        payload_bytes_max: socket.payload_bytes_max,
        offers_upgrade: socket.transports.contains(&Transport::WebSocket),
    };
    let main = Endpoint { path: socket.path.clone(), settings, application: Application::SocketIo };
    let raw = raw.into_iter().map(|(path, handler)| Endpoint {
        path,
        settings,
        application: Application::Raw(handler),
    });
    std::iter::once(main).chain(raw).collect()
}
