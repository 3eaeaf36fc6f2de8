//! The life of a token on a live socket: the warning, the new token, the end.

use std::borrow::Cow;
use std::sync::Arc;

use idae_socket_protocol::socketio::{self, Args};
use serde_json::json;

use super::super::client::{Client, Login};
use super::super::{Sockets, now};
use super::{Answer, Reply, check_namespace, left, role_rooms, rooms};
use crate::auth::{Check, Identity, Refusal, RefusalCode, presented, unix_now};

/// `token:refresh`: a new token of the same user.
pub(super) fn refresh(sockets: &Arc<Sockets>, client: &Arc<Client>, args: &Args<'_>) -> Reply {
    // As in CONNECT: `Bearer ` before the token is dropped.
    let token = match args.first::<String>() {
        Ok(token) => {
            presented(None, Some(&token)).map(|token| token.map(|token| Cow::Owned(token.into_owned())))
        }
        Err(_) => Err(Refusal::new(RefusalCode::TokenMalformed, "the new token must be a string")),
    };
    let check = sockets.auth.check(token);
    let (sockets, client) = (Arc::clone(sockets), Arc::clone(client));
    Reply::later(async move {
        let verdict = match check {
            Check::Done(verdict) => verdict,
            Check::Pending(checking) => checking.await,
        };
        match verdict.and_then(|identity| replace(&sockets, &client, identity)) {
            Ok(Replaced { former, current }) => {
                let rooms_lost = settle(&sockets, &client, &former).await;
                Answer::Refreshed { status: "ok", expires_at: current.valid_until(), rooms_lost }
            }
            Err(refusal) => {
                let (code, reason) = (refusal.code().as_str(), refusal.reason());
                let remote = client.session().map(|session| session.handshake.address());
                sockets.metrics.refused(code);
                tracing::info!(remote = remote.map(tracing::field::display), sid = %client.sid, code, reason, "a new token was refused");
                Answer::error(code, Some(reason.to_owned()))
            }
        }
    })
}

struct Replaced {
    former: Arc<Identity>,
    current: Arc<Identity>,
}

/// Gives the socket another identity, if that may be.
fn replace(sockets: &Sockets, client: &Client, identity: Arc<Identity>) -> Result<Replaced, Refusal> {
    let mut identity = check_namespace(sockets, &client.namespace, identity)?;
    loop {
        let former = client.identity();
        identity = same_user(sockets, &former, identity)?;
        identity = check_rooms(sockets, client, &former, identity)?;
        // Another token may have been faster; then it is that one's identity that this one must fit.
        if log_in(sockets, client, &former, &identity) {
            return Ok(Replaced { former, current: identity });
        }
    }
}

/// From now on it is somebody else, if it still is who it was. Events of the user come to the new one.
fn log_in(sockets: &Sockets, client: &Client, former: &Arc<Identity>, identity: &Arc<Identity>) -> bool {
    if !client.log_in(former, Login::new(Arc::clone(identity), unix_now(), now())) {
        return false;
    }
    if former.user() != identity.user() {
        sockets.hub.set_user(client.key, identity.user());
    }
    if let Some(session) = client.session() {
        session.reset_alarm(sockets);
    }
    true
}

/// A socket never changes hands. With `auth.mode` = `soft` one that belongs to nobody may get an owner.
fn same_user(
    sockets: &Sockets,
    current: &Identity,
    identity: Arc<Identity>,
) -> Result<Arc<Identity>, Refusal> {
    let is_unowned = sockets.auth.is_soft() && current.user().is_none();
    if is_unowned || current.user() == identity.user() {
        return Ok(identity);
    }
    Err(Refusal::new(
        RefusalCode::TokenOtherUser,
        "the new token belongs to another user: connect anew with it",
    ))
}

/// The rooms of the new roles have to fit beside those that the socket has chosen.
fn check_rooms(
    sockets: &Sockets,
    client: &Client,
    current: &Identity,
    identity: Arc<Identity>,
) -> Result<Arc<Identity>, Refusal> {
    let rooms_max = sockets.hub.limits().rooms_max;
    let chosen = sockets.hub.rooms(client.key).into_iter();
    let chosen = chosen.filter(|room| !current.roles().contains(room) && !identity.roles().contains(room));
    if chosen.count() + identity.roles().len() > rooms_max {
        let reason = format!("the rooms of the token's roles and the socket's own are more than {rooms_max}");
        return Err(Refusal::new(RefusalCode::TooManyRooms, reason));
    }
    Ok(identity)
}

