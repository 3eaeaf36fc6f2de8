//! The packets of msgpack against an independent reader and writer of MessagePack.
#![allow(clippy::disallowed_methods, reason = "a test needs some instant to start from")]

use std::time::Instant;

use idae_socket_protocol::socketio::{Args, Connection, Inbound, Limits, Parsers, repack};
use proptest::prelude::*;
use rmpv::Value as Packed;
use serde_json::Value;

use super::{Sent, config, sent};

const LIMITS: Limits = Limits {
    parsers: Parsers { json: true, msgpack: true },
    namespaces_max: 2,
    auth_bytes_max: 100,
    attachments_bytes_max: 100_000,
};

/// A JSON value as a client of msgpack has it: with its bytes inside.
fn packed(value: &Value, attachments: &[bytes::Bytes]) -> Packed {
    match value {
        Value::Null => Packed::Nil,
        Value::Bool(bool) => Packed::from(*bool),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Packed::from(number),
            (_, Some(number)) => Packed::from(number),
            _ => Packed::from(number.as_f64().expect("a number")),
        },
        Value::String(text) => Packed::from(text.as_str()),
        Value::Array(items) => Packed::Array(items.iter().map(|item| packed(item, attachments)).collect()),
        Value::Object(object) => {
            let attachment =
                object.get("num").and_then(Value::as_u64).and_then(|num| attachments.get(num as usize));
            match attachment {
                Some(bytes) if object.get("_placeholder") == Some(&Value::Bool(true)) => {
                    Packed::Binary(bytes.to_vec())
                }
                _ => {
                    let entry = |(key, value): (&String, &Value)| {
                        (Packed::from(key.as_str()), packed(value, attachments))
                    };
                    Packed::Map(object.iter().map(entry).collect())
                }
            }
        }
    }
}

/// A packet as a client writes it, keys in the order of the stock one.
fn packet(kind: u8, data: Option<Packed>, id: Option<u64>, namespace: &str) -> Vec<u8> {
    let mut entries = vec![(Packed::from("type"), Packed::from(kind))];
    entries.extend(data.map(|data| (Packed::from("data"), data)));
    let options = Packed::Map(vec![(Packed::from("compress"), Packed::from(true))]);
    entries.push((Packed::from("options"), options));
    entries.extend(id.map(|id| (Packed::from("id"), Packed::from(id))));
    entries.push((Packed::from("nsp"), Packed::from(namespace)));
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &Packed::Map(entries)).expect("a vector takes all");
    bytes
}

impl Sent {
    fn packed(&self) -> Packed {
        let name = self.name.iter().map(|name| Packed::from(name.as_str()));
        let items = self.items.iter().map(|item| packed(item, &self.attachments));
        Packed::Array(name.chain(items).collect())
    }
}

/// What a connection in the packet's namespace makes of it.
fn receive(namespace: &str, message: &[u8], now: Instant) -> (Option<u64>, Option<String>, Args<'static>) {
    let mut connection = Connection::default();
    let connect = packet(0, None, None, namespace);
    assert!(matches!(connection.binary(&connect, &LIMITS, now), Ok(Some(Inbound::Connect { .. }))));
    connection.accept(namespace);
    match connection.binary(message, &LIMITS, now) {
        Ok(Some(Inbound::Event { id, name, args, .. })) => (id, Some(name.into_owned()), args.into_owned()),
        Ok(Some(Inbound::Ack { id, args, .. })) => (Some(id), None, args.into_owned()),
        other => panic!("{other:?}"),
    }
}

/// A part of a packet, as somebody else reads it.
fn field(mut message: &[u8], name: &str) -> Option<Packed> {
    let packet = rmpv::decode::read_value(&mut message).expect("a value");
    assert!(message.is_empty(), "something stands behind the packet");
    let Packed::Map(entries) = packet else { panic!("{packet}") };
    entries.into_iter().find(|(key, _)| key.as_str() == Some(name)).map(|(_, value)| value)
}

proptest! {
    #![proptest_config(config(1000))]

    #[test]
    fn what_is_repacked_is_read_by_others_as_it_was(sent in sent()) {
        let message = repack(&sent.encode(), &sent.attachments);
        prop_assert_eq!(field(&message, "type"), Some(Packed::from(if sent.name.is_some() { 2 } else { 3 })));
        prop_assert_eq!(field(&message, "data"), Some(sent.packed()));
        prop_assert_eq!(field(&message, "id"), sent.id.map(Packed::from));
        prop_assert_eq!(field(&message, "nsp"), Some(Packed::from(sent.namespace)));
    }

    #[test]
    fn what_others_write_is_read_as_it_was(sent in sent()) {
        let kind = if sent.name.is_some() { 2 } else { 3 };
        let message = packet(kind, Some(sent.packed()), sent.id, &sent.namespace);
        let (id, name, args) = receive(&sent.namespace, &message, Instant::now());
        prop_assert_eq!((id, &name), (sent.id, &sent.name));
        let name = name.iter().map(|name| Value::from(name.as_str()).to_string());
        let items = name.chain((!args.is_empty()).then(|| args.items().to_owned()));
        let items = format!("43[{}]", items.collect::<Vec<_>>().join(","));
        prop_assert_eq!(field(&repack(&items, args.attachments()), "data"), Some(sent.packed()));
    }
}
