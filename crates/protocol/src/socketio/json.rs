//! JSON text that is known to be valid: its tokens, and what is in its objects and arrays.
//!
//! Nothing here recurses, so depth is no obstacle, and nothing is read as a value, so neither a number
//! beyond `f64` nor half a surrogate pair is one.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Visitor};

/// The tokens of a valid JSON text, without the spaces between them.
pub(super) struct Tokens<'a> {
    json: &'a str,
    at: usize,
}

impl<'a> Tokens<'a> {
    pub(super) const fn of(json: &'a str) -> Self {
        Self { json, at: 0 }
    }

    /// Where the last token ended.
    pub(super) const fn end(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let bytes = self.json.as_bytes();
        let start =
            self.at + bytes.get(self.at..)?.iter().take_while(|byte| b" \t\n\r".contains(byte)).count();
        let end = match bytes.get(start)? {
            b'"' => string_end(bytes, start),
            b'{' | b'}' | b'[' | b']' | b':' | b',' => start + 1,
            _ => word_end(bytes, start),
        };
        self.at = end;
        self.json.get(start..end)
    }
}

/// Where the string that begins at `start` ends, its quote included.
fn string_end(json: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(found) = json.get(at..).and_then(|rest| memchr::memchr2(b'"', b'\\', rest)) {
        if json[at + found] == b'"' {
            return at + found + 1;
        }
        // Whatever is escaped is inside.
        at += found + 2;
    }
    json.len()
}

/// Where a number, `true`, `false` or `null` ends.
fn word_end(json: &[u8], start: usize) -> usize {
    let length = json[start..].iter().take_while(|byte| !b",]}: \t\n\r".contains(byte)).count();
    start + length.max(1)
}

/// A JSON string's value. A lone surrogate cannot be held by a Rust string; such a text keeps its
/// JSON form, quotes included.
pub(super) fn string(json: &str) -> Cow<'_, str> {
    let inner = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or_default();
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Cow::Borrowed(inner);
    }
    serde_json::from_str::<String>(json).map_or(Cow::Borrowed(json), Cow::Owned)
}

/// A JSON string's value, with U+FFFD where a lone surrogate stands.
pub(super) fn text(json: &str) -> Cow<'_, str> {
    match string(json) {
        // Only what cannot be held keeps its quotes.
        Cow::Borrowed(text) if text.len() == json.len() => {
            let bytes = serde_json::from_str::<Unchecked>(json).map_or_else(|_| Vec::new(), |text| text.0);
            Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
        }
        text => text,
    }
}

/// A JSON string's value as bytes, which may hold lone surrogates.
struct Unchecked(Vec<u8>);

impl<'de> Deserialize<'de> for Unchecked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Unchecked;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_bytes<E>(self, text: &[u8]) -> Result<Unchecked, E> {
                Ok(Unchecked(text.to_vec()))
            }
        }
        deserializer.deserialize_bytes(Text)
    }
}

/// An object or array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Container {
    /// Its items, or pairs of key and value.
    pub(super) len: u32,
    /// Where it ends in the text, its bracket included.
    pub(super) end: usize,
    pub(super) placeholder: Placeholder,
}

/// Whether an object stands for an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Placeholder {
    /// It has no `"_placeholder": true`.
    No,
    /// It has, and its `num` is this whole number from 0. As in JavaScript `1.0` is one; so is `1e0`.
    Of(usize),
    /// It has, and nothing that could be the number of an attachment.
    Broken,
}

/// All objects and arrays of a valid JSON text, in the order in which they begin.
pub(super) fn containers(json: &str) -> Vec<Container> {
    let mut containers = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    let mut tokens = Tokens::of(json);
    while let Some(token) = tokens.next() {
        match token.as_bytes() {
            [bracket @ (b'{' | b'['), ..] => {
                value(&mut containers, &mut open, token);
                open.push(Open::new(containers.len(), *bracket == b'{'));
                containers.push(Container { len: 0, end: json.len(), placeholder: Placeholder::No });
            }
            [b'}' | b']', ..] => {
                if let Some(closed) = open.pop()
                    && let Some(container) = containers.get_mut(closed.index)
                {
                    container.end = tokens.end();
                    container.placeholder = closed.placeholder();
                }
            }
            [b',', ..] => {
                if let Some(container) = open.last_mut() {
                    container.key = None;
                }
            }
            [b':', ..] => {}
            [b'"', ..] => match open.last_mut() {
                Some(container @ Open { is_object: true, key: None, .. }) => {
                    container.key = Some(match string(token).as_ref() {
                        "_placeholder" => Key::Placeholder,
                        "num" => Key::Num,
                        _ => Key::Other,
                    });
                }
                _ => value(&mut containers, &mut open, token),
            },
            _ => value(&mut containers, &mut open, token),
        }
    }
    containers
}

