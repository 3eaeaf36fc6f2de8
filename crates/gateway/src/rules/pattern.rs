//! Patterns over event names, rooms and namespaces.
//!
//! `*` stands for any text, also none and also with `/` in it. `:name` at the start of a `/`
//! segment stands for that one segment, which must not be empty. Everything else is literal.
//!
//! Invariants
//! * Matching allocates nothing and takes at most (pattern length × text length) steps.
//! * A parameter fills its segment, so the end of a match follows from its start. That is why
//!   going back to the last `*` is enough, and no text makes the matcher explode.

use std::fmt;

/// The longest pattern, in bytes.
pub const PATTERN_BYTES_MAX: usize = 256;

/// One pattern, ready to match.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    pieces: Vec<Piece>,
}

impl Pattern {
    /// Reads a pattern such as `data:*` or `component/:action`.
    ///
    /// # Errors
    /// The text is empty, longer than [`PATTERN_BYTES_MAX`], or a parameter shares its segment
    /// with something else.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLong { bytes: text.len() });
        }
        let mut pieces = Vec::new();
        for (index, segment) in text.split('/').enumerate() {
            if index > 0 {
                literal(&mut pieces, "/");
            }
            if is_parameter(segment)? {
                pieces.push(Piece::Segment);
                continue;
            }
            for (index, part) in segment.split('*').enumerate() {
                if index > 0 && pieces.last() != Some(&Piece::Anything) {
                    pieces.push(Piece::Anything);
                }
                literal(&mut pieces, part);
            }
        }
        Ok(Self { text: text.to_owned(), pieces })
    }

    /// The same pattern with every literal text taken apart by `split`: what it returns stands for
    /// itself, whatever characters it has. `None` if there is nothing to stand in for a part.
    pub(super) fn map_literals(&self, mut split: impl FnMut(&str) -> Option<Vec<Filled>>) -> Option<Self> {
        let mut filled = Self { text: String::new(), pieces: Vec::new() };
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => {
                    for part in split(text)? {
                        match part {
                            Filled::Text(text) => {
                                filled.text.push_str(&text);
                                literal(&mut filled.pieces, &text);
                            }
                            Filled::Anything => {
                                filled.text.push('*');
                                if filled.pieces.last() != Some(&Piece::Anything) {
                                    filled.pieces.push(Piece::Anything);
                                }
                            }
                        }
                    }
                }
                Piece::Segment => {
                    filled.text.push_str(":segment");
                    filled.pieces.push(Piece::Segment);
                }
                Piece::Anything => {
                    filled.text.push('*');
                    filled.pieces.push(Piece::Anything);
                }
            }
        }
        Some(filled)
    }

    /// The literal parts, in their order.
    pub(super) fn literals(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(text) => Some(text.as_str()),
            Piece::Segment | Piece::Anything => None,
        })
    }

    /// Whether the pattern covers the whole of `text`.
    pub fn matches(&self, text: &str) -> bool {
        let (pieces, text) = (self.pieces.as_slice(), text.as_bytes());
        let (mut piece, mut at) = (0, 0);
        // Where the last `*` stood, and how far it reaches so far.
        let mut retry: Option<(usize, usize)> = None;
        loop {
            let reached = match pieces.get(piece) {
                Some(Piece::Anything) => {
                    if piece + 1 == pieces.len() {
                        return true;
                    }
                    retry = Some((piece + 1, at));
                    Some(at)
                }
                Some(Piece::Literal(literal)) => {
                    text[at..].starts_with(literal.as_bytes()).then(|| at + literal.len())
                }
                Some(Piece::Segment) => segment_end(text, at),
                None if at == text.len() => return true,
                None => None,
            };
            if let Some(end) = reached {
                (piece, at) = (piece + 1, end);
                continue;
            }
            match &mut retry {
                Some((after, reach)) if *reach < text.len() => {
                    *reach += 1;
                    (piece, at) = (*after, *reach);
                }
                _ => return false,
            }
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

/// A list of patterns: covers what any of them covers. An empty list covers nothing.
#[derive(Debug, Clone, Default)]
pub struct Patterns(Vec<Pattern>);

impl Patterns {
    /// Reads every text as a [`Pattern`].
    ///
    /// # Errors
    /// The first text that is no pattern.
    pub fn parse<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Result<Self, PatternError> {
        texts.into_iter().map(|text| Pattern::parse(text.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether any pattern covers `text`.
    pub fn matches(&self, text: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(text))
    }

    /// The pattern whose writing is the nearest to `text`, for "did you mean". A bare `*` is
    /// never named.
    pub fn closest(&self, text: &str) -> Option<&str> {
        closest(text, self.0.iter().map(Pattern::as_str))
    }

    /// The patterns in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.0.iter()
    }

    /// Whether there is no pattern at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The candidate whose writing is the nearest to `text`, but never a bare `*`.
pub(super) fn closest<'a>(text: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let likeness = |candidate: &str| strsim::normalized_damerau_levenshtein(text, candidate);
    candidates
        .filter(|candidate| *candidate != "*")
        .max_by(|left, right| likeness(left).total_cmp(&likeness(right)))
}

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// There is nothing to match.
    #[error("a pattern must not be empty")]
    Empty,
    /// Longer than [`PATTERN_BYTES_MAX`].
    #[error("a pattern has at most {PATTERN_BYTES_MAX} bytes, this one has {bytes}")]
    TooLong {
        /// How long it is, in bytes.
        bytes: usize,
    },
    /// A parameter that shares its segment, such as `a/:name.json`.
    #[error("a parameter must fill its segment: `{segment}` has something after the name")]
    PartialParameter {
        /// The segment, with its colon.
        segment: String,
    },
}

/// What takes the place of a part of a literal text.
pub(super) enum Filled {
    Text(String),
    Anything,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// `:name`: one segment up to the next `/` or the end.
    Segment,
    /// `*`.
    Anything,
}

fn literal(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Literal(before)) => before.push_str(text),
        _ => pieces.push(Piece::Literal(text.to_owned())),
    }
}

