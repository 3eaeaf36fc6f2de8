//! The table of settings: one row per key, made from the same lines as the structs.

use super::value::{Given, Kind};
use super::{Auth, Config, Log, Publish, Recovery, Rooms, Socket, later};

/// One row: everything that is known about a key.
pub(super) struct Setting {
    /// As the file writes it, such as `socket.path`.
    pub(super) key: &'static str,
    /// The doc comment, line by line.
    pub(super) doc: &'static [&'static str],
    pub(super) kind: Kind,
    pub(super) range: Option<(u64, u64)>,
    pub(super) state: State,
}

/// Whether the feature behind a key exists.
pub(super) enum State {
    Built {
        read: fn(&mut Config, &Given) -> bool,
        show: fn(&Config) -> String,
        number: fn(&Config) -> Option<u64>,
    },
    /// Refused with the reason, unless the value is one that changes nothing.
    Later { default: &'static str, harmless: &'static [&'static str], because: &'static str },
}

impl Setting {
    pub(super) fn is_secret(&self) -> bool {
        self.kind == Kind::Secret
    }

    /// `IDAE_SOCKET_` and the key.
    pub(super) fn variable(&self) -> String {
        format!("IDAE_SOCKET_{}", self.key.to_uppercase().replace('.', "_"))
    }

    /// Older names that mean the same.
    pub(super) fn legacy_variables(&self) -> impl Iterator<Item = &'static str> {
        LEGACY.iter().filter(|(_, key)| *key == self.key).map(|(name, _)| *name)
    }
}

/// Names that people already use and that differ from the rule.
const LEGACY: &[(&str, &str)] = &[
    ("IDAE_SOCKET_JWT_SECRET", "auth.jwt_secret"),
    ("IDAE_SOCKET_INTROSPECTION_URL", "auth.introspection_url"),
    ("IDAE_SOCKET_CORS_ORIGIN", "socket.cors_origins"),
];

/// Variables that the command reads itself, with what they mean.
pub(super) const COMMAND_VARIABLES: &[(&str, &str)] = &[
    ("IDAE_SOCKET_CONFIG", "The path of the TOML file, as `--config`."),
    ("IDAE_SOCKET_URL", "The gateway that `publish` and `listen` speak to, as `--url`."),
    ("IDAE_SOCKET_TOKEN", "The token that `listen` shows, as `--token`."),
    ("IDAE_SOCKET_BINARY", "Where the npm package finds this program."),
];

/// Settings that belong together.
pub(super) struct Section {
    /// The table's name in the file; empty for the top level.
    pub(super) name: &'static str,
    pub(super) about: &'static [&'static str],
    pub(super) settings: &'static [&'static [Setting]],
}

pub(super) const SECTIONS: &[Section] = &[
    Section { name: "", about: Config::ABOUT, settings: &[Config::SETTINGS] },
    Section { name: "auth", about: Auth::ABOUT, settings: &[Auth::SETTINGS] },
    Section { name: "publish", about: Publish::ABOUT, settings: &[Publish::SETTINGS] },
    Section { name: "rooms", about: Rooms::ABOUT, settings: &[Rooms::SETTINGS] },
    Section { name: "socket", about: Socket::ABOUT, settings: &[Socket::SETTINGS] },
    Section { name: "recovery", about: Recovery::ABOUT, settings: &[Recovery::SETTINGS] },
    Section { name: "redis", about: &[" Several gateways as one."], settings: &[later::REDIS] },
    Section { name: "log", about: Log::ABOUT, settings: &[Log::SETTINGS] },
];

/// Every row, in the order of the reference.
pub(super) fn settings() -> impl Iterator<Item = &'static Setting> {
    SECTIONS.iter().flat_map(|section| section.settings).flat_map(|rows| rows.iter())
}

pub(super) fn find(key: &str) -> Option<&'static Setting> {
    settings().find(|setting| setting.key == key)
}

/// The candidate that was probably meant, if any is near enough to be worth naming.
///
/// A key that only stands in the wrong table is the likeliest slip, so it goes first.
pub(super) fn nearest<'a>(unknown: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LIKENESS_MIN: f64 = 0.6;
    let leaf = |key: &str| key.rsplit('.').next().map(str::to_owned);
    let likeness = |candidate: &str| {
        let moved = unknown != candidate && leaf(unknown) == leaf(candidate);
        if moved { 1.0 } else { strsim::normalized_damerau_levenshtein(unknown, candidate) }
    };
    candidates
        .map(|candidate| (likeness(candidate), candidate))
        .filter(|(likeness, _)| *likeness >= LIKENESS_MIN)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, candidate)| candidate)
}

/// A struct of settings, its defaults and its rows.
///
/// A line reads `field: Type = default, in min..=max;`. The doc comment of a field is its text
/// in the reference.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        $Type:ident, $prefix:literal, |$config:ident| $place:expr;
        $(
            $(#[doc = $doc:literal])+
            $field:ident: $t:ty = $default:expr $(, in $min:literal..=$max:literal)?;
        )*
        $(nested { $($(#[doc = $ndoc:literal])+ $nfield:ident: $NType:ident;)* })?
    ) => {
        $(#[doc = $about])+
        #[derive(Debug, Clone)]
        pub struct $Type {
            $(
                $(#[doc = $doc])+
                ///
                #[doc = concat!("Default: `", stringify!($default), "`.")]
                $(#[doc = concat!("From ", $min, " to ", $max, ".")])?
                pub $field: $t,
            )*
            $($($(#[doc = $ndoc])+ pub $nfield: $NType,)*)?
        }

        impl Default for $Type {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    $($($nfield: $NType::default(),)*)?
                }
            }
        }

        impl $Type {
            pub(super) const ABOUT: &'static [&'static str] = &[$($about),+];

            pub(super) const SETTINGS: &'static [$crate::config::table::Setting] = &[$(
                $crate::config::table::Setting {
                    key: concat!($prefix, stringify!($field)),
                    doc: &[$($doc),+],
                    kind: <$t as $crate::config::value::Value>::KIND,
                    range: $crate::config::table::range!($($min, $max)?),
                    state: $crate::config::table::State::Built {
                        read: |$config, given| match <$t as $crate::config::value::Value>::read(given) {
                            Some(value) => {
                                $place.$field = value;
                                true
                            }
                            None => false,
                        },
                        show: |$config| $crate::config::value::Value::show(&$place.$field),
                        number: |$config| $crate::config::value::Value::number(&$place.$field),
                    },
                },
            )*];
        }
    };
}
pub(super) use section;

macro_rules! range {
    () => {
        None
    };
    ($min:literal, $max:literal) => {
        Some(($min, $max))
    };
}
pub(super) use range;
