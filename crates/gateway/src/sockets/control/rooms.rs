//! Rooms on request: `subscribe`, `unsubscribe` and `grantIn`.
//!
//! Rules decide at once. What they leave open is asked of the backend, and the client's other requests of this
//! kind wait meanwhile, so that they take effect in their order.
//!
//! Invariants
//! * One client has at most [`ASKING_MAX`] questions at the backend, so that others get their turns beside it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use idae_socket_protocol::socketio::Args;
use serde::Deserialize;
use tokio::task::JoinSet;

use super::super::Sockets;
use super::super::client::Client;
use super::{Answer, Reply};
use crate::auth::Identity;
use crate::backend::{Authorization, Authorizer};
use crate::hub::TooManyRooms;
use crate::rules::Grants;

/// Questions of one client that are asked at the same time. What a client asks for is judged one after the other, so
/// it is enough to count them here.
const ASKING_MAX: usize = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Join,
    Part,
}

/// Why a change was refused: a code, and words for the client's developer.
type Refused = (&'static str, String);

/// `subscribe` and `unsubscribe`: all of the rooms, or none and an error.
pub(super) fn change(sockets: &Arc<Sockets>, client: &Arc<Client>, args: &Args<'_>, change: Change) -> Reply {
    let rooms = match rooms_of(sockets, args) {
        Ok(rooms) => rooms,
        Err(refused) => return Reply::Ready(answer(sockets, client, Err(refused))),
    };
    request(sockets, client, rooms, change, answer)
}

/// `grantIn {ROLE, host}`: the room of a role and the room of a host. True if the socket is in all
/// that were named.
pub(super) fn grant_in(sockets: &Arc<Sockets>, client: &Arc<Client>, args: &Args<'_>) -> Reply {
    match granted_rooms(sockets, client, args) {
        Ok(rooms) => request(sockets, client, rooms, Change::Join, granted),
        Err(refused) => Reply::Ready(granted(sockets, client, Err(refused))),
    }
}

fn granted(sockets: &Sockets, client: &Client, changed: Result<Vec<String>, Refused>) -> Answer {
    Answer::Granted(match changed {
        Ok(_) => "true",
        Err(refused) => {
            report(sockets, client, &refused);
            "false"
        }
    })
}

/// Makes a change as soon as it is decided and the changes before it are made.
fn request(
    sockets: &Arc<Sockets>,
    client: &Arc<Client>,
    rooms: Vec<String>,
    change: Change,
    answer: fn(&Sockets, &Client, Result<Vec<String>, Refused>) -> Answer,
) -> Reply {
    if sockets.authorizer.is_none() {
        return Reply::Ready(answer(sockets, client, by_rules(sockets, client, rooms, change)));
    }
    let (sockets, client) = (Arc::clone(sockets), Arc::clone(client));
    Reply::later(async move {
        let turns = client.turns();
        let _turn = turns.rooms.lock().await;
        let allowed = match change {
            Change::Join => allow(&sockets, &client, &rooms).await,
            Change::Part => Ok(()),
        };
        let changed = allowed.and_then(|()| apply(&sockets, &client, rooms, change));
        answer(&sockets, &client, changed)
    })
}

/// Makes a change that the rules alone decide.
fn by_rules(
    sockets: &Sockets,
    client: &Client,
    rooms: Vec<String>,
    change: Change,
) -> Result<Vec<String>, Refused> {
    let identity = client.identity();
    let decide = |identity: &Identity| {
        let grants = grants(sockets, identity);
        match rooms.iter().find(|room| change == Change::Join && !grants.allow(room)) {
            Some(room) => Err(forbidden(room)),
            None => Ok(()),
        }
    };
    decide(&identity)?;
    apply(sockets, client, rooms.clone(), change)?;
    // A new token may have come in on another connection of the session in the meantime.
    let current = client.identity();
    if !Arc::ptr_eq(&identity, &current)
        && let Err(refused) = decide(&current)
    {
        sockets.hub.part(client.key, &rooms);
        return Err(refused);
    }
    Ok(rooms)
}

/// Whether a client may join all of these rooms, by rule or by the backend's word.
async fn allow(sockets: &Arc<Sockets>, client: &Client, rooms: &[String]) -> Result<(), Refused> {
    loop {
        let identity = client.identity();
        let verdicts = judge(sockets, &identity, &client.namespace, rooms).await;
        // A verdict on somebody it is no more is none.
        if Arc::ptr_eq(&identity, &client.identity()) {
            return verdicts.into_iter().try_for_each(|(_, verdict)| verdict);
        }
    }
}

/// The rooms somebody may stay in, of those a former identity was in.
pub(in crate::sockets) async fn allowed_rooms(
    sockets: &Arc<Sockets>,
    identity: &Arc<Identity>,
    namespace: &str,
    rooms: Vec<String>,
) -> Vec<String> {
    let verdicts = judge(sockets, identity, namespace, &rooms).await;
    let allowed = verdicts.into_iter().filter(|(_, verdict)| verdict.is_ok());
    allowed.map(|(room, _)| room).collect()
}

/// Whether somebody may join each of some rooms. A few questions are asked at a time, and none is begun any more when
/// the first has had its whole time: whoever waits for an answer gets one.
async fn judge(
    sockets: &Arc<Sockets>,
    identity: &Arc<Identity>,
    namespace: &str,
    rooms: &[String],
) -> Vec<(String, Result<(), Refused>)> {
    let mut verdicts = Vec::with_capacity(rooms.len());
    let mut asking = JoinSet::new();
    let mut open = Vec::new();
    {
        let grants = grants(sockets, identity);
        for room in rooms {
            match grants.allow(room) {
                true => verdicts.push((room.clone(), Ok(()))),
                false => open.push(room.clone()),
            }
        }
    }
    let begin = Instant::now();
    let time_max = sockets.authorizer.as_ref().map_or(Duration::MAX, Authorizer::time_max);
    let mut open = open.into_iter();
    loop {
        while asking.len() < ASKING_MAX
            && begin.elapsed() < time_max
            && let Some(room) = open.next()
        {
            let (sockets, identity) = (Arc::clone(sockets), Arc::clone(identity));
            let namespace = namespace.to_owned();
            asking.spawn(async move {
                let verdict = ask(&sockets, &identity, &namespace, &room).await;
                (room, verdict)
            });
        }
        let Some(verdict) = asking.join_next().await else { break };
        // A question that panicked is no yes: its room is not among the verdicts, so it is not allowed.
        verdicts.extend(verdict.ok());
    }
    if open.len() > 0 {
        sockets.metrics.limit("authorize_timeout_ms");
        tracing::warn!(
            rooms = rooms.len(),
            unasked = open.len(),
            "the backend of rooms.authorize_url is too slow for so many rooms at once"
        );
    }
    verdicts.extend(open.map(|room| {
        let unavailable = unavailable(&room);
        (room, Err(unavailable))
    }));
    let missing = rooms.len() - verdicts.len();
    verdicts.extend((0..missing).map(|_| (String::new(), Err(("authorize_unavailable", String::new())))));
    verdicts
}

/// The backend's word on a room that no rule opens.
async fn ask(
    sockets: &Sockets,
    identity: &Arc<Identity>,
    namespace: &str,
    room: &str,
) -> Result<(), Refused> {
    let authorization = match &sockets.authorizer {
        // Somebody who was let in without proof gets what is open to everybody, and no more.
        Some(authorizer) if !sockets.auth.is_anonymous(identity) => {
            authorizer.authorize(identity, room, namespace).await
        }
        _ => return Err(forbidden(room)),
    };
    match authorization {
        Authorization::Granted => Ok(()),
        Authorization::Denied => Err((
            "room_forbidden",
            format!(
                "you may not join `{room}`: no rule (rooms.join) opens it, and the backend (rooms.authorize_url) refuses"
            ),
        )),
        Authorization::Unavailable => Err(unavailable(room)),
    }
}

fn unavailable(room: &str) -> Refused {
    let detail = format!("who may join `{room}` cannot be asked at this moment; try again in a moment");
    ("authorize_unavailable", detail)
}

/// The rules as they are for somebody.
pub(super) fn grants<'a>(sockets: &Sockets, identity: &'a Identity) -> Grants<'a> {
    sockets.settings.rooms.grants(identity.roles(), &|claim| identity.claim(claim))
}

