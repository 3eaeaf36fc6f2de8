//! Sockets, rooms and users of one shard.
//!
//! A room is a list of members and a socket a list of memberships; each knows its place in the
//! other, so that joining and leaving cost the same in a room of ten and of ten thousand.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use idae_socket_protocol::Sid;
use slab::Slab;

use super::{Event, Outbox, Shape, Target, TooManyRooms};

/// What a socket brings into the hub.
pub(crate) struct Entry {
    pub(crate) sid: Sid,
    pub(crate) namespace: String,
    /// The user whose events it gets. An address of its own, not a room.
    pub(crate) user: Option<String>,
    pub(crate) outbox: Arc<Outbox>,
    /// How it wants its events.
    pub(crate) shape: Shape,
}

/// What a socket leaves behind, and what it brings along when it comes back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stay {
    /// The position of the last event before it came.
    pub(crate) since: u64,
    /// The rooms it is in, and some that it has left.
    pub(crate) visits: Vec<Visit>,
}

/// A socket's time in a room: it was there for the events behind `since`, up to `until`.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) room: String,
    pub(crate) since: u64,
    /// `None`: it is still there.
    pub(crate) until: Option<u64>,
}

/// Rooms that a socket has left and is remembered for. Only what is in flight to it when its connection is lost
/// is decided by them, so a few are enough.
const LEFT_ROOMS_MAX: usize = 32;

#[derive(Default)]
pub(super) struct Tables {
    sockets: Slab<Socket>,
    by_sid: HashMap<Sid, u32>,
    groups: Slab<Group>,
    namespaces: HashMap<Box<str>, Namespace>,
    lives: u64,
    marks: Marks,
    /// The position of the last event that was fanned out here.
    position: u64,
}

struct Socket {
    sid: Sid,
    life: u64,
    namespace: Box<str>,
    memberships: Vec<Membership>,
    /// Boxed, because most sockets leave no room.
    #[allow(clippy::box_collection, reason = "eight bytes for all sockets instead of twenty-four")]
    left: Option<Box<Vec<Visit>>>,
}

#[derive(Clone, Copy)]
struct Membership {
    group: u32,
    position: u32,
    /// The position of the last event that it was too late for.
    since: u64,
}

#[derive(Default)]
struct Namespace {
    /// Every socket of the namespace; there is one as long as the namespace is here.
    everyone: u32,
    rooms: HashMap<Arc<str>, u32>,
    users: HashMap<Arc<str>, u32>,
}

/// The sockets behind one address.
struct Group {
    space: Space,
    name: Arc<str>,
    members: Vec<Member>,
}

/// The spaces of addresses. Equal names in two of them have nothing to do with each other.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Space {
    Everyone,
    Room,
    User,
}

struct Member {
    socket: u32,
    /// Here too, so that a fan-out reads one list and not ten thousand sockets.
    shape: Shape,
    outbox: Arc<Outbox>,
}

/// Groups that a socket is in at least, as a rule: everyone and one room.
const MEMBERSHIPS_COMMON: usize = 2;

/// A socket that an event is for.
pub(super) struct Receiver {
    pub(super) outbox: Arc<Outbox>,
    pub(super) shape: Shape,
}

impl Tables {
    pub(super) fn enter(&mut self, entry: Entry) -> (u32, u64) {
        self.enter_since(entry, self.position)
    }

    /// A socket comes back to where it was. What it still has to get before anything else it gets from
    /// `catch_up`, which learns the position of the last event that was fanned out without it.
    pub(super) fn come_back(
        &mut self,
        entry: Entry,
        stay: &Stay,
        catch_up: impl FnOnce(u64) -> bool,
    ) -> Option<(u32, u64)> {
        if !catch_up(self.position) {
            return None;
        }
        let (outbox, shape) = (Arc::clone(&entry.outbox), entry.shape);
        let (index, life) = self.enter_since(entry, stay.since);
        for Visit { room, since, .. } in stay.visits.iter().filter(|visit| visit.until.is_none()) {
            self.add(index, Space::Room, room, Receiver { outbox: Arc::clone(&outbox), shape }, *since);
        }
        let left: Vec<Visit> = stay.visits.iter().filter(|visit| visit.until.is_some()).cloned().collect();
        if !left.is_empty() {
            self.sockets[index as usize].left = Some(Box::new(left));
        }
        Some((index, life))
    }

