//! One packet of the default parser: text in, checked parts out.

use std::borrow::Cow;

use serde::de::{Deserializer as _, IgnoredAny, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::json::{Placeholder, each_container, string};

/// Most attachments that one packet may announce, as in socket.io-parser since 4.2.6: modern
/// clients refuse more, and an unbounded count is CVE-2026-33151.
pub const ATTACHMENTS_MAX: usize = 10;

/// Event names that belong to the libraries; a peer that sends one is refused.
pub const RESERVED_EVENTS: [&str; 6] =
    ["connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"];

/// The largest acknowledgement id: what JavaScript can hold.
pub(super) const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// One packet. Every text in it is a part of what was decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet<'a> {
    /// `/` unless the packet names another.
    pub namespace: &'a str,
    /// The acknowledgement id.
    pub id: Option<u64>,
    /// How many binary messages belong to the packet and follow it.
    pub attachments: usize,
    /// What kind of packet it is, with its content.
    pub kind: Kind<'a>,
}

/// The content of a packet. JSON is valid and has the shape that the type demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A client wants into a namespace (auth object), or a server lets it in (`{"sid":…}`).
    Connect(Option<&'a str>),
    /// The peer leaves the namespace.
    Disconnect,
    /// An event: its name, and its arguments as the inside of a JSON array.
    Event {
        /// A string, or the text of a number.
        name: Cow<'a, str>,
        /// `1,"two"`; empty without arguments.
        args: &'a str,
    },
    /// The answer to an event with an id: arguments as the inside of a JSON array.
    Ack(&'a str),
    /// The server's refusal: a JSON string or object.
    ConnectError(&'a str),
}

/// Why a text is no packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The first character is not one of `0` to `6`.
    #[error("unknown packet type")]
    UnknownType,
    /// A binary packet without a count from 1 and a dash.
    #[error("illegal attachments")]
    IllegalAttachments,
    /// More attachments than [`ATTACHMENTS_MAX`], or than the caller's limit.
    #[error("too many attachments")]
    TooManyAttachments,
    /// An acknowledgement id that JavaScript could not hold (2^53 − 1).
    #[error("illegal acknowledgement id")]
    IllegalId,
    /// The rest is not valid JSON of the right shape.
    #[error("invalid payload")]
    InvalidPayload,
    /// An event name of [`RESERVED_EVENTS`].
    #[error("reserved event name")]
    ReservedEvent,
    /// A placeholder that names no attachment.
    #[error("illegal placeholder")]
    IllegalPlaceholder,
    /// A text message while attachments were due, or bytes that nobody announced.
    #[error("unexpected message")]
    Unexpected,
    /// The attachments of one packet are larger than the limit, or those of msgpack with the JSON beside them.
    #[error("too large")]
    TooLarge,
    /// Values of msgpack in one another, beyond the limit.
    #[error("nested too deep")]
    TooDeep,
}

/// Reads one packet, without the Engine.IO type character.
///
/// # Errors
/// The text breaks the grammar; the connection it came on is to be closed.
pub fn decode(text: &str) -> Result<Packet<'_>, DecodeError> {
    let kind = *text.as_bytes().first().ok_or(DecodeError::UnknownType)?;
    if !(b'0'..=b'6').contains(&kind) {
        return Err(DecodeError::UnknownType);
    }
    let rest = &text[1..];
    let (attachments, rest) = if matches!(kind, b'5' | b'6') { attachments(rest)? } else { (0, rest) };
    let (namespace, rest) = namespace(rest);
    let (id, data) = ack_id(rest)?;
    let kind = match kind {
        b'0' => Kind::Connect(optional(data, is_object)?),
        b'1' if data.is_empty() => Kind::Disconnect,
        b'2' | b'5' => event(data)?,
        b'3' | b'6' => Kind::Ack(match optional(data, is_array)? {
            Some(array) => inside(array),
            None => "",
        }),
        b'4' => Kind::ConnectError(optional(data, is_object_or_string)?.ok_or(DecodeError::InvalidPayload)?),
        _ => return Err(DecodeError::InvalidPayload),
    };
    if attachments > 0 {
        check_placeholders(data, attachments)?;
    }
    Ok(Packet { namespace, id, attachments, kind })
}

