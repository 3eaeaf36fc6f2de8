//! One value on its way from a source into its field: what was given, and what a field accepts.

use super::{Address, Forward, PublishKey, Secret};

/// What a source holds for one key.
#[derive(Clone)]
pub(super) enum Given {
    /// From the environment or a flag: its type is the one the setting wants.
    Text(String),
    String(String),
    Number(i128),
    Bool(bool),
    List(Vec<Self>),
    /// Something that no setting accepts, such as a date.
    Other(&'static str),
}

impl Given {
    /// The value for an error sentence. Never called for a secret.
    pub(super) fn show(&self) -> String {
        match self {
            Self::Text(text) | Self::String(text) => quoted(text),
            Self::Number(number) => number.to_string(),
            Self::Bool(flag) => flag.to_string(),
            Self::List(entries) => {
                let entries: Vec<_> = entries.iter().map(Self::show).collect();
                format!("[{}]", entries.join(", "))
            }
            Self::Other(kind) => (*kind).to_owned(),
        }
    }

    /// The value as the environment would write it.
    pub(super) fn plain(&self) -> Option<String> {
        match self {
            Self::Text(text) | Self::String(text) => Some(text.clone()),
            Self::Number(number) => Some(number.to_string()),
            Self::Bool(flag) => Some(flag.to_string()),
            Self::List(entries) => {
                let entries: Option<Vec<_>> = entries.iter().map(Self::plain).collect();
                entries.map(|entries| entries.join(","))
            }
            Self::Other(_) => None,
        }
    }
}

/// In quotes, and short enough for a sentence.
pub(super) fn quoted(text: &str) -> String {
    const SHOWN_CHARS_MAX: usize = 80;
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(SHOWN_CHARS_MAX).collect();
    format!("{start:?}…")
}

/// What a setting accepts, for error sentences and the reference.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    List,
    Number,
    Bool,
    Choice(&'static [&'static str]),
    Choices(&'static [&'static str]),
    Secret,
    /// Text that may hold a password.
    Address,
    Tables,
}

impl Kind {
    /// Whether a value of this kind must stay out of every sentence.
    pub(super) fn holds_secrets(self) -> bool {
        matches!(self, Self::Secret | Self::Address | Self::Tables)
    }

    /// Completes "… must be".
    pub(super) fn wanted(self, key: &str, range: Option<(u64, u64)>) -> String {
        match (self, range) {
            (Self::Text, _) => "text in quotes".to_owned(),
            (Self::Secret | Self::Address, _) => "text in quotes (its value is not shown here)".to_owned(),
            (Self::List, _) => r#"a list of texts, such as ["a", "b"]"#.to_owned(),
            (Self::Number, Some((min, max))) => format!("a whole number from {min} to {max}"),
            (Self::Number, None) => "a whole number".to_owned(),
            (Self::Bool, _) => "`true` or `false`".to_owned(),
            (Self::Choice(names), _) => format!("one of {}", names_of(names)),
            (Self::Choices(names), _) => format!("a list of {}", names_of(names)),
            (Self::Tables, _) => format!("written in the file as [[{key}]] tables"),
        }
    }
}

