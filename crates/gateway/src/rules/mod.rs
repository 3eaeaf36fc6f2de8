//! What a publisher or a socket may do: which names a list of patterns covers.

mod pattern;

pub use pattern::{PATTERN_BYTES_MAX, Pattern, PatternError, Patterns};
