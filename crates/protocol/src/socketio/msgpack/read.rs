//! Packets of msgpack to packets of the default parser.

use std::borrow::Cow;

use bytes::Bytes;

use super::value::{Reader, Value};
use crate::socketio::decode::SAFE_INTEGER_MAX;
use crate::socketio::decoder::{Content, Decoded};
use crate::socketio::encode::push_json_string;
use crate::socketio::{ATTACHMENTS_MAX, Args, DecodeError, RESERVED_EVENTS};

/// How many levels of arguments may be nested in one another: this file recurses, and so does who gets them.
const DEPTH_MAX: usize = 512;

/// Reads one packet. Its binary values become attachments, and may have `bytes_max` bytes together with the JSON: a
/// `null` has one byte here, and four there.
pub(in crate::socketio) fn decode(message: &[u8], bytes_max: usize) -> Result<Decoded<'static>, DecodeError> {
    let Fields { kind, data, id, nsp } = Fields::read(message)?;
    let namespace = nsp.ok_or(DecodeError::InvalidPayload)?.into_owned();
    // With a comma it would be another name to the other parser, in which the answer is written first.
    if !namespace.starts_with('/') || namespace.contains(',') {
        return Err(DecodeError::InvalidPayload);
    }
    let mut json = Json { bytes_max, ..Json::default() };
    let content = match (kind.ok_or(DecodeError::UnknownType)?, data) {
        (0, None) => Content::Connect(None),
        (0, Some(data)) => Content::Connect(Some(json.object(data)?.into())),
        (1, None) => Content::Disconnect,
        (2, Some(data)) => {
            let name = json.event(data)?;
            Content::Event(name.into(), json.args()?)
        }
        (3, None) => Content::Ack(Args::none()),
        (3, Some(data)) => {
            json.acknowledgement(data)?;
            Content::Ack(json.args()?)
        }
        (4, Some(data)) => Content::ConnectError(json.object(data)?.into()),
        (0..=4, _) => return Err(DecodeError::InvalidPayload),
        _ => return Err(DecodeError::UnknownType),
    };
    Ok(Decoded { namespace: namespace.into(), id, content })
}

/// The parts of a packet, wherever they stand in its map.
#[derive(Default)]
struct Fields<'a> {
    kind: Option<u64>,
    /// Where its value begins.
    data: Option<Reader<'a>>,
    id: Option<u64>,
    nsp: Option<Cow<'a, str>>,
}

impl<'a> Fields<'a> {
    fn read(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut reader = Reader { rest: message };
        let Value::Map(entries) = reader.value()? else { return Err(DecodeError::InvalidPayload) };
        let mut fields = Self::default();
        for _ in 0..entries {
            // One that is no text is nobody's.
            let key = key_of(reader.value()?)?;
            let start = reader;
            let value = reader.value()?;
            let is_absent = matches!(value, Value::Nil | Value::Undefined);
            match (key.as_ref(), value) {
                ("type", Value::Unsigned(kind)) => fields.kind = Some(kind),
                ("type", _) => return Err(DecodeError::UnknownType),
                ("nsp", Value::Text(nsp)) => fields.nsp = Some(nsp),
                ("nsp", _) => return Err(DecodeError::InvalidPayload),
                // Python writes nil for what is absent, and so does no id.
                ("id", _) if is_absent => {}
                ("id", Value::Unsigned(id)) if id <= SAFE_INTEGER_MAX => fields.id = Some(id),
                ("id", _) => return Err(DecodeError::IllegalId),
                ("data", _) if is_absent => fields.data = None,
                // The stock client adds `options`.
                (key, value) => {
                    if key == "data" {
                        fields.data = Some(start);
                    }
                    reader.skip(value.children())?;
                }
            }
        }
        if reader.rest.is_empty() { Ok(fields) } else { Err(DecodeError::InvalidPayload) }
    }
}

