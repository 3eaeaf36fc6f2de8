//! JSON text that is known to be valid: its tokens, and what is in its objects and arrays.
//!
//! Nothing here recurses, so depth is no obstacle, and nothing is made a tree of.

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
        let mut start = self.at;
        while matches!(bytes.get(start)?, b' ' | b'\t' | b'\n' | b'\r') {
            start += 1;
        }
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
    let ends = |byte: &u8| matches!(byte, b',' | b']' | b'}' | b':' | b' ' | b'\t' | b'\n' | b'\r');
    let length = json[start..].iter().take_while(|byte| !ends(byte)).count();
    start + length.max(1)
}

/// A JSON string's value. `None`: a lone surrogate is in it, which a Rust string cannot hold.
pub(super) fn string(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or_default();
    if memchr::memchr(b'\\', inner.as_bytes()).is_none() {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(json).map(Cow::Owned).ok()
}

/// A JSON string's value, with U+FFFD for each lone surrogate.
pub(super) fn string_lossy(json: &str) -> Cow<'_, str> {
    string(json).unwrap_or_else(|| {
        let Unchecked(mut bytes) = serde_json::from_str(json).unwrap_or_default();
        for at in 0..bytes.len().saturating_sub(2) {
            // Both have three bytes.
            if bytes[at] == 0xed && bytes[at + 1] >= 0xa0 {
                bytes[at..at + 3].copy_from_slice("\u{fffd}".as_bytes());
            }
        }
        Cow::Owned(String::from_utf8(bytes).unwrap_or_default())
    })
}

/// A JSON string's value as bytes, with lone surrogates as if they were characters.
#[derive(Default)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Container {
    /// Its items, or pairs of key and value.
    pub(super) len: u32,
    /// Where it ends in the text, its bracket included.
    pub(super) end: usize,
    pub(super) placeholder: Placeholder,
}

/// Whether an object stands for an attachment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Placeholder {
    /// It has no `"_placeholder": true`.
    #[default]
    No,
    /// It has, and its `num` is this whole number from 0. As in JavaScript `1.0` is one; so is `1e0`.
    Of(u32),
    /// It has, and nothing that could be the number of an attachment.
    Broken,
}

/// All objects and arrays of a valid JSON text, in the order in which they begin.
pub(super) fn containers(json: &str) -> Vec<Container> {
    let mut containers = Vec::new();
    each_container(json, |index, container| {
        if containers.len() <= index {
            containers.resize(index + 1, Container::default());
        }
        containers[index] = container;
    });
    containers
}

/// Calls `closed` for each object and array at its end, with its place in the order in which they begin.
pub(super) fn each_container(json: &str, mut closed: impl FnMut(usize, Container)) {
    let mut begun = 0;
    let mut open: Vec<Open> = Vec::new();
    let mut tokens = Tokens::of(json);
    while let Some(token) = tokens.next() {
        match token.as_bytes() {
            [bracket @ (b'{' | b'['), ..] => {
                value(&mut open, token);
                open.push(Open { index: begun, is_object: *bracket == b'{', ..Open::default() });
                begun += 1;
            }
            [b'}' | b']', ..] => {
                if let Some(container) = open.pop() {
                    closed(container.index as usize, container.close(tokens.end()));
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
                    container.key = Some(Key::of(token));
                }
                _ => value(&mut open, token),
            },
            _ => value(&mut open, token),
        }
    }
}

/// An object or array whose end was not seen yet. Small, because a peer may open as many as it has bytes.
#[derive(Default)]
struct Open {
    index: u32,
    len: u32,
    num: Option<u32>,
    is_object: bool,
    is_placeholder: bool,
    /// Of the value that comes next; `None` while a key is expected.
    key: Option<Key>,
}

enum Key {
    Placeholder,
    Num,
    Other,
}

impl Key {
    fn of(token: &str) -> Self {
        match token {
            r#""_placeholder""# => Self::Placeholder,
            r#""num""# => Self::Num,
            _ if !token.contains('\\') => Self::Other,
            _ => match string(token).as_deref() {
                Some("_placeholder") => Self::Placeholder,
                Some("num") => Self::Num,
                _ => Self::Other,
            },
        }
    }
}

impl Open {
    fn close(self, end: usize) -> Container {
        let placeholder = match self.num {
            _ if !self.is_placeholder => Placeholder::No,
            Some(num) => Placeholder::Of(num),
            None => Placeholder::Broken,
        };
        Container { len: self.len, end, placeholder }
    }
}

/// Notes a value (or its first character) in the container that it belongs to.
fn value(open: &mut [Open], token: &str) {
    let Some(container) = open.last_mut() else { return };
    container.len = container.len.saturating_add(1);
    match container.key {
        Some(Key::Placeholder) => container.is_placeholder = token == "true",
        Some(Key::Num) => {
            let num = token.parse().ok().filter(|num: &f64| *num >= 0.0 && num.fract() == 0.0);
            // One too large becomes the largest, which is no attachment's either.
            container.num = num.map(|num| num as u32);
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
        for (json, expected) in [
            (r#""a\ud800b""#, "a\u{fffd}b"),
            (r#""\udc00\ud83d\ude00\ud800""#, "\u{fffd}\u{1f600}\u{fffd}"),
            (r#""\ud800\ud800\u00e9""#, "\u{fffd}\u{fffd}é"),
        ] {
            assert_eq!(string(json), None, "{json}");
            assert_eq!(string_lossy(json), expected, "{json}");
        }
        assert_eq!(string_lossy(r#""a\u00e9\n\ud7ff""#), "aé\n\u{d7ff}");
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
            (r#"{"\u005fplaceholder":true,"n\u0075m":2}"#, Placeholder::Of(2)),
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
