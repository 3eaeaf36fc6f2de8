//! The side of the clients: Engine.IO sessions over polling, WebSocket and the upgrade between
//! them, and on top of each session a Socket.IO connection.
//!
//! A session is a value in the table of its shard. Over WebSocket one task reads for it; over
//! polling there is no task at all, only requests that come and go. What it sends waits in its
//! outbox, whoever put it there. One clock per shard looks after heartbeats and time limits.
//!
//! Invariants
//! * Whatever a client sends closes at most its own connection.
//! * Nothing is parked for an idle session: no buffer, no timer, no second task.
//! * The lock of a session's state is not held while an embedder's code runs.

mod browser;
mod client;
mod clock;
mod control;
mod endpoint;
mod http;
mod polling;
mod recovery;
mod session;
mod table;
mod websocket;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hashbrown::HashSet;
use idae_socket_protocol::engineio::{CloseReason, Transport};
use idae_socket_protocol::websocket::Frame;
use idae_socket_protocol::{Sid, engineio, socketio};

use client::{Client, Handshake};
pub use client::{EmitError, Socket};
pub use control::IntoAck;
pub(crate) use control::{Answering, Handlers};
pub use endpoint::RawSocket;
pub(crate) use endpoint::{Application, Endpoint, RawHandler};
pub use http::Opening;
pub(crate) use http::{Admission, Answer};
pub(crate) use session::Session;
use table::Table;
pub(crate) use websocket::Upgrade;

use crate::auth::Auth;
use crate::backend::{Authorizer, Forwarder};
use crate::hub::{self, Hub, Outbox, Target};
use crate::observe::Metrics;
use crate::places::{Full, Permit, Places};
use crate::publish::Memory;
use crate::rules::{EventNames, Namespaces, Origins, OwnPage, Proxies, RoomRules};

/// What the sockets of a gateway may do and use.
pub(crate) struct Settings {
    pub(crate) transports: Transports,
    /// Sessions, in all and per address. A polling session has no connection that would be counted.
    pub(crate) sessions: Arc<Places>,
    pub(crate) connect_timeout: Duration,
    /// Between two events of a client, in the long run.
    pub(crate) event_interval: Duration,
    pub(crate) connection: socketio::Limits,
    /// Bytes of a room's name.
    pub(crate) room_bytes_max: usize,
    /// Bytes of what a client missed.
    pub(crate) replay_bytes_max: usize,
    /// Acknowledgements the gateway waits for, and handlers that run, per socket.
    pub(crate) pending_acks_max: usize,
    pub(crate) namespaces: Namespaces,
    pub(crate) rooms: RoomRules,
    pub(crate) events: EventNames,
    pub(crate) origins: Origins,
    pub(crate) own_page: OwnPage,
    pub(crate) proxies: Proxies,
    /// The name of the cookie that holds a polling session's id, for load balancers.
    pub(crate) cookie: Option<String>,
}

/// Which transports are offered.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transports {
    pub(crate) polling: bool,
    pub(crate) websocket: bool,
}

/// The other parts of the gateway that the sockets use.
pub(crate) struct Parts {
    pub(crate) hub: Arc<Hub>,
    pub(crate) history: Arc<Memory>,
    pub(crate) auth: Arc<Auth>,
    pub(crate) authorizer: Option<Authorizer>,
    pub(crate) forwarder: Forwarder,
    pub(crate) metrics: Arc<Metrics>,
}

/// Every session of the gateway.
pub(crate) struct Sockets {
    pub(crate) settings: Settings,
    pub(crate) hub: Arc<Hub>,
    history: Arc<Memory>,
    auth: Arc<Auth>,
    /// Decides on rooms that no rule decides.
    authorizer: Option<Authorizer>,
    forwarder: Forwarder,
    pub(crate) metrics: Arc<Metrics>,
    endpoints: Vec<Arc<Endpoint>>,
    handlers: Handlers,
    shards: Box<[Table]>,
    is_draining: AtomicBool,
}

impl Sockets {
    pub(crate) fn new(
        settings: Settings,
        parts: Parts,
        endpoints: Vec<Endpoint>,
        handlers: Handlers,
        threads: &[tokio::runtime::Handle],
    ) -> Self {
        let Parts { hub, history, auth, authorizer, forwarder, metrics } = parts;
        Self {
            settings,
            hub,
            history,
            auth,
            authorizer,
            forwarder,
            metrics,
            endpoints: endpoints.into_iter().map(Arc::new).collect(),
            handlers,
            shards: threads.iter().cloned().map(Table::new).collect(),
            is_draining: AtomicBool::new(false),
        }
    }