/// `<count>-`
fn attachments(text: &str) -> Result<(usize, &str), DecodeError> {
    let (count, rest) = text.split_once('-').ok_or(DecodeError::IllegalAttachments)?;
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(DecodeError::IllegalAttachments);
    }
    match count.parse::<usize>() {
        Ok(0) => Err(DecodeError::IllegalAttachments),
        Ok(count) if count <= ATTACHMENTS_MAX => Ok((count, rest)),
        _ => Err(DecodeError::TooManyAttachments),
    }
}

/// `/name,` or `/name` up to the end.
pub(super) fn namespace(text: &str) -> (&str, &str) {
    if text.starts_with('/') { text.split_once(',').unwrap_or((text, "")) } else { ("/", text) }
}

pub(super) fn ack_id(text: &str) -> Result<(Option<u64>, &str), DecodeError> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    if digits == 0 {
        return Ok((None, text));
    }
    let (id, rest) = text.split_at(digits);
    match id.parse() {
        Ok(id) if id <= SAFE_INTEGER_MAX => Ok((Some(id), rest)),
        _ => Err(DecodeError::IllegalId),
    }
}

fn optional(data: &str, has_shape: fn(&str) -> bool) -> Result<Option<&str>, DecodeError> {
    if data.is_empty() {
        return Ok(None);
    }
    let value: &RawValue = serde_json::from_str(data).map_err(|_| DecodeError::InvalidPayload)?;
    if has_shape(value.get()) { Ok(Some(value.get())) } else { Err(DecodeError::InvalidPayload) }
}

fn is_object(json: &str) -> bool {
    json.starts_with('{')
}

fn is_array(json: &str) -> bool {
    json.starts_with('[')
}

fn is_object_or_string(json: &str) -> bool {
    json.starts_with(['{', '"'])
}

/// What stands between the brackets of a valid JSON array.
fn inside(array: &str) -> &str {
    array.get(1..array.len() - 1).unwrap_or_default().trim_matches(json_space)
}

fn json_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn event(data: &str) -> Result<Kind<'_>, DecodeError> {
    let first = first_item(data).ok_or(DecodeError::InvalidPayload)?;
    let name: Cow<'_, str> = match first.as_bytes().first() {
        // A name that a Rust string cannot hold keeps its JSON text, quotes included.
        Some(b'"') => string(first).unwrap_or(Cow::Borrowed(first)),
        Some(b'-' | b'0'..=b'9') => Cow::Borrowed(first),
        _ => return Err(DecodeError::InvalidPayload),
    };
    if first.starts_with('"') && RESERVED_EVENTS.contains(&name.as_ref()) {
        return Err(DecodeError::ReservedEvent);
    }
    // `first` is a part of `data`, so the distance of their addresses is its place in it.
    let end = first.as_ptr() as usize - data.as_ptr() as usize + first.len();
    let after = data[end..].trim_start_matches(json_space);
    let args = match after.strip_prefix(',') {
        Some(rest) => {
            rest.trim_matches(json_space).strip_suffix(']').unwrap_or_default().trim_matches(json_space)
        }
        None => "",
    };
    Ok(Kind::Event { name, args })
}

/// The first item of a JSON array, the whole of which is checked.
fn first_item(data: &str) -> Option<&str> {
    struct Items;
    impl<'de> Visitor<'de> for Items {
        type Value = Option<&'de RawValue>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let first = seq.next_element()?;
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(first)
        }
    }
    let mut json = serde_json::Deserializer::from_str(data);
    let first = json.deserialize_seq(Items).ok()??;
    json.end().ok()?;
    Some(first.get())
}

