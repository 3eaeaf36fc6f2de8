//! The settings that are built: their types, their defaults, their limits and their words.
//!
//! One line here is the field of the struct, the row of the table and the entry of the reference.

use super::table::section;
use super::value::{choice, choices};
use super::{Address, Forward, PublishKey, Secret};

section! {
    /// Everything the gateway can be told.
    Config, "", |config| config;

    /// The address to listen on: an IP address or a name. `localhost` answers on IPv4 and IPv6.
    host: String = "127.0.0.1".to_owned();
    /// The port to listen on; 0 takes a free one.
    port: u16 = 4000, in 0..=65535;
    /// The event names that may be published, as patterns: `*` is any text, `:name` one segment
    /// between slashes, as in `component/:action`.
    events: Vec<String> = vec!["*".to_owned()];
    /// The namespaces clients may connect to, as patterns. Each begins with `/`.
    /// With authentication `{claim}` stands for a claim of the token, as in `/tenant-{tenant}`.
    namespaces: Vec<String> = vec!["/".to_owned()];
    /// Whether the console page is served, at `/`. Without it: only when listening on loopback.
    console: Option<bool> = None;
    /// The proxies whose `X-Forwarded-For` is believed, as addresses or networks such as `10.0.0.0/8`.
    trusted_proxies: Vec<String> = Vec::new();
    /// Over how many seconds the sockets are told to reconnect when the gateway stops; 0 tells all at once.
    drain_s: u64 = 10, in 0..=3_600;
    /// Where an event from a client goes: `event`, `url`, `secret`, `timeout_ms` in each table.
    forward: Vec<Forward> = Vec::new();

    nested {
        /// Who may connect.
        auth: Auth;
        /// Who may publish, and what.
        publish: Publish;
        /// Who may join which room.
        rooms: Rooms;
        /// The side of the clients.
        socket: Socket;
        /// What a client that comes back gets.
        recovery: Recovery;
        /// What is written about it.
        log: Log;
    }
}

section! {
    /// Who may connect.
    Auth, "auth.", |config| config.auth;

    /// How a socket shows who it is: not at all (`none`: everybody is let in), with a signed token
    /// (`jwt`), or with a token that the backend judges (`introspection`).
    strategy: Strategy = Strategy::None;
    /// `enforce` refuses a failed check. `soft` logs it and lets the socket in without identity, for the
    /// time of a migration.
    mode: Mode = Mode::Enforce;
    /// Accepts strategy `none` on an address that others can reach.
    insecure: bool = false;
    /// The shared secret of the HS algorithms, 16 bytes or more; 32 for HS256.
    jwt_secret: Option<Secret> = None;
    /// The path of the public key in PEM form. Several keys in one file are all accepted.
    jwt_public_key_file: Option<String> = None;
    /// Where the public keys are fetched from, as a JSON Web Key Set. A key that is new there is accepted
    /// within seconds.
    jwks_url: Option<Address> = None;
    /// The signature algorithms that are accepted. Without it: HS256 for a secret, otherwise all that fit
    /// the key.
    algorithms: Option<Vec<Algorithm>> = None;
    /// The `iss` a token must have. Without it `iss` is not looked at.
    issuer: Option<String> = None;
    /// The `aud` a token must have, alone or among others. Without it `aud` is not looked at.
    audience: Option<String> = None;
    /// How many seconds the clocks may differ where `exp` and `nbf` are held against the time.
    leeway_s: u64 = 30, in 0..=3_600;
    /// The claims that may hold the user id; the first one present counts. A name with dots that is no
    /// claim itself is a path, as in `user.id`.
    user_claims: Vec<String> = vec!["sub".to_owned(), "userId".to_owned()];
    /// The claims that may hold the roles; the first one present counts. Paths are possible, as in
    /// `realm_access.roles`.
    role_claims: Vec<String> = vec!["roles".to_owned(), "role".to_owned()];
    /// Where a token is sent to be judged.
    introspection_url: Option<Address> = None;
    /// What that request looks like: `json` posts `{"token":…}`, `rfc7662` a form with client credentials.
    introspection_format: IntrospectionFormat = IntrospectionFormat::Json;
    /// The client id for the `rfc7662` format.
    introspection_client_id: Option<String> = None;
    /// The client secret for the `rfc7662` format.
    introspection_client_secret: Option<Secret> = None;
    /// How many milliseconds an answer may take, waiting for its turn included, before the socket is refused.
    introspection_timeout_ms: u64 = 3_000, in 1..=600_000;
    /// For how many seconds an answer is remembered; 0 asks every time.
    cache_ttl_s: u64 = 30, in 0..=86_400;
}