/// Puts a socket with a new identity into the rooms of its roles, and takes it out of those it may not be in any more,
/// which are returned.
async fn settle(sockets: &Arc<Sockets>, client: &Arc<Client>, former: &Identity) -> Vec<String> {
    // What a backend is deciding at this moment comes first; its verdict on the former identity does not count.
    let turns = sockets.authorizer.as_ref().map(|_| client.turns());
    let _turn = match &turns {
        Some(turns) => Some(turns.rooms.lock().await),
        None => None,
    };
    let identity = client.identity();
    let is_role = |room: &String| identity.roles().contains(room);
    let (mut lost, in_doubt): (Vec<String>, Vec<String>) = {
        // The rooms of roles that are gone go, unless a rule opens them: nobody asked for them.
        let grants = rooms::grants(sockets, &identity);
        let rooms = sockets.hub.rooms(client.key).into_iter().filter(|room| !is_role(room));
        rooms.partition(|room| former.roles().contains(room) && !grants.allow(room))
    };
    sockets.hub.part(client.key, &lost);
    // They fit, as was checked.
    let _ = sockets.hub.join(client.key, &role_rooms(sockets, &identity));
    // With the same roles the backend has decided already, and with the same claims the rules have.
    let is_same = former.roles() == identity.roles()
        && former.claims() == identity.claims()
        && former.user() == identity.user();
    if in_doubt.is_empty() || is_same {
        return lost;
    }
    let allowed = rooms::allowed_rooms(sockets, &identity, &client.namespace, in_doubt.clone()).await;
    let refused: Vec<String> = in_doubt.into_iter().filter(|room| !allowed.contains(room)).collect();
    sockets.hub.part(client.key, &refused);
    lost.extend(refused);
    lost
}

/// `token:info`: what a client's token gets it.
pub(super) fn info(sockets: &Sockets, client: &Client) -> Answer {
    let identity = client.identity();
    Answer::Info {
        status: "ok",
        user: identity.user().map(str::to_owned),
        roles: identity.roles().to_vec(),
        rooms: sockets.hub.rooms(client.key),
        expires_at: identity.valid_until(),
    }
}

/// A client's token ends soon.
pub(in crate::sockets) fn warn(sockets: &Sockets, client: &Client, identity: &Identity) {
    let Some(end) = identity.valid_until() else { return };
    let left = end.saturating_sub(unix_now());
    tell(sockets, client, "token:expiring", &json!({ "expiresAt": end, "expiresIn": left }));
}

/// A client's token has ended.
pub(in crate::sockets) fn expire(sockets: &Arc<Sockets>, client: &Arc<Client>, ended: &Arc<Identity>) {
    const CODE: &str = RefusalCode::TokenExpired.as_str();
    let Some(session) = client.session() else { return };
    let nobody = sockets.auth.anonymous();
    // A new token may have come at the last moment; from here on it comes too late.
    if !log_in(sockets, client, ended, &nobody) {
        return;
    }
    sockets.metrics.refused(CODE);
    tracing::info!(remote = %session.handshake.address(), sid = %client.sid, code = CODE, "a client's token has ended");
    tell(sockets, client, "token:expired", &json!({ "code": CODE }));
    if sockets.auth.is_soft() && check_namespace(sockets, &client.namespace, nobody).is_ok() {
        let (sockets, client, ended) = (Arc::clone(sockets), Arc::clone(client), Arc::clone(ended));
        tokio::spawn(async move { settle(&sockets, &client, &ended).await });
        return;
    }
    if session.kick(sockets, &client.namespace, now()).is_some() {
        left(sockets, client, "server namespace disconnect");
        client.send(sockets, &socketio::disconnect(&client.namespace), &Args::none());
    }
}

fn tell(sockets: &Sockets, client: &Client, event: &str, what: &serde_json::Value) {
    let args = Args::one(what).unwrap_or_default();
    client.send(sockets, &socketio::event(&client.namespace, None, event, &args), &args);
}
