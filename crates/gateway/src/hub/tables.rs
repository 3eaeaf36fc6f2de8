//! Sockets, rooms and users of one shard.
//!
//! A room is a list of members and a socket a list of memberships; each knows its place in the
//! other, so that joining and leaving cost the same in a room of ten and of ten thousand.

use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use idae_socket_protocol::Sid;
use slab::Slab;

use super::{Outbox, Target, TooManyRooms};

/// What a socket brings into the hub.
pub(crate) struct Entry {
    pub(crate) sid: Sid,
    pub(crate) namespace: String,
    /// The user whose events it gets. An address of its own, not a room.
    pub(crate) user: Option<String>,
    pub(crate) outbox: Arc<Outbox>,
}

#[derive(Default)]
pub(super) struct Tables {
    sockets: Slab<Socket>,
    by_sid: HashMap<Sid, u32>,
    groups: Slab<Group>,
    namespaces: HashMap<Box<str>, Namespace>,
    lives: u64,
    marks: Marks,
}

struct Socket {
    sid: Sid,
    life: u64,
    namespace: Box<str>,
    memberships: Vec<Membership>,
}

#[derive(Clone, Copy)]
struct Membership {
    group: u32,
    position: u32,
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
    outbox: Arc<Outbox>,
}

impl Tables {
    pub(super) fn enter(&mut self, entry: Entry) -> (u32, u64) {
        let Entry { sid, namespace, user, outbox } = entry;
        self.lives += 1;
        let life = self.lives;
        let socket = Socket { sid, life, namespace: namespace.into(), memberships: Vec::new() };
        let index = self.sockets.insert(socket) as u32;
        self.by_sid.insert(sid, index);
        self.add(index, Space::Everyone, "", &outbox);
        if let Some(user) = user {
            self.add(index, Space::User, &user, &outbox);
        }
        (index, life)
    }

    pub(super) fn leave(&mut self, index: u32, life: u64) {
        if self.socket(index, life).is_none() {
            return;
        }
        let socket = self.sockets.remove(index as usize);
        self.by_sid.remove(&socket.sid);
        // The namespace's own group goes last, because the namespace goes with it.
        for membership in socket.memberships.iter().rev() {
            self.remove_member(&socket.namespace, *membership);
        }
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
        let Some(outbox) = self.outbox(socket) else { return Ok(()) };
        for room in wanted {
            self.add(index, Space::Room, room, &outbox);
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
        for membership in parted {
            self.remove_member(&namespace, membership);
        }
    }

    /// Gives the socket to another user, or to nobody.
    pub(super) fn set_user(&mut self, index: u32, life: u64, user: Option<&str>) {
        let Some(socket) = self.socket(index, life) else { return };
        let Some(outbox) = self.outbox(socket) else { return };
        let namespace = socket.namespace.clone();
        let groups = &self.groups;
        let is_user = |membership: &mut Membership| groups[membership.group as usize].space == Space::User;
        let memberships = &mut self.sockets[index as usize].memberships;
        let former: Vec<Membership> = memberships.extract_if(.., is_user).collect();
        for membership in former {
            self.remove_member(&namespace, membership);
        }
        if let Some(user) = user {
            self.add(index, Space::User, user, &outbox);
        }
    }

    pub(super) fn rooms(&self, index: u32, life: u64) -> Vec<String> {
        let Some(socket) = self.socket(index, life) else { return Vec::new() };
        self.rooms_of(socket).map(str::to_owned).collect()
    }

    /// Appends the outbox of every socket of the target, each once.
    pub(super) fn collect(&mut self, target: &Target, into: &mut Vec<Arc<Outbox>>) {
        self.visit(target, |_, outbox| into.push(Arc::clone(outbox)));
    }

    /// The ids of the sockets of the target.
    pub(super) fn sids(&mut self, target: &Target) -> Vec<Sid> {
        let mut indexes = Vec::new();
        self.visit(target, |index, _| indexes.push(index));
        indexes.into_iter().map(|index| self.sockets[index as usize].sid).collect()
    }

    /// Calls `each` for every socket of the target, once.
    fn visit(&mut self, target: &Target, mut each: impl FnMut(u32, &Arc<Outbox>)) {
        let Some(namespace) = self.namespaces.get(target.namespace.as_str()) else { return };
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
                    each(member.socket, &member.outbox);
                }
            }
        }
        for (socket, position) in singles {
            if self.marks.mark(socket) {
                each(socket, &everybody[position as usize].outbox);
            }
        }
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

    /// The socket's outbox, which the group of its namespace holds.
    fn outbox(&self, socket: &Socket) -> Option<Arc<Outbox>> {
        let membership = socket.memberships.first()?;
        let member = &self.groups.get(membership.group as usize)?.members[membership.position as usize];
        Some(Arc::clone(&member.outbox))
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

    fn add(&mut self, index: u32, space: Space, name: &str, outbox: &Arc<Outbox>) {
        let group = self.group(index, space, name);
        let members = &mut self.groups[group as usize].members;
        let position = members.len() as u32;
        members.push(Member { socket: index, outbox: Arc::clone(outbox) });
        self.sockets[index as usize].memberships.push(Membership { group, position });
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
        let Membership { group: group_index, position } = membership;
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
