//! `[[publish.keys]]`: several publishers, each with its own limits.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::Origin;
use super::file::{File, given};
use super::reading::Reading;
use super::value::Value;
use super::{Publish, Secret, table};

/// A key that may publish, and what it is limited to.
#[derive(Debug, Clone)]
pub struct PublishKey {
    /// What logs and metrics call it.
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
/// The fields of one table, with the words of the reference.
pub(super) const FIELDS: [(&str, &str); 4] = [
    ("name", "What logs and metrics call the key. Required."),
    ("key", "What the publisher shows. Required, secret."),
    ("events", "The event names it may publish, as patterns. Without it: all."),
    (
        "rooms",
        "The rooms it may publish to, as patterns. Without it: all. A key limited to rooms may neither broadcast nor name users.",
    ),
];

pub(super) fn read(reading: &mut Reading, file: &File<'_>, origin: &Origin, tables: &DeArray<'_>) {
    let mut keys = Vec::new();
    for entry in tables.iter() {
        match entry.get_ref() {
            DeValue::Table(table) => {
                keys.extend(read_one(reading, file, &file.at(entry.span().start), table));
            }
            _ => reading.wrong(
                KEY,
                file.at(entry.span().start),
                format!("`{KEY}` must be written as [[{KEY}]] tables"),
            ),
        }
    }
    reading.config.publish.keys = keys;
    reading.came_from(KEY, origin.clone());
}

fn read_one(
    reading: &mut Reading,
    file: &File<'_>,
    origin: &Origin,
    table: &DeTable<'_>,
) -> Option<PublishKey> {
    for name in table.keys() {
        if FIELDS.iter().all(|(field, _)| field != name.get_ref()) {
            let nearest = table::nearest(name.get_ref(), FIELDS.iter().map(|(field, _)| *field));
            let what = format!("there is no key `{}` in [[{KEY}]]", name.get_ref());
            reading.unknown(what, nearest, table::find(KEY), file.at(name.span().start));
        }
    }
    let name = field::<String>(reading, file, table, "name");
    let key = field::<Secret>(reading, file, table, "key");
    let events = field::<Vec<String>>(reading, file, table, "events");
    let rooms = field::<Vec<String>>(reading, file, table, "rooms");
    for (field, missing) in [("name", matches!(name, Field::Missing)), ("key", matches!(key, Field::Missing))]
    {
        if missing {
            reading.wrong(KEY, origin.clone(), format!("every [[{KEY}]] table needs a `{field}`"));
        }
    }
    let (Field::Read(name), Field::Read(key)) = (name, key) else {
        return None;
    };
    // An empty list in a hand-filled configuration means "all"; a person who writes `rooms = []`
    // means "none", so the file does not accept it.
    let limits = [("events", &events), ("rooms", &rooms)];
    for (field, list) in limits {
        if matches!(list, Field::Read(list) if list.is_empty()) {
            let message = format!(
                "`{field}` of [[{KEY}]] is empty, so the key could do nothing: leave it out to allow all"
            );
            reading.wrong(KEY, origin.clone(), message);
        }
    }
    Some(PublishKey { name, key, events: events.or_empty(), rooms: rooms.or_empty() })
}

enum Field<T> {
    Missing,
    Wrong,
    Read(T),
}

impl Field<Vec<String>> {
    fn or_empty(self) -> Vec<String> {
        match self {
            Self::Read(list) => list,
            Self::Missing | Self::Wrong => Vec::new(),
        }
    }
}

fn field<T: Value>(reading: &mut Reading, file: &File<'_>, table: &DeTable<'_>, name: &str) -> Field<T> {
    let Some((place, value)) = table.iter().find(|(key, _)| key.get_ref() == name) else {
        return Field::Missing;
    };
    let given = given(Spanned::get_ref(value));
    if let Some(value) = T::read(&given) {
        return Field::Read(value);
    }
    let not = if T::KIND.holds_secrets() { String::new() } else { format!(", not {}", given.show()) };
    let message = format!("`{name}` of [[{KEY}]] must be {}{not}", T::KIND.wanted(KEY, None));
    reading.wrong(KEY, file.at(place.span().start), message);
    Field::Wrong
}