    fn enter_since(&mut self, entry: Entry, since: u64) -> (u32, u64) {
        let Entry { sid, namespace, user, outbox, shape } = entry;
        self.lives += 1;
        let life = self.lives;
        let memberships = Vec::with_capacity(MEMBERSHIPS_COMMON);
        let socket = Socket { sid, life, namespace: namespace.into(), memberships, left: None };
        let index = self.sockets.insert(socket) as u32;
        self.by_sid.insert(sid, index);
        self.add(index, Space::Everyone, "", Receiver { outbox: Arc::clone(&outbox), shape }, since);
        if let Some(user) = user {
            self.add(index, Space::User, &user, Receiver { outbox, shape }, since);
        }
        (index, life)
    }

    /// Takes a socket out. Returns where it was, if it was here.
    pub(super) fn leave(&mut self, index: u32, life: u64) -> Option<Stay> {
        self.socket(index, life)?;
        let socket = self.sockets.remove(index as usize);
        // Another socket of this id may have come in between.
        if self.by_sid.get(&socket.sid) == Some(&index) {
            self.by_sid.remove(&socket.sid);
        }
        let mut stay = Stay { since: 0, visits: socket.left.map(|left| *left).unwrap_or_default() };
        for membership in &socket.memberships {
            let group = &self.groups[membership.group as usize];
            match group.space {
                Space::Everyone => stay.since = membership.since,
                Space::Room => {
                    let (room, since) = (group.name.to_string(), membership.since);
                    stay.visits.push(Visit { room, since, until: None });
                }
                Space::User => {}
            }
        }
        // The namespace's own group goes last, because the namespace goes with it.
        for membership in socket.memberships.iter().rev() {
            self.remove_member(&socket.namespace, *membership);
        }
        Some(stay)
    }

    pub(super) fn join<R: AsRef<str>>(
        &mut self,
        index: u32,
        life: u64,
        rooms: &[R],
        rooms_max: usize,
    ) -> Result<(), TooManyRooms> {
        let Some(socket) = self.socket(index, life) else { return Ok(()) };
        let joined = self.groups_of(socket);
        let mut wanted = Vec::new();
        let mut seen = HashSet::new();
        for room in rooms.iter().map(AsRef::as_ref) {
            let is_member = self.room(socket, room).is_some_and(|group| joined.contains(&group));
            if seen.insert(room) && !is_member {
                wanted.push(room);
            }
        }
        if self.rooms_of(socket).count() + wanted.len() > rooms_max {
            return Err(TooManyRooms);
        }
        let Some(receiver) = self.receiver(socket) else { return Ok(()) };
        let since = self.position;
        for room in wanted {
            let receiver = Receiver { outbox: Arc::clone(&receiver.outbox), shape: receiver.shape };
            self.add(index, Space::Room, room, receiver, since);
        }
        Ok(())
    }

    pub(super) fn part<R: AsRef<str>>(&mut self, index: u32, life: u64, rooms: &[R]) {
        let Some(socket) = self.socket(index, life) else { return };
        let left: HashSet<u32> = rooms.iter().filter_map(|room| self.room(socket, room.as_ref())).collect();
        let namespace = socket.namespace.clone();
        let memberships = &mut self.sockets[index as usize].memberships;
        let parted: Vec<Membership> =
            memberships.extract_if(.., |membership| left.contains(&membership.group)).collect();
        let visits: Vec<Visit> = parted
            .iter()
            .map(|membership| Visit {
                room: self.groups[membership.group as usize].name.to_string(),
                since: membership.since,
                until: Some(self.position),
            })
            .collect();
        for membership in parted {
            self.remove_member(&namespace, membership);
        }
        if self.position > 0 && !visits.is_empty() {
            let left = self.sockets[index as usize].left.get_or_insert_default();
            left.extend(visits);
            let too_many = left.len().saturating_sub(LEFT_ROOMS_MAX);
            left.drain(..too_many);
        }
    }

