//! One text, as one packet.

use idae_socket_protocol::socketio::{
    Args, Kind, Packet, ack, connect_error, decode, disconnect, event, namespace_prefix,
};
use serde_json::Value;

use super::oracle;

/// The decoder of single packets.
///
/// Checked are:
/// * an oracle on `serde_json::Value` accepts and refuses the same and reads the same;
/// * what was read, encoded anew, is read as the same.
pub fn socketio_packet(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    oracle::check(&text);
    let Ok(packet) = decode(&text) else { return };
    let Some(encoded) = encode(&packet) else { return };
    let again = decode(&encoded).unwrap_or_else(|error| panic!("{encoded:?} is ours, and refused: {error}"));
    assert_eq!(again, packet, "{text:?} is not read as it was written: {encoded:?}");
}

/// The packet without its Engine.IO type; `None` for what nothing here writes.
fn encode(packet: &Packet<'_>) -> Option<String> {
    let Packet { namespace, id, attachments, kind } = packet;
    // The content of the attachments is of no interest to a packet's text.
    let args = |items: &str| Args::from_raw(items.to_owned(), vec![Vec::new().into(); *attachments]);
    let message = match (kind, id) {
        (Kind::Event { name, args: items }, id) => event(namespace, *id, name, &args(items)),
        (Kind::Ack(items), Some(id)) => ack(namespace, *id, &args(items)),
        (Kind::Disconnect, None) => disconnect(namespace),
        (Kind::Connect(auth), None) => {
            return Some(format!("0{}{}", namespace_prefix(namespace), auth.unwrap_or_default()));
        }
        (Kind::ConnectError(error), None) => {
            check_connect_error(namespace, error);
            return None;
        }
        // Without an id an acknowledgement answers nothing; with one the others mean nothing.
        (Kind::Ack(_), None) | (Kind::Disconnect | Kind::Connect(_) | Kind::ConnectError(_), Some(_)) => {
            return None;
        }
    };
    Some(message.strip_prefix('4').expect("a message of Engine.IO").to_owned())
}

/// Takes message and data out of the refusal and writes another one of them.
fn check_connect_error(namespace: &str, error: &str) {
    let Ok(Value::Object(error)) = serde_json::from_str(error) else { return };
    let Some(Value::String(message)) = error.get("message") else { return };
    let data = error.get("data").map(Value::to_string);
    let encoded = connect_error(namespace, message, data.as_deref());
    let again = decode(&encoded[1..]).expect("what is written here is read here");
    assert_eq!(again.namespace, namespace);
    let Kind::ConnectError(text) = again.kind else { panic!("{encoded:?} is no refusal") };
    let data = data.map_or(String::new(), |data| format!(r#","data":{data}"#));
    assert_eq!(text, format!(r#"{{"message":{}{data}}}"#, Value::from(message.as_str())));
}
