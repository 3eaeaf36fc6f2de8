//! The keys by which publishers are known, and what each of them may publish.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::digest::{self, Digest};
use subtle::{Choice, ConstantTimeEq};

use crate::config::PublishKey;
use crate::rules::{PatternError, Patterns};

/// All publish keys. Without any, only the machine itself may publish.
#[derive(Default)]
pub(crate) struct PublishKeys(Vec<Arc<Key>>);

struct Key {
    name: String,
    /// Of the key's text. Digests have one length, so comparing them does not tell that of the key.
    digest: Digest,
    /// `None`: all.
    events: Option<Patterns>,
    /// `None`: all, and besides rooms everything else.
    rooms: Option<Patterns>,
}

/// Whoever publishes, and what it may.
#[derive(Clone)]
pub(crate) struct Publisher(Option<Arc<Key>>);

/// No key is the one presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KeyRefused;

impl PublishKeys {
    pub(crate) fn new(keys: &[PublishKey]) -> Result<Self, PatternError> {
        let patterns = |list: &[String]| match list {
            [] => Ok(None),
            list => Patterns::parse(list).map(Some),
        };
        let key = |key: &PublishKey| {
            Ok(Arc::new(Key {
                name: key.name.clone(),
                digest: digest::digest(&digest::SHA256, key.key.expose().as_bytes()),
                events: patterns(&key.events)?,
                rooms: patterns(&key.rooms)?,
            }))
        };
        keys.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Who presents this key. Takes the same time whatever the keys have in common with it.
    pub(crate) fn identify(&self, presented: &str) -> Result<Publisher, KeyRefused> {
        let presented = digest::digest(&digest::SHA256, presented.as_bytes());
        let mut found = None;
        for key in &self.0 {
            let same: Choice = key.digest.as_ref().ct_eq(presented.as_ref());
            if same.into() {
                found = Some(key);
            }
        }
        found.map(|key| Publisher(Some(Arc::clone(key)))).ok_or(KeyRefused)
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Publisher").field(&self.name()).finish()
    }
}

impl Publisher {
    /// A program on the gateway's own machine, when no key is set.
    pub(crate) const LOCAL: Self = Self(None);

    /// What logs call its key. `None`: it needs none.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.as_ref().map(|key| key.name.as_str())
    }

    pub(crate) fn may_publish(&self, event: &str) -> bool {
        self.0.as_ref().and_then(|key| key.events.as_ref()).is_none_or(|events| events.matches(event))
    }

    pub(crate) fn may_reach(&self, room: &str) -> bool {
        self.0.as_ref().and_then(|key| key.rooms.as_ref()).is_none_or(|rooms| rooms.matches(room))
    }

    /// Whether it may do what no list of rooms can describe: broadcast, and name users.
    pub(crate) fn may_reach_everybody(&self) -> bool {
        self.0.as_ref().is_none_or(|key| key.rooms.is_none())
    }
}
