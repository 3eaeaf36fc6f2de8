//! What a publisher or a socket may do: which event names and namespaces there are, and whose web
//! pages may connect.

mod events;
mod origins;
mod pattern;

#[cfg(test)]
pub(crate) use events::EVENT_CHARS_MAX;
pub(crate) use events::{EventNames, NameRefused};
pub(crate) use origins::{Cors, Origins};
pub use pattern::{PATTERN_BYTES_MAX, Pattern, PatternError, Patterns};
