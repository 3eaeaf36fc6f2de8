//! What can be seen of a running gateway from outside.

mod metrics;

pub(crate) use metrics::{Metrics, OPEN_METRICS, Sample};
