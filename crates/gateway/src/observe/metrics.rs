//! Counters in the form of OpenMetrics. No label names a room, a user or an address: their number has no bound.

use std::fmt;
use std::time::{Duration, Instant};

use idae_socket_protocol::engineio::{CloseReason, Transport};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::hub::Watch;

/// The type of the text, for the `Content-Type` header.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    connections: Family<OfTransport, Gauge>,
    sockets: Gauge,
    rooms: Gauge,
    history_bytes: Gauge,
    history_events: Gauge,
    recoverable: Gauge,
    backlog_bytes: Gauge,
    events: Counter,
    deliveries: Counter,
    delivery_seconds: Histogram,
    refusals: Family<OfCode, Counter>,
    limits_reached: Family<OfLimit, Counter>,
    recoveries: Family<OfOutcome, Counter>,
    closed: Family<OfReason, Counter>,
}

/// What is measured at the moment of asking.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sample {
    pub(crate) sockets: usize,
    pub(crate) rooms: usize,
    pub(crate) history_events: usize,
    pub(crate) history_bytes: usize,
    pub(crate) recoverable: usize,
    pub(crate) backlog_bytes: usize,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfTransport {
    transport: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfCode {
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfLimit {
    limit: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfOutcome {
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfReason {
    reason: String,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        // From 50 µs to some 13 s: a direct write takes less than the first, a stuck machine more than the last.
        let delivery_seconds = Histogram::new(exponential_buckets(50e-6, 2.0, 19));
        let mut metrics = Self {
            registry: Registry::with_prefix("idae_socket"),
            connections: Family::default(),
            sockets: Gauge::default(),
            rooms: Gauge::default(),
            history_bytes: Gauge::default(),
            history_events: Gauge::default(),
            recoverable: Gauge::default(),
            backlog_bytes: Gauge::default(),
            events: Counter::default(),
            deliveries: Counter::default(),
            delivery_seconds,
            refusals: Family::default(),
            limits_reached: Family::default(),
            recoveries: Family::default(),
            closed: Family::default(),
        };
        // So that they are there before anybody comes.
        for transport in [Transport::Polling, Transport::Websocket] {
            drop(metrics.connections.get_or_create(&of(transport)));
        }
        metrics.register();
        metrics
    }

    fn register(&mut self) {
        let Self { registry, .. } = self;
        registry.register("connections", "Engine.IO sessions, by transport", self.connections.clone());
        registry.register(
            "sockets",
            "Socket.IO sockets, one per namespace of a connection",
            self.sockets.clone(),
        );
        registry.register(
            "rooms",
            "Rooms with somebody in them, per shard and namespace",
            self.rooms.clone(),
        );
        registry.register_with_unit(
            "history",
            "What recovery keeps",
            Unit::Bytes,
            self.history_bytes.clone(),
        );
        registry.register("history_events", "Events that recovery keeps", self.history_events.clone());
        registry.register("recoverable", "Sockets that are away and may come back", self.recoverable.clone());
        registry.register_with_unit(
            "backlog",
            "What waits to be written by the sweep",
            Unit::Bytes,
            self.backlog_bytes.clone(),
        );
        registry.register("events", "Events that were published", self.events.clone());
        registry.register(
            "deliveries",
            "Events times the sockets they were written to",
            self.deliveries.clone(),
        );
        registry.register_with_unit(
            "delivery",
            "From taking an event up to having written it to the last socket of a shard",
            Unit::Seconds,
            self.delivery_seconds.clone(),
        );
        registry.register(
            "refusals",
            "Publishers, sockets and events that were refused, by the code they were told",
            self.refusals.clone(),
        );
        registry.register("limits_reached", "How often a limit was reached", self.limits_reached.clone());
        registry.register("recoveries", "Clients that came back, by what they got", self.recoveries.clone());
        registry.register("closed", "Engine.IO sessions that ended, by reason", self.closed.clone());
    }

    pub(crate) fn published(&self) {
        self.events.inc();
    }

    /// Somebody was refused with this code.
    pub(crate) fn refused(&self, code: &'static str) {
        self.refusals.get_or_create(&OfCode { code }).inc();
    }

    /// A limit was reached. Its name is that of the setting, without the table.
    pub(crate) fn limit(&self, limit: &'static str) {
        self.limits_reached.get_or_create(&OfLimit { limit }).inc();
    }

    /// A client came back with a pid.
    pub(crate) fn came_back(&self, is_recovered: bool) {
        let outcome = if is_recovered { "recovered" } else { "fresh" };
        self.recoveries.get_or_create(&OfOutcome { outcome }).inc();
    }

    pub(crate) fn opened(&self, transport: Transport) {
        self.connections.get_or_create(&of(transport)).inc();
    }

    /// A session changed to WebSocket.
    pub(crate) fn upgraded(&self) {
        self.connections.get_or_create(&of(Transport::Polling)).dec();
        self.opened(Transport::Websocket);
    }

    pub(crate) fn ended(&self, transport: Transport, reason: CloseReason) {
        self.connections.get_or_create(&of(transport)).dec();
        self.closed.get_or_create(&OfReason { reason: reason.to_string() }).inc();
    }

    /// Everything, as text.
    ///
    /// # Errors
    /// None: writing into memory cannot fail.
    pub(crate) fn text(&self, sample: &Sample) -> Result<String, fmt::Error> {
        for (gauge, value) in [
            (&self.sockets, sample.sockets),
            (&self.rooms, sample.rooms),
            (&self.history_events, sample.history_events),
            (&self.history_bytes, sample.history_bytes),
            (&self.recoverable, sample.recoverable),
            (&self.backlog_bytes, sample.backlog_bytes),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

const fn of(transport: Transport) -> OfTransport {
    OfTransport {
        transport: match transport {
            Transport::Polling => "polling",
            Transport::Websocket => "websocket",
        },
    }
}

impl Watch for Metrics {
    fn delivered(&self, sockets: usize, since: Instant) {
        self.deliveries.inc_by(sockets as u64);
        self.delivery_seconds.observe(seconds(since.elapsed()));
    }
}

fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
