//! Whom an event is for.

/// A union of addresses in one namespace, less exceptions. Rooms, users and socket ids are three
/// spaces: a room called `42` is not user 42.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Target {
    pub(crate) namespace: String,
    pub(crate) rooms: Vec<String>,
    /// User ids. A socket id is accepted too.
    pub(crate) users: Vec<String>,
    pub(crate) everyone: bool,
    /// Rooms or socket ids.
    pub(crate) except: Vec<String>,
}