fn forbidden(room: &str) -> Refused {
    (
        "room_forbidden",
        format!("you may not join `{room}`: it is none of your roles, and no rule (rooms.join) opens it"),
    )
}

fn apply(
    sockets: &Sockets,
    client: &Client,
    rooms: Vec<String>,
    change: Change,
) -> Result<Vec<String>, Refused> {
    match change {
        Change::Join => sockets.hub.join(client.key, &rooms).map_err(|TooManyRooms| too_many(sockets))?,
        Change::Part => sockets.hub.part(client.key, &rooms),
    }
    Ok(rooms)
}

fn too_many(sockets: &Sockets) -> Refused {
    ("too_many_rooms", format!("a socket may be in {} rooms", sockets.hub.limits().rooms_max))
}

fn answer(sockets: &Sockets, client: &Client, changed: Result<Vec<String>, Refused>) -> Answer {
    match changed {
        Ok(rooms) => Answer::Rooms { status: "ok", rooms },
        Err(refused) => {
            report(sockets, client, &refused);
            let (code, detail) = refused;
            Answer::error(code, Some(detail))
        }
    }
}

/// Counts and logs that a change was refused.
fn report(sockets: &Sockets, client: &Client, (code, detail): &Refused) {
    sockets.metrics.refused(code);
    match *code {
        "too_many_rooms" => sockets.metrics.limit("rooms_max"),
        "room_too_long" => sockets.metrics.limit("room_bytes_max"),
        _ => {}
    }
    let remote = client.session().map(|session| session.handshake.address());
    tracing::info!(remote = remote.map(tracing::field::display), sid = %client.sid, code, detail, "a change of rooms was refused");
}

