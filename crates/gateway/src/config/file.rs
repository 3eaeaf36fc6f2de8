//! The TOML file: which line says what.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::Origin;
use super::reading::Reading;
use super::table::{self, SECTIONS};
use super::value::Given;
use super::{forward, keys};

/// The file that is being read.
pub(super) struct File<'a> {
    path: &'a str,
    text: &'a str,
}

impl File<'_> {
    /// Where in the file a byte stands.
    pub(super) fn at(&self, byte: usize) -> Origin {
        let before = self.text.as_bytes().get(..byte).unwrap_or(self.text.as_bytes());
        let line = 1 + memchr::memchr_iter(b'\n', before).count();
        Origin::File { path: self.path.to_owned(), line }
    }
}

pub(super) fn read(reading: &mut Reading, path: &str, text: &str) {
    // Windows editors put one in front; TOML does not know it.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let file = File { path, text };
    let (table, errors) = DeTable::parse_recoverable(text);
    // What the parser guesses behind a syntax error would only add false accusations.
    if errors.is_empty() {
        read_table(reading, &file, "", table.get_ref());
    }
    for error in errors {
        let origin = file.at(error.span().map_or(0, |span| span.start));
        // Only the message: the whole error quotes the line, and that may hold a secret.
        reading.syntax(origin, format!("this is not TOML: {}", error.message()));
    }
}

fn read_table(reading: &mut Reading, file: &File<'_>, prefix: &str, table: &DeTable<'_>) {
    for (name, value) in table {
        let key = format!("{prefix}{}", name.get_ref());
        let origin = file.at(name.span().start);
        if let Some(setting) = table::find(&key) {
            match value.get_ref() {
                DeValue::Array(tables) if setting.key == "publish.keys" => {
                    keys::read(reading, file, &origin, tables);
                }
                DeValue::Array(tables) if setting.key == "forward" => {
                    forward::read(reading, file, &origin, tables);
                }
                value => reading.set(setting, &given(value), origin),
            }
        } else if is_section(&key) {
            match value.get_ref() {
                DeValue::Table(inner) => read_table(reading, file, &format!("{key}."), inner),
                _ => reading.unknown(
                    format!("`{key}` is a table: write [{key}] and its keys below"),
                    None,
                    None,
                    origin,
                ),
            }
        } else {
            reading.unknown_key(&key, origin);
        }
    }
}

fn is_section(key: &str) -> bool {
    SECTIONS.iter().any(|section| section.name == key)
}

/// The value without its place.
pub(super) fn given(value: &DeValue<'_>) -> Given {
    match value {
        DeValue::String(text) => Given::String(text.clone().into_owned()),
        DeValue::Integer(number) => match i128::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => Given::Number(number),
            Err(_) => Given::Other("a number beyond all limits"),
        },
        DeValue::Boolean(flag) => Given::Bool(*flag),
        DeValue::Array(entries) => Given::List(entries.iter().map(Spanned::get_ref).map(given).collect()),
        DeValue::Float(_) => Given::Other("a number with a fraction"),
        DeValue::Datetime(_) => Given::Other("a date"),
        DeValue::Table(_) => Given::Other("a table"),
    }
}