    /// Gives the socket to another user, or to nobody.
    pub(super) fn set_user(&mut self, index: u32, life: u64, user: Option<&str>) {
        let Some(socket) = self.socket(index, life) else { return };
        let Some(receiver) = self.receiver(socket) else { return };
        let namespace = socket.namespace.clone();
        let groups = &self.groups;
        let is_user = |membership: &mut Membership| groups[membership.group as usize].space == Space::User;
        let memberships = &mut self.sockets[index as usize].memberships;
        let former: Vec<Membership> = memberships.extract_if(.., is_user).collect();
        for membership in former {
            self.remove_member(&namespace, membership);
        }
        if let Some(user) = user {
            self.add(index, Space::User, user, receiver, self.position);
        }
    }

    pub(super) fn rooms(&self, index: u32, life: u64) -> Vec<String> {
        let Some(socket) = self.socket(index, life) else { return Vec::new() };
        self.rooms_of(socket).map(str::to_owned).collect()
    }

    /// Appends every socket that an event is for, each once. From here on the event counts as fanned out:
    /// who comes later was too late for it.
    pub(super) fn collect(&mut self, event: &Event, into: &mut Vec<Receiver>) {
        self.position = self.position.max(event.position);
        self.visit(&event.target, |member| {
            into.push(Receiver { outbox: Arc::clone(&member.outbox), shape: member.shape });
        });
    }

    /// The ids of the sockets of the target.
    pub(super) fn sids(&mut self, target: &Target) -> Vec<Sid> {
        let mut indexes = Vec::new();
        self.visit(target, |member| indexes.push(member.socket));
        indexes.into_iter().map(|index| self.sockets[index as usize].sid).collect()
    }

    /// Calls `each` for every socket of the target, once.
    fn visit(&mut self, target: &Target, mut each: impl FnMut(&Member)) {
        let Some(namespace) = self.namespaces.get(&*target.namespace) else { return };
        let groups = &self.groups;
        let rooms = target.rooms.iter().filter_map(|room| namespace.rooms.get(room.as_str()));
        let users = target.users.iter().filter_map(|user| namespace.users.get(user.as_str()));
        let everyone = target.everyone.then_some(&namespace.everyone);
        // Socket ids, which `users` accepts besides user ids.
        let single = |sid: &String| {
            let index = *self.by_sid.get(&Sid::parse(sid)?)?;
            let socket = self.sockets.get(index as usize)?;
            (*socket.namespace == *target.namespace).then_some((index, socket.memberships.first()?.position))
        };
        let everybody = &groups[namespace.everyone as usize].members;

        self.marks.start(self.sockets.capacity());
        for except in &target.except {
            if let Some(group) = namespace.rooms.get(except.as_str()) {
                groups[*group as usize].members.iter().for_each(|member| {
                    self.marks.mark(member.socket);
                });
            }
            if let Some((socket, _)) = single(except) {
                self.marks.mark(socket);
            }
        }
        let mut sources = everyone.into_iter().chain(rooms).chain(users);
        let singles = target.users.iter().filter_map(single);
        for group in &mut sources {
            for member in &groups[*group as usize].members {
                if self.marks.mark(member.socket) {
                    each(member);
                }
            }
        }
        for (socket, position) in singles {
            if self.marks.mark(socket) {
                each(&everybody[position as usize]);
            }
        }
    }

    pub(super) const fn position(&self) -> u64 {
        self.position
    }

