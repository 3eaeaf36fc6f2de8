//! Whom an event is for.

use super::Stay;

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

/// Where a socket can be reached, for whoever asks later which events were meant for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Address<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) sid: &'a str,
    pub(crate) user: Option<&'a str>,
    pub(crate) stay: &'a Stay,
}

impl Target {
    /// Whether an event of this target at `position` was meant for a socket.
    pub(crate) fn covers(&self, address: &Address<'_>, position: u64) -> bool {
        let Address { namespace, sid, user, stay } = *address;
        if self.namespace != namespace {
            return false;
        }
        let was_here = position > stay.since;
        let was_in = |name: &String| {
            stay.visits.iter().any(|visit| {
                visit.room == *name
                    && position > visit.since
                    && visit.until.is_none_or(|until| position <= until)
            })
        };
        let is_user = || self.users.iter().any(|name| user == Some(name) || sid == name);
        let is_named = (was_here && (self.everyone || is_user())) || self.rooms.iter().any(was_in);
        is_named && !self.except.iter().any(|name| sid == name || was_in(name))
    }

    /// Bytes of its texts.
    pub(crate) fn bytes(&self) -> usize {
        let lists = [&self.rooms, &self.users, &self.except];
        self.namespace.len() + lists.iter().flat_map(|list| list.iter()).map(String::len).sum::<usize>()
    }
}
