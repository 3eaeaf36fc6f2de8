//! A second reading of Socket.IO packets, naive and slow: character by character as the reference
//! goes, and everything else by way of `serde_json::Value`.
//!
//! Where it cannot judge:
//! * JSON that is valid but that a `Value` cannot hold (too deep, a number beyond `f64`, half a
//!   surrogate pair). There only the head is compared.
//! * An object with a key twice, of which a `Value` keeps the last. The decoder looks for
//!   placeholders in both, so it may refuse what is accepted here.

use std::collections::BTreeSet;
use std::fmt;

use idae_socket_protocol::socketio::{DecodeError, Kind, Packet, decode};
use serde::Deserialize;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

const RESERVED: &str = "connect connect_error disconnect disconnecting newListener removeListener";

/// What the text says by the reference's rules.
#[derive(Debug)]
struct Reading {
    kind: char,
    attachments: usize,
    namespace: String,
    id: Option<u64>,
    data: Data,
    json: String,
}

#[derive(Debug)]
enum Data {
    Absent,
    Known(Value),
    /// Valid, but beyond what a `Value` holds.
    Unknown,
}

/// Reads `text` with the decoder and with the oracle, and panics where they differ.
pub(crate) fn check(text: &str) {
    let ours = decode(text);
    match (read(text), &ours) {
        (Err(error), _) => assert_eq!(ours, Err(error), "{text:?}"),
        (Ok(theirs), Ok(ours)) => compare(text, &theirs, ours),
        (Ok(Reading { data: Data::Unknown, .. }), Err(error)) => assert!(
            matches!(
                error,
                DecodeError::InvalidPayload | DecodeError::ReservedEvent | DecodeError::IllegalPlaceholder
            ),
            "{text:?} has a good head: {error}"
        ),
        (Ok(theirs), Err(DecodeError::IllegalPlaceholder)) if repeats_keys(&theirs.json) => {}
        (Ok(theirs), Err(error)) => panic!("{text:?} is refused ({error}) and should be {theirs:?}"),
    }
}

fn compare(text: &str, theirs: &Reading, ours: &Packet<'_>) {
    assert_eq!(ours.namespace, theirs.namespace, "{text:?}");
    assert_eq!(ours.id, theirs.id, "{text:?}");
    assert_eq!(ours.attachments, theirs.attachments, "{text:?}");
    let ours = match &ours.kind {
        Kind::Connect(auth) => ('0', auth.map(str::to_owned)),
        Kind::Disconnect => ('1', None),
        Kind::Event { name, args } => {
            // The name of a number is its text; half a surrogate pair keeps its JSON text.
            let separator = if args.is_empty() { "" } else { "," };
            let name = match &theirs.data {
                Data::Known(Value::Array(items)) if items[0].is_number() => (**name).to_owned(),
                _ => Value::from(&**name).to_string(),
            };
            (if theirs.attachments > 0 { '5' } else { '2' }, Some(format!("[{name}{separator}{args}]")))
        }
        Kind::Ack(args) => {
            let kind = if theirs.attachments > 0 { '6' } else { '3' };
            (kind, (!args.is_empty()).then(|| format!("[{args}]")))
        }
        Kind::ConnectError(error) => ('4', Some((*error).to_owned())),
    };
    assert_eq!(ours.0, theirs.kind, "{text:?}");
    match (&theirs.data, ours.1) {
        (Data::Absent, None) => {}
        // An acknowledgement without data and one without arguments are the same.
        (Data::Known(Value::Array(items)), None) if items.is_empty() => {}
        (Data::Known(theirs), Some(ours)) => {
            assert_eq!(serde_json::from_str::<Value>(&ours).ok().as_ref(), Some(theirs), "{text:?}");
        }
        (Data::Unknown, Some(ours)) => {
            assert!(serde_json::from_str::<IgnoredAny>(&ours).is_ok(), "{text:?} has invalid JSON: {ours}");
        }
        (theirs, ours) => panic!("{text:?} has {ours:?} and should have {theirs:?}"),
    }
}

fn read(text: &str) -> Result<Reading, DecodeError> {
    let mut rest = text.chars().peekable();
    let kind = rest.next().filter(|kind| ('0'..='6').contains(kind)).ok_or(DecodeError::UnknownType)?;

    let mut attachments = 0;
    if kind == '5' || kind == '6' {
        let mut count = String::new();
        loop {
            match rest.next() {
                Some('-') => break,
                Some(digit) => count.push(digit),
                None => return Err(DecodeError::IllegalAttachments),
            }
        }
        attachments = attachment_count(&count)?;
    }

    let mut namespace = String::new();
    if rest.peek() == Some(&'/') {
        for character in rest.by_ref() {
            if character == ',' {
                break;
            }
            namespace.push(character);
        }
    } else {
        namespace.push('/');
    }

    let mut digits = String::new();
    while let Some(digit) = rest.next_if(char::is_ascii_digit) {
        digits.push(digit);
    }
    let id = if digits.is_empty() { None } else { Some(safe_integer(&digits)?) };

    let json: String = rest.collect();
    let data = data(&json)?;
    check_shape(kind, &data)?;
    if let (1.., Data::Known(value)) = (attachments, &data)
        && !placeholders_are_legal(value, attachments)
    {
        return Err(DecodeError::IllegalPlaceholder);
    }
    Ok(Reading { kind, attachments, namespace, id, data, json })
}

