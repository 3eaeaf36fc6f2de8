//! One message of a client that speaks msgpack.

use std::time::Instant;

use idae_socket_protocol::socketio::{
    ATTACHMENTS_MAX, Args, Connection, Inbound, Limits, Parsers, ack, event, repack,
};
use serde::de::IgnoredAny;

/// Low, so that short inputs reach them.
const LIMITS: Limits = Limits {
    parsers: Parsers { json: false, msgpack: true },
    namespaces_max: 3,
    auth_bytes_max: 40,
    attachments_bytes_max: 2_000,
};

/// `{type: 0, nsp: "/"}`
const CONNECT: &[u8] = b"\x82\xa4type\x00\xa3nsp\xa1/";

/// A message on a connection that is in `/`.
///
/// Checked are:
/// * arguments are valid JSON, with no more attachments than allowed, whose placeholders name them;
/// * written as msgpack and read again they are the same.
pub fn socketio_msgpack(data: &[u8]) {
    let Some(inbound) = receive(data) else { return };
    let (text, args) = match &inbound {
        Inbound::Event { id, name, args, .. } => (event("/", *id, name, args), args),
        Inbound::Ack { id, args, .. } => (ack("/", *id, args), args),
        Inbound::Connect { auth: Some(auth), .. } => return check_json(auth),
        _ => return,
    };
    check_json(&format!("[{}]", args.items()));
    check_attachments(args);
    assert_eq!(receive(&repack(&text, args.attachments())).as_ref(), Some(&inbound), "{text}");
}

/// What comes of a message, if it is a packet.
fn receive(message: &[u8]) -> Option<Inbound<'static>> {
    let now = Instant::now();
    let mut connection = Connection::default();
    let inbound = connection.binary(CONNECT, &LIMITS, now);
    assert!(matches!(inbound, Ok(Some(Inbound::Connect { .. }))), "{inbound:?}");
    connection.accept("/");
    connection.binary(message, &LIMITS, now).ok()?
}

fn check_json(text: &str) {
    assert!(serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text} is no JSON");
}

fn check_attachments(args: &Args<'_>) {
    let attachments = args.attachments();
    assert!(attachments.len() <= ATTACHMENTS_MAX, "{} attachments", attachments.len());
    let bytes: usize = attachments.iter().map(|attachment| attachment.len()).sum();
    assert!(bytes <= LIMITS.attachments_bytes_max, "{bytes} bytes of attachments");
}
