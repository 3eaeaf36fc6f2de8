//! Socket.IO packets: written as the reference writes them, read as what was written, and any text
//! judged as a naive oracle judges it.

mod msgpack;
mod oracle;

use bytes::Bytes;
use idae_socket_protocol::socketio::{
    Args, Content, DecodeError, Decoded, Decoder, Kind, RESERVED_EVENTS, ack, connect_error, decode,
    disconnect, event, namespace_prefix,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use serde_json::{Value, json};

const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

const ATTACHMENTS_BYTES_MAX: usize = 1000;

/// An argument as an application has it: with bytes somewhere inside.
#[derive(Debug, Clone)]
enum Item {
    Plain(Value),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Item {
    /// The item as JSON. Its bytes are taken out and numbered in the order in which they are met;
    /// past the tenth they stay behind as `null`.
    fn take_apart(self, attachments: &mut Vec<Bytes>) -> Value {
        match self {
            Self::Plain(value) => value,
            Self::Bytes(_) if attachments.len() == 10 => Value::Null,
            Self::Bytes(bytes) => {
                attachments.push(bytes.into());
                json!({"_placeholder": true, "num": attachments.len() - 1})
            }
            Self::List(items) => items.into_iter().map(|item| item.take_apart(attachments)).collect(),
            Self::Object(entries) => {
                entries.into_iter().map(|(key, item)| (key, item.take_apart(attachments))).collect()
            }
        }
    }
}

/// A packet with arguments, in parts.
#[derive(Debug, Clone)]
struct Sent {
    namespace: String,
    id: Option<u64>,
    /// `None` for an acknowledgement.
    name: Option<String>,
    items: Vec<Value>,
    attachments: Vec<Bytes>,
}

impl Sent {
    fn args(&self) -> Args<'static> {
        Args::from_raw(without_brackets(&Value::from(self.items.clone())), self.attachments.clone())
    }

    fn encode(&self) -> String {
        match (&self.name, self.id) {
            (Some(name), id) => event(&self.namespace, id, name, &self.args()),
            (None, id) => ack(&self.namespace, id.unwrap_or_default(), &self.args()),
        }
    }

    /// The same text in the way of the protocol's document.
    fn encode_naively(&self) -> String {
        let (plain, binary) = if self.name.is_some() { ('2', '5') } else { ('3', '6') };
        let mut text = match self.attachments.len() {
            0 => format!("4{plain}"),
            count => format!("4{binary}{count}-"),
        };
        if self.namespace != "/" {
            text += &format!("{},", self.namespace);
        }
        if let Some(id) = self.id {
            text += &id.to_string();
        }
        let name = self.name.iter().map(|name| Value::from(name.as_str()));
        text + &name.chain(self.items.iter().cloned()).collect::<Value>().to_string()
    }

    fn decoded(&self) -> Decoded<'static> {
        let content = match &self.name {
            Some(name) => Content::Event(name.clone().into(), self.args()),
            None => Content::Ack(self.args()),
        };
        Decoded { namespace: self.namespace.clone().into(), id: self.id, content }
    }
}

fn without_brackets(array: &Value) -> String {
    let text = array.to_string();
    text[1..text.len() - 1].to_owned()
}

fn plain() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,6}".prop_map(Value::from),
        // What looks like a packet must not be read as one.
        prop::sample::select(vec![
            json!("_placeholder"),
            json!({"_placeholder": false, "num": 99}),
            json!({"_placeholder": "true"}),
            json!({"num": "splice"}),
            json!("\\\"],[\"\u{2028}\0"),
            json!([[], {}, [[]]]),
        ]),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let leaf = prop_oneof![
        2 => plain().prop_map(Item::Plain),
        1 => prop::collection::vec(any::<u8>(), 0..8).prop_map(Item::Bytes),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Item::List),
            // A key of its own name could make a placeholder of an object that is none.
            prop::collection::vec(("[a-m]{0,3}|__proto__|\u{e9}\n", inner), 0..4).prop_map(Item::Object),
        ]
    })
}

fn namespace() -> impl Strategy<Value = String> {
    prop_oneof![Just("/".to_owned()), "/[^,]{0,12}", "/[a-z]{1,5}(\\?[a-z]=[0-9\\-\\[\"]{1,3})?"]
}

fn id() -> impl Strategy<Value = u64> {
    prop_oneof![0..100_u64, 0..=SAFE_INTEGER_MAX, Just(SAFE_INTEGER_MAX)]
}