fn is_parameter(segment: &str) -> Result<bool, PatternError> {
    let Some(name) = segment.strip_prefix(':') else {
        return Ok(false);
    };
    if !name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_') {
        return Ok(false);
    }
    if name.chars().all(|letter| letter.is_ascii_alphanumeric() || letter == '_') {
        return Ok(true);
    }
    Err(PatternError::PartialParameter { segment: segment.to_owned() })
}

fn segment_end(text: &[u8], start: usize) -> Option<usize> {
    let length = memchr::memchr(b'/', &text[start..]).unwrap_or(text.len() - start);
    (length > 0).then(|| start + length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the words of the specification say, without regard to time.
    fn oracle(pattern: &[u8], segment_start: bool, text: &[u8]) -> bool {
        let Some((&first, rest)) = pattern.split_first() else {
            return text.is_empty();
        };
        let parameter = segment_start
            && first == b':'
            && rest.first().is_some_and(|c| c.is_ascii_alphabetic() || *c == b'_');
        if parameter {
            let end = rest.iter().position(|c| *c == b'/').unwrap_or(rest.len());
            let segment = text.iter().position(|c| *c == b'/').unwrap_or(text.len());
            return (1..=segment).any(|taken| oracle(&rest[end..], false, &text[taken..]));
        }
        match first {
            b'*' => (0..=text.len()).any(|taken| oracle(rest, false, &text[taken..])),
            _ => text.first() == Some(&first) && oracle(rest, first == b'/', &text[1..]),
        }
    }

    #[track_caller]
    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let parsed = Pattern::parse(pattern).unwrap();
        for text in yes {
            assert!(parsed.matches(text), "{pattern} must cover {text:?}");
        }
        for text in no {
            assert!(!parsed.matches(text), "{pattern} must not cover {text:?}");
        }
    }

    #[test]
    fn stars_parameters_and_literals() {
        check("*", &["", "a", "a/b"], &[]);
        check("entity", &["entity"], &["", "entit", "entity2", "Entity"]);
        check("data:*", &["data:", "data:a", "data:a/b"], &["data", "xdata:a"]);
        check(
            "component/:action",
            &["component/a", "component/:a"],
            &["component/", "component/a/b", "component"],
        );
        check(":a/x/:b", &["1/x/2"], &["1/y/2", "/x/2", "1/x/"]);
        check("/:tenant", &["/acme"], &["/", "/a/b", "acme"]);
        check("a*b*c", &["abc", "a-b-c", "abbcc"], &["acb", "ab"]);
        check("*/:last", &["a/b", "/b", "a/b/c"], &["b", "a/"]);
        check("a:b", &["a:b"], &["a:c", "ab"]);
        check(":*", &[":", ":x"], &["x"]);
        check("*:x", &[":x", "a:x"], &["a:y"]);
        check("é*é", &["éé", "é-é"], &["é"]);
    }

    #[test]
    fn what_is_no_pattern() {
        assert_eq!(Pattern::parse(""), Err(PatternError::Empty));
        assert_eq!(Pattern::parse(&"a".repeat(257)), Err(PatternError::TooLong { bytes: 257 }));
        for text in ["a/:b.c", "a/:b*", ":a:b"] {
            assert!(matches!(Pattern::parse(text), Err(PatternError::PartialParameter { .. })), "{text}");
        }
    }

    #[test]
    fn a_hostile_text_does_not_explode() {
        let pattern = Pattern::parse(&"*a".repeat(128)).unwrap();
        assert!(!pattern.matches(&format!("{}b", "a".repeat(100_000))));
    }

    #[test]
    fn the_closest_is_named() {
        let patterns = Patterns::parse(["*", "entity", "dispatch", "data:*"]).unwrap();
        assert_eq!(patterns.closest("entty"), Some("entity"));
        assert_eq!(patterns.closest("data"), Some("data:*"));
        assert_eq!(Patterns::parse(["*"]).unwrap().closest("x"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4096, ..ProptestConfig::default() })]
        #[test]
        fn agrees_with_the_oracle(pattern in "[ab/*:]{1,9}", text in "[ab/:]{0,10}") {
            if let Ok(parsed) = Pattern::parse(&pattern) {
                prop_assert_eq!(parsed.matches(&text), oracle(pattern.as_bytes(), true, text.as_bytes()));
            }
        }

        #[test]
        fn agrees_where_segments_abound(pattern in "(a|b|\\*|:a|:a)(/(a|\\*|:a|:b|a\\*|\\*:)){0,4}", text in "[ab:]{0,2}(/[ab]{0,2}){0,5}") {
            let parsed = Pattern::parse(&pattern).unwrap();
            prop_assert_eq!(parsed.matches(&text), oracle(pattern.as_bytes(), true, text.as_bytes()));
        }
    }
}
