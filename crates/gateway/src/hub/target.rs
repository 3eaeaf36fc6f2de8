//! Whom an event is for.

use std::borrow::Cow;

use hashbrown::HashMap;

use super::{Stay, Visit};

/// A union of addresses in one namespace, less exceptions. Rooms, users and socket ids are three
/// spaces: a room called `42` is not user 42.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Target {
    pub(crate) namespace: Cow<'static, str>,
    pub(crate) rooms: Vec<String>,
    /// User ids. A socket id is accepted too.
    pub(crate) users: Vec<String>,
    pub(crate) everyone: bool,
    /// Rooms or socket ids.
    pub(crate) except: Vec<String>,
}

/// Where a socket could be reached and when, for whoever asks later which events were meant for it.
pub(crate) struct Address<'a> {
    namespace: &'a str,
    sid: &'a str,
    user: Option<&'a str>,
    /// The position of the last event before it came.
    since: u64,
    /// When it was in which room: behind the first position, up to the second.
    visits: HashMap<&'a str, Vec<(u64, u64)>>,
}

impl<'a> Address<'a> {
    pub(crate) fn new(namespace: &'a str, sid: &'a str, user: Option<&'a str>, stay: &'a Stay) -> Self {
        let mut visits: HashMap<&str, Vec<(u64, u64)>> = HashMap::with_capacity(stay.visits.len());
        for Visit { room, since, until } in &stay.visits {
            visits.entry(room).or_default().push((*since, until.unwrap_or(u64::MAX)));
        }
        Self { namespace, sid, user, since: stay.since, visits }
    }

    fn was_in(&self, room: &str, position: u64) -> bool {
        let visits = self.visits.get(room).into_iter().flatten();
        visits.into_iter().any(|(since, until)| position > *since && position <= *until)
    }
}

impl Target {
    /// Whether an event of this target at `position` was meant for a socket.
    pub(crate) fn covers(&self, address: &Address<'_>, position: u64) -> bool {
        if self.namespace != address.namespace {
            return false;
        }
        let is_user = || self.users.iter().any(|name| address.user == Some(name) || address.sid == name);
        let is_named = (position > address.since && (self.everyone || is_user()))
            || self.rooms.iter().any(|room| address.was_in(room, position));
        is_named && !self.except.iter().any(|name| address.sid == name || address.was_in(name, position))
    }

    /// Bytes of its texts.
    pub(crate) fn bytes(&self) -> usize {
        let lists = [&self.rooms, &self.users, &self.except];
        self.namespace.len() + lists.iter().flat_map(|list| list.iter()).map(String::len).sum::<usize>()
    }
}
