//! `[[publish.keys]]`: several publishers, each with its own limits.

use toml::de::DeArray;

use super::error::Origin;
use super::file::File;
use super::reading::Reading;
use super::tables::{Field, Row, Shape};
use super::{Publish, Secret};

/// A key that may publish, and what it is limited to.
#[derive(Debug, Clone)]
pub struct PublishKey {
    /// What logs call it.
    pub name: String,
    /// What the publisher shows.
    pub key: Secret,
    /// The event names it may publish, as patterns; empty for all.
    pub events: Vec<String>,
    /// The rooms it may publish to, as patterns; empty for all. A key limited to rooms may
    /// neither broadcast nor name users.
    pub rooms: Vec<String>,
}

impl PublishKey {
    /// A key that may publish everything.
    pub fn unlimited(name: impl Into<String>, key: impl Into<Secret>) -> Self {
        Self { name: name.into(), key: key.into(), events: Vec::new(), rooms: Vec::new() }
    }
}

impl Publish {
    /// The name of `publish.key` among the named keys.
    pub const KEY_NAME: &'static str = "default";

    /// `publish.key`, as an unlimited key named [`KEY_NAME`](Self::KEY_NAME), and `publish.keys`.
    pub fn every_key(&self) -> Vec<PublishKey> {
        let single = self.key.clone().map(|key| PublishKey::unlimited(Self::KEY_NAME, key));
        single.into_iter().chain(self.keys.iter().cloned()).collect()
    }
}

const KEY: &str = "publish.keys";

pub(super) const SHAPE: Shape = Shape {
    key: KEY,
    fields: &[
        ("name", "What logs call the key. Required."),
        ("key", "What the publisher shows. Required, secret."),
        ("events", "The event names it may publish, as patterns. Without it: all."),
        (
            "rooms",
            "The rooms it may publish to, as patterns. Without it: all. A key limited to rooms may neither broadcast nor name users.",
        ),
    ],
    required: &["name", "key"],
};

pub(super) fn read(reading: &mut Reading, file: &File<'_>, origin: &Origin, tables: &DeArray<'_>) {
    let keys = SHAPE.read(reading, file, tables, |reading, row| {
        let name = row.field(reading, "name", None).read();
        let key = row.field(reading, "key", None).read();
        let events = limit(reading, row, "events");
        let rooms = limit(reading, row, "rooms");
        Some(PublishKey { name: name?, key: key?, events, rooms })
    });
    reading.config.publish.keys = keys;
    reading.came_from(KEY, origin.clone());
}

/// A list that limits a key. An empty list in a hand-filled configuration means "all"; a person who
/// writes `rooms = []` means "none", so the file does not accept it.
fn limit(reading: &mut Reading, row: &Row<'_>, field: &str) -> Vec<String> {
    let list: Field<Vec<String>> = row.field(reading, field, None);
    if matches!(&list, Field::Read(list) if list.is_empty()) {
        let message = format!(
            "`{field}` of [[{KEY}]] is empty, so the key could do nothing: leave it out to allow all"
        );
        reading.wrong(KEY, row.origin.clone(), message);
    }
    list.read().unwrap_or_default()
}
