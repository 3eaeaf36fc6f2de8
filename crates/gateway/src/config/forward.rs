//! `[[forward]]`: which events of clients go to the backend, and how.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use toml::de::DeArray;

use super::error::Origin;
use super::file::File;
use super::reading::Reading;
use super::tables::Shape;
use super::{Address, Secret};

/// Where an event from a client goes.
#[derive(Debug, Clone)]
pub struct Forward {
    /// The event names, as a pattern.
    pub event: String,
    /// The backend's address.
    pub url: Address,
    /// What the request is signed with. Without it there is no signature.
    pub secret: Option<Secret>,
    /// How many milliseconds the answer may take.
    pub timeout_ms: u64,
}

impl Forward {
    /// How many milliseconds an answer may take unless the table says otherwise.
    pub const TIMEOUT_MS: u64 = 5_000;
}

const KEY: &str = "forward";
const TIMEOUT_RANGE: (u64, u64) = (1, 600_000);

pub(super) const SHAPE: Shape = Shape {
    key: KEY,
    fields: &[
        ("event", "The event names, as a pattern. Required."),
        ("url", "Where they are posted to. Required."),
        (
            "secret",
            "What the request is signed with (Standard Webhooks); one that begins with `whsec_` is base64 behind it. Secret.",
        ),
        ("timeout_ms", "How many milliseconds the answer may take. Without it: 5000."),
    ],
    required: &["event", "url"],
};

pub(super) fn read(reading: &mut Reading, file: &File<'_>, origin: &Origin, tables: &DeArray<'_>) {
    let forwards = SHAPE.read(reading, file, tables, |reading, row| {
        let event = row.field(reading, "event", None).read();
        let url = row.field(reading, "url", None).read();
        let secret = row.field(reading, "secret", None).read();
        let timeout_ms = row.field(reading, "timeout_ms", Some(TIMEOUT_RANGE)).read();
        let timeout_ms = timeout_ms.unwrap_or(Forward::TIMEOUT_MS);
        Some(Forward { event: event?, url: url?, secret, timeout_ms })
    });
    reading.config.forward = forwards;
    reading.came_from(KEY, origin.clone());
}

/// The key behind a secret: what follows `whsec_` is base64, anything else counts as it is. `None` if it
/// should be base64 and is not.
pub(crate) fn webhook_key(secret: &Secret) -> Option<Vec<u8>> {
    match secret.expose().strip_prefix("whsec_") {
        Some(text) => STANDARD.decode(text).ok().filter(|key| !key.is_empty()),
        None => Some(secret.expose().as_bytes().to_vec()),
    }
}
