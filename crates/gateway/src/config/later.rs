//! Keys whose feature is not built yet: known, documented, and refused with the reason.
//!
//! A row moves from here into `settings.rs` together with its feature.

use super::table::{Setting, State};
use super::value::Kind;

const TOKENS: &str = "tokens are not verified yet, only `auth.strategy` = `none` works";
const ROOM_RULES: &str = "every room is open to every socket";
const NO_RECOVERY: &str = "a client that comes back gets a fresh session";

macro_rules! later {
    ($($(#[doc = $doc:literal])+ $key:literal: $kind:expr, $default:literal, harmless $harmless:expr, $because:expr;)*) => {
        &[$(Setting {
            key: $key,
            doc: &[$($doc),+],
            kind: $kind,
            range: None,
            state: State::Later { default: $default, harmless: &$harmless, because: $because },
        }),*]
    };
}

pub(super) const TOP: &[Setting] = later! {
    /// Whether the console page is served: `true`, or by default only when listening on loopback.
    "console": Kind::Bool, "on for loopback", harmless ["false"], "the gateway has no console page yet";
    /// The proxies whose `X-Forwarded-For` is believed, as addresses or networks.
    "trusted_proxies": Kind::List, "[]", harmless [""], "forwarding headers are never believed yet";
    /// Over how many seconds the sockets are told to reconnect when the gateway stops.
    "drain_s": Kind::Number, "10", harmless ["0"], "the gateway stops without draining yet";
    /// Where an event from a client goes: `event`, `url`, `secret`, `timeout_ms` in each table.
    "forward": Kind::Tables, "none", harmless [], "events from clients are not forwarded yet";
};

pub(super) const AUTH: &[Setting] = later! {
    /// `enforce` refuses a failed check; `soft` lets the socket in without identity and logs it.
    "auth.mode": Kind::Choice(&["enforce", "soft"]), "enforce", harmless ["enforce"], TOKENS;
    /// The shared secret of the HS algorithms.
    "auth.jwt_secret": Kind::Secret, "not set", harmless [], TOKENS;
    /// The path of the public key, in PEM form.
    "auth.jwt_public_key_file": Kind::Text, "not set", harmless [], TOKENS;
    /// Where the public keys are fetched from.
    "auth.jwks_url": Kind::Text, "not set", harmless [], TOKENS;
    /// The signature algorithms that are accepted.
    "auth.algorithms": Kind::List, "what fits the key", harmless [], TOKENS;
    /// The `iss` a token must have.
    "auth.issuer": Kind::Text, "not set", harmless [], TOKENS;
    /// The `aud` a token must have.
    "auth.audience": Kind::Text, "not set", harmless [], TOKENS;
    /// How many seconds the clocks may differ.
    "auth.leeway_s": Kind::Number, "30", harmless [], TOKENS;
    /// The claims that may hold the user id; the first one present counts.
    "auth.user_claims": Kind::List, r#"["sub", "userId"]"#, harmless [], TOKENS;
    /// The claims that may hold the roles; the first one present counts.
    "auth.role_claims": Kind::List, r#"["roles", "role"]"#, harmless [], TOKENS;
    /// Where a token is sent to be judged.
    "auth.introspection_url": Kind::Text, "not set", harmless [], TOKENS;
    /// What that request looks like.
    "auth.introspection_format": Kind::Choice(&["json", "rfc7662"]), "json", harmless [], TOKENS;
    /// The client id for the `rfc7662` format.
    "auth.introspection_client_id": Kind::Text, "not set", harmless [], TOKENS;
    /// The client secret for the `rfc7662` format.
    "auth.introspection_client_secret": Kind::Secret, "not set", harmless [], TOKENS;
    /// How many milliseconds an answer may take before the socket is refused.
    "auth.introspection_timeout_ms": Kind::Number, "3000", harmless [], TOKENS;
    /// For how many seconds an answer is remembered.
    "auth.cache_ttl_s": Kind::Number, "30", harmless [], TOKENS;
};

pub(super) const ROOMS: &[Setting] = later! {
    /// The rooms a socket may join, as patterns; `{claim}` stands for a claim of its token.
    "rooms.join": Kind::List, "[]", harmless [""], ROOM_RULES;
    /// Where the backend is asked about a room that no rule decides.
    "rooms.authorize_url": Kind::Text, "not set", harmless [], ROOM_RULES;
    /// For how many seconds that answer is remembered.
    "rooms.authorize_cache_s": Kind::Number, "30", harmless [], ROOM_RULES;
};

pub(super) const RECOVERY: &[Setting] = later! {
    /// For how many seconds a client may be away and still get what it missed; 0 turns it off.
    "recovery.window_s": Kind::Number, "120", harmless ["0"], NO_RECOVERY;
    /// How many bytes of events are kept for it.
    "recovery.bytes_max": Kind::Number, "67108864", harmless [], NO_RECOVERY;
};

// A URL of Redis may hold a password, so it is a secret.
pub(super) const REDIS: &[Setting] = later! {
    /// Where the other gateways are met.
    "redis.url": Kind::Secret, "not set", harmless [""], "several gateways do not know of each other yet";
};