section! {
    /// Who may join which room.
    ///
    /// Not used with strategy `none`: then every room is open. A socket is in the rooms of its roles
    /// from the start, whatever these rules say.
    Rooms, "rooms.", |config| config.rooms;

    /// The rooms a socket may join, as patterns; `{claim}` stands for a claim of its token, as in
    /// `tenant:{tenant}:*`. What no pattern covers is refused.
    join: Vec<String> = Vec::new();
    /// Where the backend is asked about a room that no pattern covers: `POST {user, roles, room, namespace}`,
    /// 2xx is yes, 403 no.
    authorize_url: Option<Address> = None;
    /// For how many seconds that answer is remembered; 0 asks every time.
    authorize_cache_s: u64 = 30, in 0..=86_400;
    /// How many milliseconds it may take before the room is refused. Of one client eight rooms are asked for at a
    /// time, and none is begun later than that behind the first.
    authorize_timeout_ms: u64 = 3_000, in 1..=600_000;
}

section! {
    /// Who may publish, and what.
    ///
    /// Without a key only programs on the same machine may publish.
    Publish, "publish.", |config| config.publish;

    /// The key a publisher shows as `Authorization: Bearer …` or `X-API-Key`.
    key: Option<Secret> = None;
    /// More keys, each with a `name`, a `key` and optionally the `events` and `rooms` it is
    /// limited to, as patterns.
    keys: Vec<PublishKey> = Vec::new();
    /// The largest body of one event, in bytes; beyond it the answer is 413.
    body_bytes_max: usize = 262_144, in 1..=1_073_741_824;
    /// What clients receive: the `envelope` with payload, rooms and sender, or the `payload` alone.
    deliver: Deliver = Deliver::Envelope;
    /// The fields of `sender` that are removed before delivery. An empty list passes all on.
    sender_redact: Vec<String> = vec!["token".to_owned(), "cookie".to_owned(), "sessionId".to_owned()];
    /// How many bytes may wait to be written to sockets before the answer to a publisher waits too.
    queue_bytes_max: usize = 16_777_216, in 1..=4_294_967_295;
    /// For how many seconds a repeated event id is answered as before and not emitted again;
    /// 0 turns this off.
    idempotency_window_s: u64 = 300, in 0..=86_400;
    /// How many event ids are remembered; beyond it the oldest are forgotten.
    idempotency_ids_max: usize = 100_000, in 1..=100_000_000;
    /// The most events in one batch; beyond it the answer is 413.
    batch_items_max: usize = 1_000, in 1..=1_000_000;
    /// The largest batch, in bytes; beyond it the answer is 413.
    batch_bytes_max: usize = 4_194_304, in 1..=1_073_741_824;
}

section! {
    /// The side of the clients.
    Socket, "socket.", |config| config.socket;

    /// The path clients connect to. Begins and ends with `/`.
    path: String = "/socket.io/".to_owned();
    /// The transports that are offered.
    transports: Vec<Transport> = vec![Transport::Polling, Transport::WebSocket];
    /// The parsers that clients may use; the first packet of each says which it uses.
    parsers: Vec<Parser> = vec![Parser::Json, Parser::Msgpack];
    /// The web origins whose pages may connect, such as `https://app.example.com`, or `*` for all.
    /// When not set: the loopback origins with strategy `none`, otherwise all without credentials.
    cors_origins: Option<Vec<String>> = None;
    /// The name of a cookie that the answer to a polling handshake sets to the session's id, for a load
    /// balancer that keeps a session at one gateway. The gateway itself does not read it.
    cookie: Option<String> = None;
    /// How many milliseconds lie between two heartbeats.
    ping_interval_ms: u64 = 25_000, in 1..=86_400_000;
    /// How many milliseconds a client has to answer a heartbeat before it is disconnected.
    ping_timeout_ms: u64 = 20_000, in 1..=86_400_000;
    /// How many milliseconds a connection may stay without joining a namespace.
    connect_timeout_ms: u64 = 45_000, in 1..=86_400_000;
    /// How many milliseconds the upgrade from polling to WebSocket may take.
    upgrade_timeout_ms: u64 = 10_000, in 1..=86_400_000;
    /// The largest message from a client, in bytes; beyond it the connection is closed.
    payload_bytes_max: usize = 1_000_000, in 1..=1_073_741_824;
    /// How many bytes may wait for one connection, 64 for each frame included; beyond it the
    /// connection is too slow and is closed.
    outbox_bytes_max: usize = 1_048_576, in 4_096..=4_294_967_295;
    /// How many connections there may be; beyond it new ones are refused with 503. As many sessions
    /// there may be; beyond it new ones are refused with Engine.IO code 4.
    connections_max: usize = 100_000, in 1..=10_000_000;
    /// How many connections, and how many sessions, one address may have; beyond it new ones are
    /// refused with 429, or Engine.IO code 4. Raise
    /// it when many users share one address, as behind a proxy.
    connections_per_address_max: usize = 10_000, in 1..=10_000_000;
    /// How many rooms one socket may be in.
    rooms_max: usize = 1_000, in 1..=1_000_000;
    /// The longest name of a room, in bytes.
    room_bytes_max: usize = 256, in 1..=65_536;
    /// How many namespaces one connection may be in.
    namespaces_max: usize = 16, in 1..=65_536;
    /// The largest `auth` object a client may send when it connects, in bytes.
    auth_bytes_max: usize = 16_384, in 2..=1_048_576;
    /// How many events one connection may send in a second, and at once. One that sends more is read more
    /// slowly; nothing is lost.
    events_per_s_max: u64 = 1_000, in 1..=1_000_000_000;
    /// How many acknowledgements one socket may owe; beyond it the next request for one fails.
    pending_acks_max: usize = 256, in 1..=1_000_000;
}