/// Every object with `"_placeholder": true` must name an attachment that was announced.
fn check_placeholders(json: &str, attachments: usize) -> Result<(), DecodeError> {
    let mut are_legal = true;
    each_container(json, |_, container| {
        are_legal &= match container.placeholder {
            Placeholder::No => true,
            Placeholder::Of(num) => (num as usize) < attachments,
            Placeholder::Broken => false,
        };
    });
    if are_legal { Ok(()) } else { Err(DecodeError::IllegalPlaceholder) }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(texts: &[&str], expected: Expect) {
        let lines: Vec<String> = texts
            .iter()
            .map(|text| match decode(text) {
                Ok(Packet { namespace, id, attachments, kind }) => {
                    format!("{text} => {namespace} {id:?} {attachments} {kind:?}")
                }
                Err(error) => format!("{text} => {error}"),
            })
            .collect();
        expected.assert_eq(&lines.join("\n"));
    }

    #[test]
    fn connects() {
        check(
            &[
                "0",
                "0{}",
                r#"0{"token":"1"}"#,
                "0/custom",
                "0/custom,",
                r#"0/custom,{"a":1}"#,
                "0/custom?a=b,",
                "0/__proto__",
            ],
            expect![[r#"
                0 => / None 0 Connect(None)
                0{} => / None 0 Connect(Some("{}"))
                0{"token":"1"} => / None 0 Connect(Some("{\"token\":\"1\"}"))
                0/custom => /custom None 0 Connect(None)
                0/custom, => /custom None 0 Connect(None)
                0/custom,{"a":1} => /custom None 0 Connect(Some("{\"a\":1}"))
                0/custom?a=b, => /custom?a=b None 0 Connect(None)
                0/__proto__ => /__proto__ None 0 Connect(None)"#]],
        );
        check(
            &["0[]", "0null", r#"0"s""#, "0{bad", "0{}x", "0true", "0,"],
            expect![[r#"
                0[] => invalid payload
                0null => invalid payload
                0"s" => invalid payload
                0{bad => invalid payload
                0{}x => invalid payload
                0true => invalid payload
                0, => invalid payload"#]],
        );
    }

    #[test]
    fn events() {
        check(
            &[
                r#"2["a"]"#,
                r#"2["a",1,"2",{"3":[true]}]"#,
                r#"2/n,["a",null]"#,
                r#"2007["a"]"#,
                r#"2[1,"x"]"#,
                r#"2["",0]"#,
                r#"2 [ "a" , 1 , 2 ] "#,
                r#"2["error"]"#,
                r#"2["__proto__"]"#,
                r#"2["A",[]]"#,
                r#"2["\ud800",1]"#,
                r#"2["a","\ud800\u2028\u0000"]"#,
                r#"2["a",-0,1e400,12345678901234567890]"#,
            ],
            expect![[r#"
                2["a"] => / None 0 Event { name: "a", args: "" }
                2["a",1,"2",{"3":[true]}] => / None 0 Event { name: "a", args: "1,\"2\",{\"3\":[true]}" }
                2/n,["a",null] => /n None 0 Event { name: "a", args: "null" }
                2007["a"] => / Some(7) 0 Event { name: "a", args: "" }
                2[1,"x"] => / None 0 Event { name: "1", args: "\"x\"" }
                2["",0] => / None 0 Event { name: "", args: "0" }
                2 [ "a" , 1 , 2 ]  => / None 0 Event { name: "a", args: "1 , 2" }
                2["error"] => / None 0 Event { name: "error", args: "" }
                2["__proto__"] => / None 0 Event { name: "__proto__", args: "" }
                2["A",[]] => / None 0 Event { name: "A", args: "[]" }
                2["\ud800",1] => / None 0 Event { name: "\"\\ud800\"", args: "1" }
                2["a","\ud800\u2028\u0000"] => / None 0 Event { name: "a", args: "\"\\ud800\\u2028\\u0000\"" }
                2["a",-0,1e400,12345678901234567890] => / None 0 Event { name: "a", args: "-0,1e400,12345678901234567890" }"#]],
        );
    }

    #[test]
    fn events_that_are_none() {
        check(
            &[
                "",
                "abc",
                "7",
                "2",
                "2{}",
                "2[]",
                "2[null]",
                "2[true]",
                "2[{}]",
                r#"2["x""#,
                r#"2["x"]y"#,
                r#"2["x",]"#,
                r#"2abc["x"]"#,
                r#"2[{"toString":"foo"}]"#,
                r#"2["disconnect"]"#,
                r#"2["disconnect"]"#,
                r#"2["newListener"]"#,
                "1{}",
                "31{}",
                r#"29007199254740992["x"]"#,
                r#"299999999999999999999999["x"]"#,
                "2[\"a\nb\"]",
                r#"2["x",NaN]"#,
                r#"2/n["x"]"#,
                "4",
                "4[]",
            ],
            expect![[r#"
                 => unknown packet type
                abc => unknown packet type
                7 => unknown packet type
                2 => invalid payload
                2{} => invalid payload
                2[] => invalid payload
                2[null] => invalid payload
                2[true] => invalid payload
                2[{}] => invalid payload
                2["x" => invalid payload
                2["x"]y => invalid payload
                2["x",] => invalid payload
                2abc["x"] => invalid payload
                2[{"toString":"foo"}] => invalid payload
                2["disconnect"] => reserved event name
                2["disconnect"] => reserved event name
                2["newListener"] => reserved event name
                1{} => invalid payload
                31{} => invalid payload
                29007199254740992["x"] => illegal acknowledgement id
                299999999999999999999999["x"] => illegal acknowledgement id
                2["a
                b"] => invalid payload
                2["x",NaN] => invalid payload
                2/n["x"] => invalid payload
                4 => invalid payload
                4[] => invalid payload"#]],
        );
    }

    #[test]
    fn acknowledgements() {
        check(
            &["31[]", "3", r#"3/n,12[ 1 , "b" ]"#, "31", r#"61-3[{"_placeholder":true,"num":0}]"#],
            expect![[r#"
                31[] => / Some(1) 0 Ack("")
                3 => / None 0 Ack("")
                3/n,12[ 1 , "b" ] => /n Some(12) 0 Ack("1 , \"b\"")
                31 => / Some(1) 0 Ack("")
                61-3[{"_placeholder":true,"num":0}] => / Some(3) 1 Ack("{\"_placeholder\":true,\"num\":0}")"#]],
        );
    }

    #[test]
    fn attachment_counts() {
        check(
            &[
                r#"510-["x"]"#,
                r#"511-["x"]"#,
                r#"5999999999-["x"]"#,
                r#"551000000000000000000000000000-["x"]"#,
                r#"50-["x"]"#,
                r#"5-1-["x"]"#,
                "51",
                r#"51e0-["x"]"#,
                r#"5-["x"]"#,
                r#"51["x"]"#,
                r#"5 1-["x"]"#,
                "51-",
                "61-1",
            ],
            expect![[r#"
                510-["x"] => / None 10 Event { name: "x", args: "" }
                511-["x"] => too many attachments
                5999999999-["x"] => too many attachments
                551000000000000000000000000000-["x"] => too many attachments
                50-["x"] => illegal attachments
                5-1-["x"] => illegal attachments
                51 => illegal attachments
                51e0-["x"] => illegal attachments
                5-["x"] => illegal attachments
                51["x"] => illegal attachments
                5 1-["x"] => illegal attachments
                51- => invalid payload
                61-1 => / Some(1) 1 Ack("")"#]],
        );
    }

    #[test]
    fn placeholders_name_an_attachment() {
        let legal = ["0", "1", "1.0", r#"0,"more":2"#];
        for num in legal {
            let text = format!(r#"52-["x",{{"_placeholder":true,"num":{num}}}]"#);
            assert!(decode(&text).is_ok(), "{text}");
        }
        for num in [r#""splice""#, "-1", "2", "0.5", "null", r#"{"num":0}"#, "[0]", "1e9", "true", r#""0""#] {
            let text = format!(r#"52-["x",[{{"a":{{"_placeholder":true,"num":{num}}}}}]]"#);
            assert_eq!(decode(&text), Err(DecodeError::IllegalPlaceholder), "{text}");
        }
        for item in [
            r#"{"_placeholder":true}"#,
            r#"{"num":9,"_placeholder":true}"#,
            r#"{"\u005fplaceholder":true,"num":"a"}"#,
        ] {
            let text = format!(r#"52-["x",{item}]"#);
            assert_eq!(decode(&text), Err(DecodeError::IllegalPlaceholder), "{text}");
        }
        for item in [
            r#"{"_placeholder":false,"num":9}"#,
            r#"{"_placeholder":"true"}"#,
            r#"["_placeholder",true]"#,
            r#""_placeholder\"""#,
        ] {
            let text = format!(r#"52-["x",{item},"\ud800"]"#);
            assert!(decode(&text).is_ok(), "{text}");
        }
        let look_alike = r#"2["x",{"_placeholder":true,"num":"splice"}]"#;
        assert!(decode(look_alike).is_ok(), "without attachments it is data");
    }

    #[test]
    fn depth_does_not_overflow() {
        let deep = format!("2[\"x\",{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        assert!(decode(&deep).is_ok());
        let deep = format!("51-[\"x\",{}{}]", "[".repeat(100_000), "]".repeat(100_000));
        assert!(decode(&deep).is_ok());
        assert_eq!(
            decode(&format!("2[\"x\",{}", "[{\"a\":".repeat(100_000))),
            Err(DecodeError::InvalidPayload)
        );
    }
}