fn name() -> impl Strategy<Value = String> {
    let name = prop_oneof![".{0,12}", "[a-z ]{0,8}", "[0-9]{1,3}", "toString|__proto__|error|message"];
    name.prop_filter("reserved", |name| !RESERVED_EVENTS.contains(&name.as_str()))
}

fn sent() -> impl Strategy<Value = Sent> {
    let items = prop::collection::vec(item(), 0..4);
    (namespace(), prop::option::of(id()), prop::option::of(name()), items).prop_map(
        |(namespace, id, name, items)| {
            // An acknowledgement has an id, or it answers nothing.
            let id = if name.is_none() { Some(id.unwrap_or(0)) } else { id };
            let mut attachments = Vec::new();
            let items = items.into_iter().map(|item| item.take_apart(&mut attachments)).collect();
            Sent { namespace, id, name, items, attachments }
        },
    )
}

/// Pieces of packets, good and bad ones. Strung together they are often nearly a packet.
fn piece() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "0",
        "1",
        "2",
        "3",
        "4",
        "5",
        "6",
        "7",
        "51-",
        "62-",
        "510-",
        "511-",
        "50-",
        "1-",
        "-",
        "/",
        "/a",
        "/a,",
        "/a?b=c,",
        ",",
        "007",
        "9007199254740991",
        "9007199254740992",
        " ",
        "\t",
        "\n",
        "[",
        "]",
        "{",
        "}",
        ":",
        "\"",
        "\\",
        "\"a\"",
        "\"connect\"",
        "\"\\u0063onnect\"",
        "\"\\ud800\"",
        "\"\\ud83d\\ude00\"",
        "null",
        "true",
        "-0",
        "1.0",
        "1e0",
        "1e400",
        "0.5",
        "NaN",
        "[]",
        "{}",
        "[\"a\"]",
        "[\"a\",",
        "[1,",
        "é",
        "\0",
        "{\"_placeholder\":true,\"num\":0}",
        "{\"_placeholder\":true,\"num\":1.0}",
        "\"_placeholder\":true",
        "\"_pl\\u0061ceholder\":true",
        "{\"_placeholder\":true,\"num\":",
        "\"num\":0",
        "\"num\":1",
        "\"num\":\"splice\"",
        "{\"a\":[",
        "]}",
    ])
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(6),
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config(600))]

    #[test]
    fn a_packet_is_written_as_the_document_says(sent in sent()) {
        prop_assert_eq!(sent.encode(), sent.encode_naively());
    }

    #[test]
    fn a_packet_is_read_as_it_was_written(sent in sent()) {
        let text = sent.encode();
        let mut decoder = Decoder::default();
        let mut decoded = decoder.text(&text[1..]).unwrap().map(owned);
        for attachment in &sent.attachments {
            prop_assert_eq!(decoded, None, "complete before its last attachment");
            prop_assert!(decoder.held_bytes() >= sent.args().items().len());
            decoded = decoder.binary(attachment, ATTACHMENTS_BYTES_MAX).unwrap();
        }
        prop_assert_eq!(decoded, Some(sent.decoded()));
        prop_assert_eq!(decoder.held_bytes(), 0);
        prop_assert_eq!(decoder.binary(b"", ATTACHMENTS_BYTES_MAX), Err(DecodeError::Unexpected));
    }

    #[test]
    fn nothing_gets_between_a_packet_and_its_attachments(sent in sent(), other in sent(), at in any::<prop::sample::Index>()) {
        prop_assume!(!sent.attachments.is_empty());
        let mut decoder = Decoder::default();
        let (text, other) = (sent.encode(), other.encode());
        prop_assert_eq!(decoder.text(&text[1..]), Ok(None));
        for attachment in &sent.attachments[..at.index(sent.attachments.len())] {
            prop_assert_eq!(decoder.binary(attachment, ATTACHMENTS_BYTES_MAX), Ok(None));
        }
        prop_assert_eq!(decoder.text(&other[1..]), Err(DecodeError::Unexpected));
        prop_assert_eq!(decoder.held_bytes(), 0);
    }

    #[test]
    fn attachments_have_a_limit_together(sent in sent(), missing in 1..4_usize) {
        let total = sent.attachments.iter().map(Bytes::len).sum::<usize>();
        prop_assume!(total >= missing);
        let text = sent.encode();
        let mut decoder = Decoder::default();
        prop_assert_eq!(decoder.text(&text[1..]), Ok(None));
        let mut read = 0;
        for attachment in &sent.attachments {
            read += attachment.len();
            let outcome = decoder.binary(attachment, total - missing);
            if read > total - missing {
                prop_assert_eq!(outcome, Err(DecodeError::TooLarge));
                break;
            }
            prop_assert_eq!(outcome, Ok(None));
        }
    }

    #[test]
    fn the_text_of_arguments_stays_as_it_was_sent(
        name in name(),
        items in prop::collection::vec("[ \t\n]?(1\\.50|-0|1e400|\"\\\\u0041\\\\ud800\"|\\{\"b\":1,\"a\":2,\"b\":3\\})", 1..4),
    ) {
        let items = items.join(",");
        let text = format!("2[{},{items} ]", Value::from(name.as_str()));
        let packet = decode(&text).unwrap();
        prop_assert_eq!(packet.kind, Kind::Event { name: name.into(), args: items.trim() });
    }

    #[test]
    fn refusals_and_departures_are_read_as_they_were_written(
        namespace in namespace(),
        message in ".{0,12}",
        data in prop::option::of(plain()),
    ) {
        let json = data.as_ref().map(Value::to_string);
        let error = connect_error(&namespace, &message, json.as_deref());
        let packet = decode(&error[1..]).unwrap();
        prop_assert_eq!(packet.namespace, &namespace);
        let data = json.map_or(String::new(), |json| format!(r#","data":{json}"#));
        let expected = format!(r#"{{"message":{}{data}}}"#, Value::from(message));
        prop_assert_eq!(packet.kind, Kind::ConnectError(&expected));

        let left = disconnect(&namespace);
        let packet = decode(&left[1..]).unwrap();
        prop_assert_eq!((packet.namespace, packet.kind), (namespace.as_str(), Kind::Disconnect));
    }

    #[test]
    fn an_auth_object_is_read_as_it_was_written(
        namespace in namespace(),
        auth in prop::collection::btree_map(".{0,4}", plain(), 0..4),
    ) {
        let auth = json!(auth).to_string();
        let text = format!("0{}{auth}", namespace_prefix(&namespace));
        let packet = decode(&text).unwrap();
        prop_assert_eq!((packet.namespace, packet.kind), (namespace.as_str(), Kind::Connect(Some(&auth))));
    }
}

proptest! {
    #![proptest_config(config(4000))]

    #[test]
    fn a_changed_packet_is_judged_as_the_oracle_judges_it(
        sent in sent(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..3_usize, piece()), 0..4),
    ) {
        let mut text: Vec<char> = sent.encode()[1..].chars().collect();
        for (at, removed, piece) in changes {
            let at = at.index(text.len() + 1);
            let end = (at + removed).min(text.len());
            text.splice(at..end, piece.chars());
        }
        oracle::check(&text.into_iter().collect::<String>());
    }

    #[test]
    fn a_string_of_pieces_is_judged_as_the_oracle_judges_it(pieces in prop::collection::vec(piece(), 0..10)) {
        oracle::check(&pieces.concat());
    }

    #[test]
    fn any_text_is_judged_as_the_oracle_judges_it(text in "[0-7]?\\PC{0,12}") {
        oracle::check(&text);
    }

    #[test]
    fn a_placeholder_is_judged_as_the_oracle_judges_it(
        count in 1..12_usize,
        num in prop_oneof![plain().prop_map(|num| num.to_string()), "-?[0-9]{1,2}(\\.[05]0*)?(e-?[0-3])?"],
        depth in 0..3_usize,
        is_first in any::<bool>(),
    ) {
        let (flag, num) = (r#""_placeholder":true"#.to_owned(), format!(r#""num":{num}"#));
        let object = if is_first { [flag, num] } else { [num, flag] }.join(",");
        let (open, close) = (r#"[{"a":"#.repeat(depth), "}]".repeat(depth));
        oracle::check(&format!(r#"5{count}-["x",{open}{{{object}}}{close}]"#));
    }
}

fn owned(decoded: Decoded<'_>) -> Decoded<'static> {
    let content = match decoded.content {
        Content::Event(name, args) => Content::Event(name.into_owned().into(), args.into_owned()),
        Content::Ack(args) => Content::Ack(args.into_owned()),
        other => panic!("a packet without arguments: {other:?}"),
    };
    Decoded { namespace: decoded.namespace.into_owned().into(), id: decoded.id, content }
}