section! {
    /// What a client that comes back after a loss gets.
    Recovery, "recovery.", |config| config.recovery;

    /// For how many seconds a client may be away and still get what it missed; 0 turns it off.
    window_s: u64 = 120, in 0..=86_400;
    /// How many bytes of events are kept for it, and half as many of what is known of the sockets that are away.
    bytes_max: usize = 67_108_864, in 0..=1_099_511_627_776;
    /// How many bytes one client may have missed, 64 for each event included; beyond it the client gets a fresh
    /// session.
    replay_bytes_max: usize = 4_194_304, in 0..=1_099_511_627_776;
}

section! {
    /// What is written about it.
    Log, "log.", |config| config.log;

    /// The least important line that is still written.
    level: Level = Level::Info;
    /// How a line looks; `auto` is text on a terminal and JSON otherwise.
    format: LogFormat = LogFormat::Auto;
}

choice! {
    /// How a socket shows who it is.
    Strategy {
        /// It does not: everybody is let in.
        None = "none",
        /// A signed token.
        Jwt = "jwt",
        /// A token that the backend judges.
        Introspection = "introspection",
    }
}

choice! {
    /// What becomes of a socket whose token is not good.
    Mode {
        /// It is refused.
        Enforce = "enforce",
        /// It is let in without identity, and that is logged.
        Soft = "soft",
    }
}

choice! {
    /// What a question to the introspection endpoint looks like.
    IntrospectionFormat {
        /// A JSON object with the token.
        Json = "json",
        /// A form with client credentials (RFC 7662).
        Rfc7662 = "rfc7662",
    }
}

choice! {
    /// A signature algorithm of JSON Web Tokens (RFC 7518, RFC 8037).
    Algorithm {
        /// HMAC with SHA-256.
        HS256 = "HS256",
        /// HMAC with SHA-384.
        HS384 = "HS384",
        /// HMAC with SHA-512.
        HS512 = "HS512",
        /// RSASSA-PKCS1-v1_5 with SHA-256.
        RS256 = "RS256",
        /// RSASSA-PKCS1-v1_5 with SHA-384.
        RS384 = "RS384",
        /// RSASSA-PKCS1-v1_5 with SHA-512.
        RS512 = "RS512",
        /// RSASSA-PSS with SHA-256.
        PS256 = "PS256",
        /// RSASSA-PSS with SHA-384.
        PS384 = "PS384",
        /// RSASSA-PSS with SHA-512.
        PS512 = "PS512",
        /// ECDSA on P-256.
        ES256 = "ES256",
        /// ECDSA on P-384.
        ES384 = "ES384",
        /// ECDSA on P-521.
        ES512 = "ES512",
        /// Ed25519.
        EdDSA = "EdDSA",
    }
}

choice! {
    /// What clients receive as the argument of an event.
    Deliver {
        /// The envelope `{"payload":…,"rooms":…,"sender":…}`.
        Envelope = "envelope",
        /// The payload alone.
        Payload = "payload",
    }
}

choice! {
    /// A way to carry packets.
    Transport {
        /// HTTP long polling.
        Polling = "polling",
        /// WebSocket.
        WebSocket = "websocket",
    }
}

choice! {
    /// A way to write the packets of Socket.IO.
    Parser {
        /// The default parser of every client.
        Json = "json",
        /// `socket.io-msgpack-parser`.
        Msgpack = "msgpack",
    }
}

choice! {
    /// The least important line that is still logged.
    Level {
        /// Nothing.
        Off = "off",
        /// What failed.
        Error = "error",
        /// What will fail if nobody looks.
        Warn = "warn",
        /// What an operator wants to know.
        Info = "info",
        /// What a developer wants to know.
        Debug = "debug",
        /// Everything.
        Trace = "trace",
    }
}

choice! {
    /// How a log line looks.
    LogFormat {
        /// Text on a terminal, else JSON.
        Auto = "auto",
        /// Text.
        Text = "text",
        /// One JSON object per line.
        Json = "json",
    }
}

choices!(Transport, Parser, Algorithm);

impl Algorithm {
    /// The bytes of the hash of an HMAC algorithm, which is how long its secret should be. `None` for one
    /// with a public key.
    pub const fn hash_bytes_of_secret(self) -> Option<usize> {
        match self {
            Self::HS256 => Some(32),
            Self::HS384 => Some(48),
            Self::HS512 => Some(64),
            _ => None,
        }
    }
}