pub(super) fn names_of(names: &[&str]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// The type of a field.
pub(super) trait Value: Sized {
    const KIND: Kind;

    /// `None` when this is not what the field accepts.
    fn read(given: &Given) -> Option<Self>;

    /// For `explain` and the reference. Never shows a secret.
    fn show(&self) -> String;

    /// The value to hold against the range of the setting.
    fn number(&self) -> Option<u64> {
        None
    }
}

impl Value for String {
    const KIND: Kind = Kind::Text;

    fn read(given: &Given) -> Option<Self> {
        match given {
            Given::Text(text) | Given::String(text) => Some(text.clone()),
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Value for Secret {
    const KIND: Kind = Kind::Secret;

    fn read(given: &Given) -> Option<Self> {
        String::read(given).map(Self::from)
    }

    fn show(&self) -> String {
        "***".to_owned()
    }
}

impl Value for Address {
    const KIND: Kind = Kind::Address;

    fn read(given: &Given) -> Option<Self> {
        String::read(given).map(Self::from)
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

impl Value for bool {
    const KIND: Kind = Kind::Bool;

    fn read(given: &Given) -> Option<Self> {
        match given {
            Given::Bool(flag) => Some(*flag),
            Given::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    fn show(&self) -> String {
        self.to_string()
    }
}

macro_rules! number {
    ($($t:ty),*) => {$(
        impl Value for $t {
            const KIND: Kind = Kind::Number;

            fn read(given: &Given) -> Option<Self> {
                match given {
                    Given::Number(number) => Self::try_from(*number).ok(),
                    Given::Text(text) => text.parse().ok(),
                    _ => None,
                }
            }

            fn show(&self) -> String {
                self.to_string()
            }

            fn number(&self) -> Option<u64> {
                u64::try_from(*self).ok()
            }
        }
    )*};
}
number!(u16, u64, usize);

impl Value for Vec<String> {
    const KIND: Kind = Kind::List;

    fn read(given: &Given) -> Option<Self> {
        match given {
            Given::Text(text) => Some(parts(text).map(str::to_owned).collect()),
            Given::List(entries) => entries
                .iter()
                .map(|entry| match entry {
                    Given::String(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            _ => None,
        }
    }

    fn show(&self) -> String {
        format!("{self:?}")
    }
}

impl Value for Vec<PublishKey> {
    const KIND: Kind = Kind::Tables;

    /// Only the file has tables, and they are read with their lines.
    fn read(_: &Given) -> Option<Self> {
        None
    }

    fn show(&self) -> String {
        let all_or = |list: &[String]| {
            if list.is_empty() { "all".to_owned() } else { list.join(" ") }
        };
        let keys: Vec<_> = self
            .iter()
            .map(|key| {
                format!(
                    "{} (key ***, events: {}, rooms: {})",
                    key.name,
                    all_or(&key.events),
                    all_or(&key.rooms)
                )
            })
            .collect();
        if keys.is_empty() { "none".to_owned() } else { keys.join("; ") }
    }
}

impl Value for Vec<Forward> {
    const KIND: Kind = Kind::Tables;

    /// Only the file has tables, and they are read with their lines.
    fn read(_: &Given) -> Option<Self> {
        None
    }

    fn show(&self) -> String {
        let forward = |forward: &Forward| {
            let secret = if forward.secret.is_some() { "secret ***" } else { "unsigned" };
            format!("{} to {} ({secret}, {} ms)", forward.event, forward.url, forward.timeout_ms)
        };
        let forwards: Vec<_> = self.iter().map(forward).collect();
        if forwards.is_empty() { "none".to_owned() } else { forwards.join("; ") }
    }
}

impl<T: Value> Value for Option<T> {
    const KIND: Kind = T::KIND;

    fn read(given: &Given) -> Option<Self> {
        T::read(given).map(Some)
    }

    fn show(&self) -> String {
        self.as_ref().map_or_else(|| "not set".to_owned(), T::show)
    }

    fn number(&self) -> Option<u64> {
        self.as_ref().and_then(T::number)
    }
}

/// The entries of a list in the environment. Empty ones are a trailing comma, not a value.
pub(super) fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// An enum whose values have names in the configuration.
macro_rules! choice {
    ($(#[$about:meta])* $Type:ident { $($(#[$doc:meta])* $Variant:ident = $name:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum $Type { $($(#[$doc])* $Variant),* }

        impl $Type {
            const NAMES: &'static [&'static str] = &[$($name),*];

            /// Every value.
            pub const ALL: &'static [Self] = &[$(Self::$Variant),*];

            /// The name it has in the configuration.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $name),* }
            }

            fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$Variant),)* _ => None }
            }
        }

        impl $crate::config::value::Value for $Type {
            const KIND: $crate::config::value::Kind = $crate::config::value::Kind::Choice(Self::NAMES);

            fn read(given: &$crate::config::value::Given) -> Option<Self> {
                Self::named(&<String as $crate::config::value::Value>::read(given)?)
            }

            fn show(&self) -> String {
                self.as_str().to_owned()
            }
        }

        impl std::fmt::Display for $Type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(super) use choice;

/// A list of such values.
macro_rules! choices {
    ($($Type:ident),*) => {$(
        impl $crate::config::value::Value for Vec<$Type> {
            const KIND: $crate::config::value::Kind = $crate::config::value::Kind::Choices($Type::NAMES);

            fn read(given: &$crate::config::value::Given) -> Option<Self> {
                let names = <Vec<String> as $crate::config::value::Value>::read(given)?;
                names.iter().map(|name| $Type::named(name)).collect()
            }

            fn show(&self) -> String {
                let names: Vec<_> = self.iter().map(|value| value.as_str()).collect();
                format!("{names:?}")
            }
        }
    )*};
}
pub(super) use choices;
