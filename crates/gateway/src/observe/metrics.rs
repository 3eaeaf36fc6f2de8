//! Counters in the form of OpenMetrics. No label names a room, a user or an address: their number has no bound.

use std::fmt;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

/// The type of the text, for the `Content-Type` header.
pub(crate) const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Everything that is counted.
pub(crate) struct Metrics {
    registry: Registry,
    refusals: Family<Code, Counter>,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Code {
    code: &'static str,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("idae_socket");
        let refusals = Family::default();
        registry.register(
            "refusals",
            "Publishers, sockets and events that were refused, by the code they were told",
            refusals.clone(),
        );
        Self { registry, refusals }
    }

    /// Somebody was refused with this code.
    pub(crate) fn refused(&self, code: &'static str) {
        self.refusals.get_or_create(&Code { code }).inc();
    }

    /// Everything, as text.
    ///
    /// # Errors
    /// None: writing into memory cannot fail.
    pub(crate) fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
