//! What the file writes as `[[key]]` tables, field by field.

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::error::Origin;
use super::file::{File, given};
use super::reading::Reading;
use super::table;
use super::value::Value;

/// One kind of table: its key, and its fields with the words of the reference.
pub(super) struct Shape {
    pub(super) key: &'static str,
    pub(super) fields: &'static [(&'static str, &'static str)],
    pub(super) required: &'static [&'static str],
}

/// One table of the file.
pub(super) struct Row<'a> {
    shape: &'a Shape,
    file: &'a File<'a>,
    table: &'a DeTable<'a>,
    /// Where it begins.
    pub(super) origin: Origin,
}

/// A field of a table.
pub(super) enum Field<T> {
    Missing,
    /// It was complained about.
    Wrong,
    Read(T),
}

impl Shape {
    /// Reads every table; what cannot be read is complained about and left out.
    pub(super) fn read<T>(
        &self,
        reading: &mut Reading,
        file: &File<'_>,
        tables: &DeArray<'_>,
        mut read: impl FnMut(&mut Reading, &Row<'_>) -> Option<T>,
    ) -> Vec<T> {
        let mut values = Vec::new();
        for entry in tables.iter() {
            let origin = file.at(entry.span().start);
            let DeValue::Table(table) = entry.get_ref() else {
                let message = format!("`{0}` must be written as [[{0}]] tables", self.key);
                reading.wrong(self.key, origin, message);
                continue;
            };
            let row = Row { shape: self, file, table, origin };
            row.check(reading);
            values.extend(read(reading, &row));
        }
        values
    }
}

impl Row<'_> {
    fn check(&self, reading: &mut Reading) {
        let Shape { key, fields, required } = self.shape;
        for name in self.table.keys() {
            if fields.iter().all(|(field, _)| field != name.get_ref()) {
                let nearest = table::nearest(name.get_ref(), fields.iter().map(|(field, _)| *field));
                let what = format!("there is no key `{}` in [[{key}]]", name.get_ref());
                reading.unknown(what, nearest, table::find(key), self.file.at(name.span().start));
            }
        }
        for field in *required {
            if self.find(field).is_none() {
                let message = format!("every [[{key}]] table needs a `{field}`");
                reading.wrong(key, self.origin.clone(), message);
            }
        }
    }

    /// Reads a field. `range` is that of a number.
    pub(super) fn field<T: Value>(
        &self,
        reading: &mut Reading,
        name: &str,
        range: Option<(u64, u64)>,
    ) -> Field<T> {
        let key = self.shape.key;
        let Some((place, value)) = self.find(name) else { return Field::Missing };
        let given = given(Spanned::get_ref(value));
        let is_in_range = |value: &T| match (value.number(), range) {
            (Some(number), Some((min, max))) => (min..=max).contains(&number),
            _ => true,
        };
        if let Some(value) = T::read(&given).filter(is_in_range) {
            return Field::Read(value);
        }
        let not = if T::KIND.holds_secrets() { String::new() } else { format!(", not {}", given.show()) };
        let message = format!("`{name}` of [[{key}]] must be {}{not}", T::KIND.wanted(key, range));
        reading.wrong(key, self.file.at(place.span().start), message);
        Field::Wrong
    }

    fn find(&self, name: &str) -> Option<(&Spanned<toml::de::DeString<'_>>, &Spanned<DeValue<'_>>)> {
        self.table.iter().find(|(key, _)| key.get_ref() == name)
    }
}

impl<T> Field<T> {
    pub(super) fn read(self) -> Option<T> {
        match self {
            Self::Read(value) => Some(value),
            Self::Missing | Self::Wrong => None,
        }
    }
}