    /// How many sockets and rooms there are.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.sockets.len(), self.namespaces.values().map(|namespace| namespace.rooms.len()).sum())
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.sockets.is_empty()
            && self.by_sid.is_empty()
            && self.groups.is_empty()
            && self.namespaces.is_empty()
    }

    fn socket(&self, index: u32, life: u64) -> Option<&Socket> {
        self.sockets.get(index as usize).filter(|socket| socket.life == life)
    }

    /// The way to a socket, which the group of its namespace holds.
    fn receiver(&self, socket: &Socket) -> Option<Receiver> {
        let membership = socket.memberships.first()?;
        let member = &self.groups.get(membership.group as usize)?.members[membership.position as usize];
        Some(Receiver { outbox: Arc::clone(&member.outbox), shape: member.shape })
    }

    fn rooms_of<'a>(&'a self, socket: &'a Socket) -> impl Iterator<Item = &'a str> {
        let groups = socket.memberships.iter().map(|membership| &self.groups[membership.group as usize]);
        groups.filter(|group| group.space == Space::Room).map(|group| &*group.name)
    }

    /// The group of a room in the socket's namespace.
    fn room(&self, socket: &Socket, room: &str) -> Option<u32> {
        self.namespaces.get(&socket.namespace)?.rooms.get(room).copied()
    }

    fn groups_of(&self, socket: &Socket) -> HashSet<u32> {
        socket.memberships.iter().map(|membership| membership.group).collect()
    }

    fn add(&mut self, index: u32, space: Space, name: &str, receiver: Receiver, since: u64) {
        let group = self.group(index, space, name);
        let members = &mut self.groups[group as usize].members;
        let position = members.len() as u32;
        let Receiver { outbox, shape } = receiver;
        if members.is_empty() {
            // The rooms of a single user or socket are many, and stay with one place instead of four.
            members.reserve_exact(1);
        }
        members.push(Member { socket: index, shape, outbox });
        self.sockets[index as usize].memberships.push(Membership { group, position, since });
    }

    /// The group of an address, made if this is its first member.
    fn group(&mut self, index: u32, space: Space, name: &str) -> u32 {
        let namespace_name = &self.sockets[index as usize].namespace;
        let groups = &mut self.groups;
        let mut make = |space, name: &Arc<str>| {
            groups.insert(Group { space, name: Arc::clone(name), members: Vec::new() }) as u32
        };
        if !self.namespaces.contains_key(namespace_name) {
            let everyone = make(Space::Everyone, &Arc::from(""));
            let namespace = Namespace { everyone, ..Namespace::default() };
            self.namespaces.insert(namespace_name.clone(), namespace);
        }
        let Some(namespace) = self.namespaces.get_mut(namespace_name) else { unreachable!("made above") };
        let names = match space {
            Space::Everyone => return namespace.everyone,
            Space::Room => &mut namespace.rooms,
            Space::User => &mut namespace.users,
        };
        if let Some(group) = names.get(name) {
            return *group;
        }
        let name = Arc::from(name);
        let group = make(space, &name);
        names.insert(name, group);
        group
    }

    /// Takes one member out of a group; the last member of the list moves to its place.
    fn remove_member(&mut self, namespace: &str, membership: Membership) {
        let Membership { group: group_index, position, .. } = membership;
        let group = &mut self.groups[group_index as usize];
        group.members.swap_remove(position as usize);
        if let Some(moved) = group.members.get(position as usize) {
            let memberships = &mut self.sockets[moved.socket as usize].memberships;
            if let Some(theirs) = memberships.iter_mut().find(|theirs| theirs.group == group_index) {
                theirs.position = position;
            }
        }
        if !group.members.is_empty() {
            if group.members.capacity() > 4 * group.members.len().max(8) {
                group.members.shrink_to(2 * group.members.len());
            }
            return;
        }
        let group = self.groups.remove(group_index as usize);
        match (group.space, self.namespaces.get_mut(namespace)) {
            (Space::Everyone, _) => drop(self.namespaces.remove(namespace)),
            (Space::Room, Some(namespace)) => drop(namespace.rooms.remove(&group.name)),
            (Space::User, Some(namespace)) => drop(namespace.users.remove(&group.name)),
            (_, None) => {}
        }
    }
}

/// A set of sockets that is emptied in no time: a mark counts only in its own round.
#[derive(Default)]
struct Marks {
    round: u32,
    rounds: Vec<u32>,
}

impl Marks {
    fn start(&mut self, sockets: usize) {
        self.round = self.round.wrapping_add(1);
        if self.round == 0 || self.rounds.len() < sockets {
            // After four thousand million rounds old marks would look like new ones.
            self.rounds.clear();
            self.rounds.resize(sockets, 0);
            self.round = 1;
        }
    }

    /// Whether the socket was not marked yet.
    fn mark(&mut self, socket: u32) -> bool {
        std::mem::replace(&mut self.rounds[socket as usize], self.round) != self.round
    }
}
