//! Keys whose feature is not built yet: known, documented, and refused with the reason.
//!
//! A row moves from here into `settings.rs` together with its feature.

use super::table::{Setting, State};
use super::value::Kind;

macro_rules! later {
    ($($(#[doc = $doc:literal])+ $key:literal: $kind:expr, $default:literal, harmless $harmless:expr, $because:expr;)*) => {
        &[$(Setting {
            key: $key,
            doc: &[$($doc),+],
            kind: $kind,
            range: None,
            state: State::Later { default: $default, harmless: &$harmless, because: $because },
        }),*]
    };
}

// A URL of Redis may hold a password, so it is a secret.
pub(super) const REDIS: &[Setting] = later! {
    /// Where the other gateways are met.
    "redis.url": Kind::Secret, "not set", harmless [""], "several gateways do not know of each other yet";
};
