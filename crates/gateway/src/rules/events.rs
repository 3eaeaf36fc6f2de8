//! Which event names there are.

use idae_socket_protocol::socketio::RESERVED_EVENTS;

use super::Patterns;

/// Longest event name, in characters; all of them are ASCII.
pub(crate) const EVENT_CHARS_MAX: usize = 128;

/// Paths of the gateway itself, which no event can have.
const OWN_PATHS: [&str; 5] = ["livez", "readyz", "metrics", "favicon.ico", "console"];

/// The event names that the configuration exposes.
pub(crate) struct EventNames {
    exposed: Patterns,
    /// `socket.io/`: where the sockets connect.
    socket_paths: Vec<String>,
}

/// Why a name is no event. The text is for the developer who sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NameRefused {
    #[error("the path is the event's name: POST /<event>, such as /db-change")]
    Empty,
    #[error("an event name has 1 to {EVENT_CHARS_MAX} characters, this one has {0}")]
    Length(usize),
    #[error("an event name consists of letters a-z and A-Z, digits and `: . _ - /`; this one has {0:?}")]
    Character(char),
    #[error("`{0}` is a name that Socket.IO keeps for itself; choose another event name")]
    Reserved(String),
    #[error("{}", own_path(.0))]
    OwnPath(String),
    #[error("no event `{name}` is exposed (setting `events`){}", closest.as_ref().map_or(String::new(), |closest| format!("; the closest one is `{closest}`")))]
    NotExposed { name: String, closest: Option<String> },
}

/// Says what somebody probably wanted of a path of the gateway.
fn own_path(path: &str) -> String {
    let meant = match path.split('/').next() {
        Some("v1") => "batches and streams go to /v1/events, single events to /<event>",
        Some("console") => "the console is at /",
        _ => "choose another event name",
    };
    format!("`/{path}` is a path of the gateway itself; {meant}")
}

impl EventNames {
    pub(crate) fn new(exposed: Patterns, socket_paths: impl IntoIterator<Item = String>) -> Self {
        let socket_paths = socket_paths.into_iter().map(|path| path.trim_start_matches('/').to_owned());
        Self { exposed, socket_paths: socket_paths.collect() }
    }

    /// Where Socket.IO clients connect.
    pub(crate) fn socket_path(&self) -> String {
        self.socket_paths.first().map_or_else(String::new, |path| format!("/{path}"))
    }

    /// Whether a client's event of this name is one the configuration knows.
    pub(crate) fn exposes(&self, name: &str) -> bool {
        self.exposed.matches(name)
    }

    /// Checks the name of an event that is to be published.
    ///
    /// # Errors
    /// Why it cannot be.
    pub(crate) fn check(&self, name: &str) -> Result<(), NameRefused> {
        self.check_shape(name)?;
        if !self.exposed.matches(name) {
            let closest = self.exposed.closest(name).map(str::to_owned);
            return Err(NameRefused::NotExposed { name: name.to_owned(), closest });
        }
        Ok(())
    }

    /// Checks whether some gateway could have an event of this name. Tells nothing of which ones
    /// this gateway has.
    ///
    /// # Errors
    /// Why none could.
    pub(crate) fn check_shape(&self, name: &str) -> Result<(), NameRefused> {
        let chars = name.chars().count();
        if chars == 0 {
            return Err(NameRefused::Empty);
        }
        if !(1..=EVENT_CHARS_MAX).contains(&chars) {
            return Err(NameRefused::Length(chars));
        }
        let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '.' | '_' | '-' | '/');
        if let Some(c) = name.chars().find(|c| !is_allowed(*c)) {
            return Err(NameRefused::Character(c));
        }
        if RESERVED_EVENTS.contains(&name) {
            return Err(NameRefused::Reserved(name.to_owned()));
        }
        if self.is_own_path(name) {
            return Err(NameRefused::OwnPath(name.to_owned()));
        }
        Ok(())
    }

    fn is_own_path(&self, name: &str) -> bool {
        OWN_PATHS.contains(&name)
            || name == "v1"
            || name.starts_with("v1/")
            || name.starts_with("console/")
            || self
                .socket_paths
                .iter()
                .any(|path| name.starts_with(path) || path.trim_end_matches('/') == name)
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn names(exposed: &[&str]) -> EventNames {
        EventNames::new(Patterns::parse(exposed).unwrap(), ["/socket.io/".to_owned()])
    }

    #[track_caller]
    fn check(exposed: &[&str], name: &str, expected: Expect) {
        let verdict =
            names(exposed).check(name).map_or_else(|refused| refused.to_string(), |()| "ok".to_owned());
        expected.assert_eq(&verdict);
    }

    #[test]
    fn names_of_the_contract() {
        for name in [
            "db-change",
            "collection:update",
            "component/refresh",
            "a",
            "v2.users_x",
            "v1x",
            &"x".repeat(128),
        ] {
            check(&["*"], name, expect!["ok"]);
        }
        check(&["*"], "", expect!["the path is the event's name: POST /<event>, such as /db-change"]);
        check(&["*"], &"x".repeat(129), expect!["an event name has 1 to 128 characters, this one has 129"]);
        check(
            &["*"],
            "a b",
            expect![
                "an event name consists of letters a-z and A-Z, digits and `: . _ - /`; this one has ' '"
            ],
        );
        check(
            &["*"],
            "a%20b",
            expect![
                "an event name consists of letters a-z and A-Z, digits and `: . _ - /`; this one has '%'"
            ],
        );
        check(
            &["*"],
            "v1/event",
            expect![
                "`/v1/event` is a path of the gateway itself; batches and streams go to /v1/events, single events to /<event>"
            ],
        );
        check(&["*"], "console", expect!["`/console` is a path of the gateway itself; the console is at /"]);
        check(
            &["*"],
            "livez",
            expect!["`/livez` is a path of the gateway itself; choose another event name"],
        );
        check(
            &["*"],
            "disconnect",
            expect!["`disconnect` is a name that Socket.IO keeps for itself; choose another event name"],
        );
    }

    #[test]
    fn own_paths_are_no_events() {
        for name in [
            "v1",
            "v1/events",
            "v1/x",
            "livez",
            "readyz",
            "metrics",
            "console",
            "console/console.js",
            "socket.io",
            "socket.io/",
            "socket.io/x",
        ] {
            assert_eq!(names(&["*"]).check(name), Err(NameRefused::OwnPath(name.to_owned())), "{name}");
        }
    }

    #[test]
    fn a_list_exposes_those_and_nothing_else() {
        let list = ["entity", "dispatch", "component/:action", "data:*"];
        for name in ["entity", "component/refresh", "data:", "data:users"] {
            check(&list, name, expect!["ok"]);
        }
        check(
            &list,
            "entty",
            expect!["no event `entty` is exposed (setting `events`); the closest one is `entity`"],
        );
        check(
            &list,
            "component/a/b",
            expect![
                "no event `component/a/b` is exposed (setting `events`); the closest one is `component/:action`"
            ],
        );
    }
}