/// The rooms that `grantIn` asks for, if they can be asked for.
fn granted_rooms(sockets: &Sockets, client: &Client, args: &Args<'_>) -> Result<Vec<String>, Refused> {
    let invalid = |detail: &str| ("invalid_room", detail.to_owned());
    // A map and not a struct, which would also be read from an array.
    let grant = args.first::<serde_json::Map<String, serde_json::Value>>();
    let mut grant = grant.map_err(|_| invalid("grantIn takes an object {ROLE, host}"))?;
    let mut rooms = Vec::new();
    for key in ["ROLE", "host"] {
        match grant.remove(key) {
            Some(serde_json::Value::String(room)) => {
                let is_role = !sockets.auth.is_on() || client.identity().roles().contains(&room);
                if key == "ROLE" && !is_role {
                    return Err(forbidden(&room));
                }
                rooms.push(room);
            }
            None | Some(serde_json::Value::Null) => {}
            Some(_) => return Err(invalid("ROLE and host are strings")),
        }
    }
    if rooms.is_empty() {
        return Err(invalid("neither ROLE nor host is named"));
    }
    rooms.iter().try_for_each(|room| check_room(sockets, room))?;
    Ok(rooms)
}

/// The rooms of an event's first argument, a name or a list of names.
fn rooms_of(sockets: &Sockets, args: &Args<'_>) -> Result<Vec<String>, (&'static str, String)> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    let rooms = match args.first() {
        Ok(OneOrMany::One(room)) => vec![room],
        Ok(OneOrMany::Many(rooms)) => rooms,
        Err(_) => return Err(("invalid_room", "name one room, or an array of rooms, as strings".to_owned())),
    };
    if rooms.is_empty() {
        return Err(("invalid_room", "the array names no room".to_owned()));
    }
    let rooms_max = sockets.hub.limits().rooms_max;
    if rooms.len() > rooms_max {
        return Err(("too_many_rooms", format!("a socket may be in {rooms_max} rooms")));
    }
    for room in &rooms {
        check_room(sockets, room)?;
    }
    Ok(rooms)
}

fn check_room(sockets: &Sockets, room: &str) -> Result<(), (&'static str, String)> {
    let bytes_max = sockets.settings.room_bytes_max;
    if room.is_empty() {
        Err(("invalid_room", "a room's name is empty".to_owned()))
    } else if room.len() > bytes_max {
        Err(("room_too_long", format!("a room's name may have {bytes_max} bytes")))
    } else {
        Ok(())
    }
}
