//! What a publisher or a socket may do: which event names there are, who may enter which namespace and
//! room, whose web pages may connect, and whose word is believed about where a request comes from.

mod events;
mod origins;
mod own_page;
mod pattern;
mod proxies;
mod rooms;
mod template;

#[cfg(test)]
pub(crate) use events::EVENT_CHARS_MAX;
pub(crate) use events::{EventNames, NameRefused};
pub(crate) use origins::{Cors, Grant, Origins};
pub(crate) use own_page::{OwnPage, SEC_FETCH_SITE};
pub use pattern::{PATTERN_BYTES_MAX, Pattern, PatternError, Patterns};
pub(crate) use proxies::Proxies;
pub(crate) use rooms::{Grants, Namespaces, RoomRules};
pub(crate) use template::{Template, TemplateError};