fn attachment_count(digits: &str) -> Result<usize, DecodeError> {
    if digits.is_empty() || digits.contains(|digit: char| !digit.is_ascii_digit()) {
        return Err(DecodeError::IllegalAttachments);
    }
    match digits.trim_start_matches('0') {
        "" => Err(DecodeError::IllegalAttachments),
        "10" => Ok(10),
        one if one.len() == 1 => Ok(usize::from(one.as_bytes()[0] - b'0')),
        _ => Err(DecodeError::TooManyAttachments),
    }
}

/// JavaScript's `Number.isSafeInteger`.
fn safe_integer(digits: &str) -> Result<u64, DecodeError> {
    let digits = digits.trim_start_matches('0');
    let max = "9007199254740991";
    let is_safe = digits.len() < max.len() || (digits.len() == max.len() && digits <= max);
    if !is_safe {
        return Err(DecodeError::IllegalId);
    }
    Ok(digits.bytes().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')))
}

fn data(json: &str) -> Result<Data, DecodeError> {
    if json.is_empty() {
        return Ok(Data::Absent);
    }
    match serde_json::from_str(json) {
        Ok(value) => Ok(Data::Known(value)),
        Err(_) if serde_json::from_str::<IgnoredAny>(json).is_ok() => Ok(Data::Unknown),
        Err(_) => Err(DecodeError::InvalidPayload),
    }
}

fn check_shape(kind: char, data: &Data) -> Result<(), DecodeError> {
    let has_shape = match (kind, data) {
        ('0' | '1' | '3' | '6', Data::Absent) => true,
        ('1', _) | (_, Data::Absent) => false,
        (_, Data::Unknown) => true,
        ('0', Data::Known(value)) => value.is_object(),
        ('2' | '5', Data::Known(value)) => match value.get(0) {
            Some(Value::String(name)) if RESERVED.split(' ').any(|reserved| reserved == name) => {
                return Err(DecodeError::ReservedEvent);
            }
            name => name.is_some_and(|name| name.is_string() || name.is_number()),
        },
        ('3' | '6', Data::Known(value)) => value.is_array(),
        (_, Data::Known(value)) => value.is_string() || value.is_object(),
    };
    if has_shape { Ok(()) } else { Err(DecodeError::InvalidPayload) }
}

fn placeholders_are_legal(value: &Value, attachments: usize) -> bool {
    match value {
        Value::Array(items) => items.iter().all(|item| placeholders_are_legal(item, attachments)),
        Value::Object(object) => {
            let is_legal = match (object.get("_placeholder"), object.get("num")) {
                (Some(Value::Bool(true)), Some(Value::Number(num))) => {
                    num.as_f64().is_some_and(|num| (0..attachments).any(|index| num == index as f64))
                }
                (Some(Value::Bool(true)), _) => false,
                _ => true,
            };
            is_legal && object.values().all(|item| placeholders_are_legal(item, attachments))
        }
        _ => true,
    }
}

/// Whether some object has a key twice.
fn repeats_keys(json: &str) -> bool {
    serde_json::from_str(json).is_ok_and(|Repeats(repeats)| repeats)
}

struct Repeats(bool);

impl<'de> Deserialize<'de> for Repeats {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RepeatsVisitor)
    }
}

struct RepeatsVisitor;

impl<'de> Visitor<'de> for RepeatsVisitor {
    type Value = Repeats;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Repeats, A::Error> {
        let mut keys = BTreeSet::new();
        let mut repeats = false;
        while let Some((key, Repeats(inside))) = map.next_entry::<String, Repeats>()? {
            repeats |= inside | !keys.insert(key);
        }
        Ok(Repeats(repeats))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Repeats, A::Error> {
        let mut repeats = false;
        while let Some(Repeats(inside)) = seq.next_element()? {
            repeats |= inside;
        }
        Ok(Repeats(repeats))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Repeats, E> {
        Ok(Repeats(false))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Repeats, E> {
        Ok(Repeats(false))
    }

    fn visit_u64<E>(self, _: u64) -> Result<Repeats, E> {
        Ok(Repeats(false))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Repeats, E> {
        Ok(Repeats(false))
    }

    fn visit_str<E>(self, _: &str) -> Result<Repeats, E> {
        Ok(Repeats(false))
    }

    fn visit_unit<E>(self) -> Result<Repeats, E> {
        Ok(Repeats(false))
    }
}