/// An object or array whose end was not seen yet.
struct Open {
    index: usize,
    is_object: bool,
    /// Of the value that comes next; `None` while a key is expected.
    key: Option<Key>,
    is_placeholder: bool,
    num: Option<f64>,
}

enum Key {
    Placeholder,
    Num,
    Other,
}

impl Open {
    const fn new(index: usize, is_object: bool) -> Self {
        Self { index, is_object, key: None, is_placeholder: false, num: None }
    }

    fn placeholder(&self) -> Placeholder {
        match self.num {
            _ if !self.is_placeholder => Placeholder::No,
            // A number too large for an index is cut to the largest, which is none of an attachment either.
            Some(num) => Placeholder::Of(num as usize),
            None => Placeholder::Broken,
        }
    }
}

/// Notes a value (or its first character) in the container that it belongs to.
fn value(containers: &mut [Container], open: &mut [Open], token: &str) {
    let Some(container) = open.last_mut() else { return };
    if let Some(container) = containers.get_mut(container.index) {
        container.len = container.len.saturating_add(1);
    }
    match container.key {
        Some(Key::Placeholder) => container.is_placeholder = token == "true",
        Some(Key::Num) => {
            container.num = token.parse().ok().filter(|num: &f64| *num >= 0.0 && num.fract() == 0.0);
        }
        Some(Key::Other) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_cut_as_json_cuts_them() {
        let json = " {\"a\\\"\" :[1 ,-2.5e3,true],\n\"\":null,\"é\":\"]\"}";
        let tokens: Vec<&str> = Tokens::of(json).collect();
        let expected = [
            "{",
            "\"a\\\"\"",
            ":",
            "[",
            "1",
            ",",
            "-2.5e3",
            ",",
            "true",
            "]",
            ",",
            "\"\"",
            ":",
            "null",
            ",",
            "\"é\"",
            ":",
            "\"]\"",
            "}",
        ];
        assert_eq!(tokens, expected);
    }

    #[test]
    fn what_no_string_can_hold_is_replaced() {
        let half = r#""a\ud800b""#;
        assert_eq!(string(half), half);
        assert_eq!(text(half).replace('\u{fffd}', ""), "ab");
        assert!(text(half).contains('\u{fffd}'));
        assert_eq!(text(r#""a\u00e9\n""#), "aé\n");
    }

    #[test]
    fn containers_know_their_length_and_end() {
        let found: Vec<(u32, usize)> = containers(r#"[{},[1,"a",{"b":[]}],{"c":1,"d":[2,3]}]"#)
            .iter()
            .map(|container| (container.len, container.end))
            .collect();
        assert_eq!(found, [(3, 39), (0, 3), (3, 20), (1, 19), (0, 18), (2, 38), (2, 37)]);
    }

    #[test]
    fn placeholders_are_told_from_what_looks_like_them() {
        for (json, expected) in [
            (r#"{"_placeholder":true,"num":1}"#, Placeholder::Of(1)),
            (r#"{"num":1.0,"_placeholder":true}"#, Placeholder::Of(1)),
            (r#"{"_placeholder":true}"#, Placeholder::Broken),
            (r#"{"_placeholder":true,"num":"1"}"#, Placeholder::Broken),
            (r#"{"_placeholder":true,"num":-1}"#, Placeholder::Broken),
            (r#"{"_placeholder":1,"num":1}"#, Placeholder::No),
            (r#"["_placeholder",true]"#, Placeholder::No),
        ] {
            assert_eq!(containers(json)[0].placeholder, expected, "{json}");
        }
    }
}