/// A map's key as JavaScript and Python have it in JSON, where all keys are text.
fn key_of(value: Value<'_>) -> Result<Cow<'_, str>, DecodeError> {
    Ok(match value {
        Value::Text(text) => text,
        Value::Nil => "null".into(),
        Value::Bool(bool) => bool.to_string().into(),
        Value::Unsigned(number) => number.to_string().into(),
        Value::Negative(number) => number.to_string().into(),
        Value::Float(number) => serde_json::Value::from(number).to_string().into(),
        _ => return Err(DecodeError::InvalidPayload),
    })
}

/// JSON text on its way, and what it leaves out.
#[derive(Default)]
struct Json {
    text: String,
    attachments: Vec<Bytes>,
    attachments_bytes: usize,
    /// How many objects look like a placeholder and are none.
    look_alikes: usize,
    bytes_max: usize,
}

impl Json {
    /// The auth object of a CONNECT, or the one of its refusal.
    fn object(&mut self, mut data: Reader<'_>) -> Result<String, DecodeError> {
        let value @ Value::Map(_) = data.value()? else { return Err(DecodeError::InvalidPayload) };
        self.push(value, &mut data, 0)?;
        if self.attachments.is_empty() {
            Ok(std::mem::take(&mut self.text))
        } else {
            Err(DecodeError::IllegalAttachments)
        }
    }

    /// Name and arguments of an event.
    fn event(&mut self, mut data: Reader<'_>) -> Result<String, DecodeError> {
        let Value::Array(items @ 1..) = data.value()? else { return Err(DecodeError::InvalidPayload) };
        let name = match data.value()? {
            Value::Text(name) if RESERVED_EVENTS.contains(&name.as_ref()) => {
                return Err(DecodeError::ReservedEvent);
            }
            Value::Text(name) => name.into_owned(),
            Value::Unsigned(number) => number.to_string(),
            Value::Negative(number) => number.to_string(),
            Value::Float(number) if number.is_finite() => serde_json::Value::from(number).to_string(),
            _ => return Err(DecodeError::InvalidPayload),
        };
        self.items(items - 1, &mut data, 0)?;
        Ok(name)
    }

    /// The arguments of an acknowledgement.
    fn acknowledgement(&mut self, mut data: Reader<'_>) -> Result<(), DecodeError> {
        let Value::Array(items) = data.value()? else { return Err(DecodeError::InvalidPayload) };
        self.items(items, &mut data, 0)
    }

    /// What was written, as arguments.
    fn args(self) -> Result<Args<'static>, DecodeError> {
        // Beside real ones, data that looks like a placeholder could not be told from them.
        if !self.attachments.is_empty() && self.look_alikes > 0 {
            return Err(DecodeError::IllegalPlaceholder);
        }
        Ok(Args::from_raw(self.text, self.attachments))
    }

    fn items(&mut self, items: u32, data: &mut Reader<'_>, depth: usize) -> Result<(), DecodeError> {
        for index in 0..items {
            if index > 0 {
                self.text.push(',');
            }
            let value = data.value()?;
            self.push(value, data, depth)?;
        }
        Ok(())
    }

    /// Writes a value as `JSON.stringify` does.
    fn push(&mut self, value: Value<'_>, data: &mut Reader<'_>, depth: usize) -> Result<(), DecodeError> {
        match value {
            Value::Nil | Value::Undefined => self.text.push_str("null"),
            Value::Bool(bool) => self.text.push_str(if bool { "true" } else { "false" }),
            Value::Unsigned(number) => self.display(number),
            Value::Negative(number) => self.display(number),
            // JSON has neither infinity nor NaN: null.
            Value::Float(number) => self.display(serde_json::Value::from(number)),
            Value::Text(text) => push_json_string(&text, &mut self.text),
            Value::Binary(bytes) => self.attach(bytes)?,
            Value::Time(milliseconds) => match iso(milliseconds) {
                Some(text) => push_json_string(&text, &mut self.text),
                None => self.text.push_str("null"),
            },
            Value::Array(_) | Value::Map(_) if depth == DEPTH_MAX => return Err(DecodeError::TooDeep),
            Value::Array(items) => {
                self.text.push('[');
                self.items(items, data, depth + 1)?;
                self.text.push(']');
            }
            Value::Map(entries) => {
                self.text.push('{');
                self.entries(entries, data, depth + 1)?;
                self.text.push('}');
            }
        }
        if self.text.len() + self.attachments_bytes > self.bytes_max {
            return Err(DecodeError::TooLarge);
        }
        Ok(())
    }

    fn entries(&mut self, entries: u32, data: &mut Reader<'_>, depth: usize) -> Result<(), DecodeError> {
        let mut is_first = true;
        for _ in 0..entries {
            let key = key_of(data.value()?)?;
            let value = data.value()?;
            if matches!(value, Value::Undefined) {
                continue;
            }
            if key == "_placeholder" && matches!(value, Value::Bool(true)) {
                self.look_alikes += 1;
            }
            if !std::mem::replace(&mut is_first, false) {
                self.text.push(',');
            }
            push_json_string(&key, &mut self.text);
            self.text.push(':');
            self.push(value, data, depth)?;
        }
        Ok(())
    }

    fn attach(&mut self, bytes: &[u8]) -> Result<(), DecodeError> {
        let num = self.attachments.len();
        if num == ATTACHMENTS_MAX {
            return Err(DecodeError::TooManyAttachments);
        }
        self.attachments_bytes += bytes.len();
        self.attachments.push(Bytes::copy_from_slice(bytes));
        self.display(format_args!(r#"{{"_placeholder":true,"num":{num}}}"#));
        Ok(())
    }

    fn display(&mut self, value: impl std::fmt::Display) {
        use std::fmt::Write as _;
        // Writing to a String cannot fail.
        let _ = write!(self.text, "{value}");
    }
}

/// A moment as JavaScript's `Date` has it in JSON; `None` for what lies beyond the days that it knows.
fn iso(milliseconds: i64) -> Option<String> {
    const DATE_MAX: u64 = 8_640_000_000_000_000;
    if milliseconds.unsigned_abs() > DATE_MAX {
        return None;
    }
    let moment =
        time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(milliseconds) * 1_000_000).ok()?;
    let (year, month, day) = (moment.year(), u8::from(moment.month()), moment.day());
    let (hour, minute, second, milli) = moment.to_hms_milli();
    let year = if (0..=9999).contains(&year) { format!("{year:04}") } else { format!("{year:+07}") };
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z"))
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: Vec<u8> = hex.bytes().filter(|byte| *byte != b' ').collect();
        digits
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    #[track_caller]
    fn check(packets: &[&str], expected: Expect) {
        let lines: Vec<String> = packets
            .iter()
            .map(|packet| match decode(&bytes(packet), 40) {
                Ok(Decoded { namespace, id, content }) => format!("{namespace} {id:?} {content:?}"),
                Err(error) => error.to_string(),
            })
            .collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn packets_of_stock_clients() {
        check(
            &[
                // The JavaScript client writes `undefined`, the Python client nil.
                "83 a474797065 00 a464617461 d40000 a36e7370 a12f",
                "83 a474797065 00 a464617461 c0 a36e7370 a12f",
                "83 a474797065 00 a464617461 81 a5746f6b656e a3616263 a36e7370 a22f6e",
                "84 a474797065 02 a464617461 92 a26869 01 a76f7074696f6e73 81 a8636f6d7072657373 c3 a36e7370 a12f",
                "84 a474797065 02 a464617461 92 a26869 c403010203 a26964 07 a36e7370 a12f",
                "84 a26964 00 a474797065 03 a464617461 91 01 a36e7370 a12f",
                "83 a474797065 01 a464617461 c0 a36e7370 a12f",
                "82 a474797065 01 a36e7370 a12f",
                "83 a474797065 02 a464617461 91 2a a36e7370 a12f",
            ],
            expect![[r#"
                / None Connect(None)
                / None Connect(None)
                /n None Connect(Some("{\"token\":\"abc\"}"))
                / None Event("hi", Args { items: "1", attachments: [] })
                / Some(7) Event("hi", Args { items: "{\"_placeholder\":true,\"num\":0}", attachments: [b"\x01\x02\x03"] })
                / Some(0) Ack(Args { items: "1", attachments: [] })
                / None Disconnect
                / None Disconnect
                / None Event("42", Args { items: "", attachments: [] })"#]],
        );
    }

    #[test]
    fn what_is_no_packet() {
        check(
            &[
                "",
                "c1",
                "90",
                "80",
                "81 a474797065 00",
                "81 a36e7370 a12f",
                "82 a474797065 05 a36e7370 a12f",
                "82 a474797065 ff a36e7370 a12f",
                "82 a474797065 a130 a36e7370 a12f",
                "82 a474797065 00 a36e7370 01",
                "82 a474797065 00 a36e7370 a161",
                "82 a474797065 00 a36e7370 a42f612c62",
                "82 a474797065 00 a36e7370 a12f 00",
                "83 a474797065 00 a464617461 90 a36e7370 a12f",
                "83 a474797065 01 a464617461 80 a36e7370 a12f",
                "82 a474797065 02 a36e7370 a12f",
                "83 a474797065 02 a464617461 90 a36e7370 a12f",
                "83 a474797065 02 a464617461 91c0 a36e7370 a12f",
                "83 a474797065 02 a464617461 91aa646973636f6e6e656374 a36e7370 a12f",
                "83 a474797065 02 a464617461 dd7fffffff a36e7370 a12f",
                "83 a474797065 02 a464617461 91 dbffffffff",
                "83 a474797065 02 a464617461 92a161 8101a162 a36e7370 a12f",
                "83 a474797065 02 a464617461 92a161 d40500 a36e7370 a12f",
                "83 a474797065 00 a464617461 81a161c40101 a36e7370 a12f",
                "83 a474797065 02 a464617461 92a161c40c010203040506070809101112 a36e7370 a12f",
                "83 a474797065 02 a464617461 92a16199c0c0c0c0c0c0c0c0c0 a36e7370 a12f",
                "84 a474797065 02 a464617461 91a161 a26964 ff a36e7370 a12f",
                "84 a474797065 02 a464617461 91a161 a26964 cf0020000000000000 a36e7370 a12f",
                "81 00 00",
            ],
            expect![[r#"
                invalid payload
                invalid payload
                invalid payload
                invalid payload
                invalid payload
                unknown packet type
                unknown packet type
                unknown packet type
                unknown packet type
                invalid payload
                invalid payload
                invalid payload
                invalid payload
                invalid payload
                invalid payload
                invalid payload
                invalid payload
                invalid payload
                reserved event name
                invalid payload
                invalid payload
                / None Event("a", Args { items: "{\"1\":\"b\"}", attachments: [] })
                invalid payload
                illegal attachments
                too large
                too large
                illegal acknowledgement id
                illegal acknowledgement id
                invalid payload"#]],
        );
    }

    #[test]
    fn values_become_what_json_stringify_writes() {
        let items = [
            "c0 c2 c3 7f ff",
            "cc80 cd8000 ce80000000 cfffffffffffffffff",
            "d080 d18000 d280000000 d38000000000000000",
            "ca3fc00000 cb3ff0000000000000 cb7ff8000000000000 cb7ff0000000000000",
            "a0 d90161 da000161 db0000000161 a3e282ac a122 a1ff",
            "dc0001 01 dd00000001 02 de0001 a161 03 df00000001 a162 04",
            "87 01 c0 ff c0 cb3ff8000000000000 c0 c3 c0 c0 c0 a161 c0 d900 c0",
            // `undefined` is nothing in an object and null in an array.
            "d40000 82 a161 d40000 a162 01",
            "d7000000000000000000 d700ffffffffffffffff d7007fffffffffffffff",
            "d700001eb208c2dc0000 d700001eb208c2dc0001 d700ffe14df73d240000 d7000000e677d21fdc00",
            "d6ff00000001 d7ff77359400 00000001 c70cff 00000000 ffffffffffffffff",
            "c403010203 c50001ff c60000000100 c70300040506 d50003ff",
        ];
        let lines: Vec<String> = items
            .iter()
            .map(|hex| {
                let values = bytes(hex);
                let mut reader = Reader { rest: &values };
                let mut json = Json { bytes_max: 1000, ..Json::default() };
                while !reader.rest.is_empty() {
                    json.text.push(' ');
                    let value = reader.value().unwrap();
                    json.push(value, &mut reader, 0).unwrap();
                }
                format!("{} {:?}", json.text.trim_start(), json.attachments)
            })
            .collect();
        expect![[r#"
            null false true 127 -1 []
            128 32768 2147483648 18446744073709551615 []
            -128 -32768 -2147483648 -9223372036854775808 []
            1.5 1.0 null null []
            "" "a" "a" "a" "€" "\"" "�" []
            [1] [2] {"a":3} {"b":4} []
            {"1":null,"-1":null,"1.5":null,"true":null,"null":null,"a":null,"":null} []
            null {"b":1} []
            "1970-01-01T00:00:00.000Z" "1969-12-31T23:59:59.999Z" null []
            "+275760-09-13T00:00:00.000Z" null "-271821-04-20T00:00:00.000Z" "+010000-01-01T00:00:00.000Z" []
            "1970-01-01T00:00:01.000Z" "1970-01-01T00:00:01.500Z" "1969-12-31T23:59:59.000Z" []
            {"_placeholder":true,"num":0} {"_placeholder":true,"num":1} {"_placeholder":true,"num":2} {"_placeholder":true,"num":3} {"_placeholder":true,"num":4} [b"\x01\x02\x03", b"\xff", b"\0", b"\x04\x05\x06", b"\x03\xff"]"#]].assert_eq(&lines.join("\n"));
    }

    #[test]
    fn depth_and_claimed_lengths_are_bounded() {
        let event = |value: &[u8]| {
            let mut packet = bytes("83 a474797065 02 a36e7370 a12f a464617461 92 a161");
            packet.extend_from_slice(value);
            packet
        };
        let nested = |depth: usize| {
            let mut value = vec![0x91; depth];
            value.push(0xc0);
            event(&value)
        };
        assert!(decode(&nested(DEPTH_MAX), 10_000).is_ok());
        assert_eq!(decode(&nested(DEPTH_MAX + 1), 10_000), Err(DecodeError::TooDeep));
        assert_eq!(decode(&nested(1_000_000), 10_000), Err(DecodeError::TooDeep));
        let eleven = [&[0x9b][..], &[0xc4, 0].repeat(11)].concat();
        assert_eq!(decode(&event(&eleven), 10_000), Err(DecodeError::TooManyAttachments));
    }

    #[test]
    fn data_that_looks_like_a_placeholder_stays_data_or_is_refused() {
        let look_alike = |num: &str, more: &str| {
            let hex = format!(
                "83 a474797065 02 a36e7370 a12f a464617461 93 a161 82 ac5f706c616365686f6c646572 c3 a36e756d {num} {more}"
            );
            decode(&bytes(&hex), 100).map(|_| ())
        };
        assert_eq!(look_alike("09", "c0"), Ok(()));
        assert_eq!(look_alike("09", "c40101"), Err(DecodeError::IllegalPlaceholder));
        assert_eq!(look_alike("00", "c40101"), Err(DecodeError::IllegalPlaceholder));
    }
}