    /// The endpoint that a request's path belongs to.
    pub(crate) fn endpoint(&self, path: &str) -> Option<&Arc<Endpoint>> {
        self.endpoints.iter().find(|endpoint| path.starts_with(&endpoint.path))
    }

    /// Runs the clock of a shard for ever; one task on the shard's thread.
    pub(crate) async fn run_clock(self: &Arc<Self>, shard: usize) {
        clock::run(self, shard).await;
    }

    /// Ends every session and opens no more: clients see `transport close` and come back, to whoever listens
    /// then. Spread over a time, so that they do not all come at once.
    pub(crate) async fn drain(&self, over: Duration) {
        self.is_draining.store(true, Ordering::Relaxed);
        let begin = Instant::now();
        let sessions: Vec<_> = self.shards.iter().flat_map(Table::all).collect();
        let count = sessions.len() as u32;
        let telling = async {
            for (number, session) in (0_u32..).zip(sessions) {
                let at = begin + over * number / count.max(1);
                // Who has left by itself need not be waited for.
                if session.ended().is_none() {
                    tokio::time::sleep_until(at.into()).await;
                    session.finish(self, CloseReason::ServerShutdown);
                }
            }
        };
        let emptied = async {
            for shard in &self.shards {
                shard.emptied().await;
            }
        };
        tokio::select! {
            () = telling => {}
            () = emptied => {}
        }
    }

    /// Opens a session in the table of a shard.
    fn open(
        &self,
        endpoint: &Arc<Endpoint>,
        shard: usize,
        transport: Transport,
        outbox: Arc<Outbox>,
        handshake: Handshake,
        place: Permit,
    ) -> Arc<Session> {
        let now = now();
        let sid = hub::new_sid(shard);
        let open = Frame::text(&engineio::open_packet(&sid, transport, &endpoint.settings));
        outbox.push(open, self.hub.limits().outbox_bytes_max);
        self.metrics.opened(transport);
        if transport == Transport::Polling {
            let notes = Arc::clone(&self.shards[shard].overflows);
            outbox.on_overflow(move || notes.add(sid));
        }
        let session = Session::open(self, endpoint, sid, transport, outbox, (handshake, place), now);
        let deadline = session.deadline();
        self.shards[shard].insert(Arc::clone(&session), deadline);
        session
    }

    /// A place for one more session, or why there is none.
    fn admit(&self, address: IpAddr) -> Result<Permit, String> {
        if self.is_draining.load(Ordering::Relaxed) {
            return Err("The gateway is stopping; come back in a moment".to_owned());
        }
        // A proxy that does not say for whom it asks stands for many.
        let address = Some(address).filter(|address| !self.settings.proxies.contain(*address));
        self.settings.sessions.admit(address).map_err(|full| {
            self.metrics.limit(match full {
                Full::Gateway => "sessions_max",
                Full::Address => "sessions_per_address_max",
            });
            format!("Too many sessions: {full}")
        })
    }

    /// The session of an id, in whichever shard the id says.
    fn find(&self, sid: &str) -> Option<Arc<Session>> {
        let sid = Sid::parse(sid)?;
        self.shards.get(hub::shard_of(&sid))?.find(&sid)
    }

    /// Makes a client that may come back known by its id, for the case that it does so before its loss is noticed.
    fn register(&self, client: &Arc<Client>) {
        if client.shape.has_offset {
            self.registry(&client.sid).insert_client(client.sid, Arc::downgrade(client));
        }
    }

    fn unregister(&self, client: &Client) {
        if client.shape.has_offset {
            self.registry(&client.sid).remove_client(client);
        }
    }

    /// The client of an id that was registered.
    fn client(&self, sid: &Sid) -> Option<Arc<Client>> {
        self.registry(sid).find_client(sid)
    }

    /// The table where a socket's id is registered. Its session may be another shard's, when it has come back.
    fn registry(&self, sid: &Sid) -> &Table {
        &self.shards[hub::shard_of(sid) % self.shards.len()]
    }

    /// The sockets of a target. Looks at every session, so it is for now and then.
    pub(crate) fn select(self: &Arc<Self>, target: &Target) -> Vec<Socket> {
        let sids: HashSet<Sid> = self.hub.sids(target).into_iter().collect();
        let sessions = self.shards.iter().flat_map(Table::all);
        let clients = sessions.flat_map(|session| session.clients());
        clients.filter(|client| sids.contains(&client.sid)).map(|client| Socket::new(&client, self)).collect()
    }

    fn shard(&self, session: &Session) -> &Table {
        &self.shards[hub::shard_of(&session.sid) % self.shards.len()]
    }
}

/// The one place where the sockets read the clock.
fn now() -> Instant {
    Instant::now()
}
