//! A configuration while it is put together from its sources.

use std::collections::{BTreeMap, BTreeSet};

use super::error::{ConfigError, ConfigErrors, Origin};
use super::table::{self, SECTIONS, Setting, State};
use super::value::Given;
use super::{Config, Resolved, validate};

/// The values so far, where they came from, and what was wrong.
#[derive(Default)]
pub(super) struct Reading {
    pub(super) config: Config,
    origins: BTreeMap<&'static str, Origin>,
    errors: Vec<ConfigError>,
    /// Keys whose value could not be read. A check that needs one of them would accuse a value
    /// that nobody wrote, so it is left out.
    damaged: BTreeSet<&'static str>,
    /// The file is no TOML, so what it says is not known.
    unreadable: bool,
}

impl Reading {
    /// One value for one setting.
    pub(super) fn set(&mut self, setting: &'static Setting, given: &Given, origin: Origin) {
        match setting.state {
            State::Later { harmless, because, .. } => {
                let plain = given.plain();
                if !harmless.iter().any(|value| plain.as_deref() == Some(value)) {
                    let message = format!("`{}` is not available in this version: {because}", setting.key);
                    self.wrong(setting.key, origin, message);
                }
            }
            State::Built { read, number, .. } => {
                let mut next = self.config.clone();
                let in_range = |config: &Config| match (number(config), setting.range) {
                    (Some(number), Some((min, max))) => (min..=max).contains(&number),
                    _ => true,
                };
                if read(&mut next, given) && in_range(&next) {
                    self.config = next;
                    self.came_from(setting.key, origin);
                } else {
                    let wanted = setting.kind.wanted(setting.key, setting.range);
                    let not = if setting.kind.holds_secrets() {
                        String::new()
                    } else {
                        format!(", not {}", given.show())
                    };
                    self.wrong(setting.key, origin, format!("`{}` must be {wanted}{not}", setting.key));
                }
            }
        }
    }

    /// A value written on the command line.
    pub(super) fn flag(&mut self, key: &str, value: &str) {
        let origin = Origin::Flag(key.to_owned());
        match table::find(key) {
            Some(setting) => self.set(setting, &Given::Text(value.to_owned()), origin),
            None => self.unknown_key(key, origin),
        }
    }

    pub(super) fn came_from(&mut self, key: &'static str, origin: Origin) {
        self.origins.insert(key, origin);
    }

    /// The value of a key that exists cannot be used.
    pub(super) fn wrong(&mut self, key: &'static str, origin: Origin, message: String) {
        self.damaged.insert(key);
        self.errors.push(ConfigError { origin: Some(origin), key: Some(key), message });
    }

    /// A key or a table that does not exist.
    pub(super) fn unknown_key(&mut self, key: &str, origin: Origin) {
        let tables = SECTIONS.iter().map(|section| section.name).filter(|name| !name.is_empty());
        let nearest = table::nearest(key, table::settings().map(|setting| setting.key).chain(tables));
        self.unknown(format!("there is no key `{key}`"), nearest, nearest.and_then(table::find), origin);
    }

    /// A name that does not exist. What was probably meant counts as damaged.
    pub(super) fn unknown(
        &mut self,
        what: String,
        nearest: Option<&str>,
        meant: Option<&'static Setting>,
        origin: Origin,
    ) {
        self.damaged.extend(meant.map(|setting| setting.key));
        let message = match nearest {
            Some(nearest) => format!("{what}; did you mean `{nearest}`?"),
            None => what,
        };
        self.errors.push(ConfigError { origin: Some(origin), key: None, message });
    }

    /// The file cannot be read as TOML.
    pub(super) fn syntax(&mut self, origin: Origin, message: String) {
        self.unreadable = true;
        self.errors.push(ConfigError { origin: Some(origin), key: None, message });
    }

    /// Checks what was put together.
    pub(super) fn finish(self) -> Result<Resolved, ConfigErrors> {
        let Self { config, origins, mut errors, damaged, unreadable } = self;
        let config = config.normalised();
        let (findings, warnings) = validate::check(&config);
        let usable = |finding: &validate::Finding| !finding.keys.iter().any(|key| damaged.contains(key));
        let findings = findings.into_iter().filter(|finding| !unreadable && usable(finding));
        errors.extend(findings.map(|finding| {
            // The first key that somebody wrote is the one to look at.
            let origin = finding.keys.iter().find_map(|key| origins.get(key)).cloned();
            ConfigError { origin, ..finding.into() }
        }));
        // Stable, so what concerns one line keeps its order.
        errors.sort_by_key(|error| match &error.origin {
            Some(Origin::File { line, .. }) => (0, *line),
            Some(Origin::Environment(_)) => (1, 0),
            Some(Origin::Flag(_)) => (2, 0),
            Some(Origin::Default) | None => (3, 0),
        });
        ConfigErrors::of(errors)?;
        Ok(Resolved { config, warnings, origins })
    }
}
