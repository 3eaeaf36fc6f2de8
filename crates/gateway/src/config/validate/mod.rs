//! What types cannot say: relations between settings, and texts that would never work.

mod auth;

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::error::{ConfigError, ConfigErrors, Warning};
use super::table::{self, State};
use super::value::quoted;
use super::{Address, Config, Parser, PublishKey, Socket, Strategy, web_origin};
use crate::rules::{Pattern, Template};

/// Shorter keys can be guessed by trying.
const KEY_BYTES_ADVISED: usize = 16;

/// The secrets and keys of the documents, which everybody knows. A test holds the list to them.
const EXAMPLES: &[&str] = &[
    "a-secret-of-32-bytes-and-a-bit-more",
    "a-long-random-text-0000",
    "another-long-random-text",
    "R3hHn0v1mD7kqY2sWb8uXcF4pLz6tJaE",
    "whsec_c2VjcmV0LW9mLXRoZS13ZWJob29r",
];

/// A fault, and the keys that together make it. The first is the one to name.
pub(super) struct Finding {
    pub(super) keys: &'static [&'static str],
    pub(super) message: String,
}

impl From<Finding> for ConfigError {
    fn from(finding: Finding) -> Self {
        Self { origin: None, key: finding.keys.first().copied(), message: finding.message }
    }
}

impl Config {
    /// The checks that [`resolve`](Self::resolve) makes after reading, for a configuration that
    /// was filled by hand. Ranges are checked too.
    ///
    /// # Errors
    /// Everything that keeps the gateway from starting.
    pub fn validate(&self) -> Result<Vec<Warning>, ConfigErrors> {
        let (findings, warnings) = check(self);
        ConfigErrors::of(findings.into_iter().map(ConfigError::from).collect())?;
        Ok(warnings)
    }

    /// Whether only programs on the same machine can reach the address listened on.
    pub fn is_loopback(&self) -> bool {
        self.host.eq_ignore_ascii_case("localhost")
            || self.host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
    }
}

pub(super) fn check(config: &Config) -> (Vec<Finding>, Vec<Warning>) {
    let mut report = Report::default();
    ranges(config, &mut report);
    host(config, &mut report);
    auth::check(config, &mut report);
    names(config, &mut report);
    who_may_publish(config, &mut report);
    socket(&config.socket, &mut report);
    sizes(config, &mut report);
    (report.findings, report.warnings)
}

#[derive(Default)]
struct Report {
    findings: Vec<Finding>,
    warnings: Vec<Warning>,
}

impl Report {
    fn fault(&mut self, keys: &'static [&'static str], message: impl Into<String>) {
        self.findings.push(Finding { keys, message: message.into() });
    }

    fn warn(&mut self, key: &'static str, message: impl Into<String>) {
        self.warnings.push(Warning { key, message: message.into() });
    }
}

/// The types of the fields are wider than their ranges.
fn ranges(config: &Config, report: &mut Report) {
    for setting in table::settings() {
        let (State::Built { number, .. }, Some((min, max))) = (&setting.state, setting.range) else {
            continue;
        };
        if let Some(number) = number(config).filter(|number| !(min..=max).contains(number)) {
            let wanted = setting.kind.wanted(setting.key, setting.range);
            let message = format!("`{}` must be {wanted}, not {number}", setting.key);
            report.fault(std::slice::from_ref(&setting.key), message);
        }
    }
}

fn host(config: &Config, report: &mut Report) {
    let host = &config.host;
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/[]@".contains(c)) {
        let message =
            format!("`host` must be an IP address or a name without scheme and port, not {}", quoted(host));
        report.fault(&["host"], message);
    } else if host.parse::<IpAddr>().is_err() && host.contains(':') {
        let message = format!("`host` must not hold the port, as {} does: that is `port`", quoted(host));
        report.fault(&["host"], message);
    } else if config.auth.strategy == Strategy::None && !config.auth.insecure && !config.is_loopback() {
        report.fault(
            &["host", "auth.strategy", "auth.insecure"],
            format!(
                "`auth.strategy` is `none`, so everybody who can reach {host} would be let in: \
                 let clients prove who they are (`auth.strategy` = `jwt` or `introspection`), set `host` to 127.0.0.1, or accept it with `auth.insecure` = true (IDAE_SOCKET_AUTH_INSECURE=true)"
            ),
        );
    }
}

/// Something the gateway asks over HTTP.
fn url(keys: &'static [&'static str], subject: &str, url: &Address, report: &mut Report) {
    let uri = url.expose().parse::<http::Uri>().ok();
    let is_good = uri.is_some_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|host| !host.is_empty())
    });
    if !is_good {
        report.fault(
            keys,
            format!("{subject} must be an http or https address, such as https://backend.example.com/path"),
        );
    }
}

/// Whether an address is one of this machine.
fn is_loopback_url(url: &str) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// A secret of the documents is for trying them out, which is done on one machine.
fn known_secret(
    config: &Config,
    keys: &'static [&'static str],
    subject: &str,
    secret: &str,
    report: &mut Report,
) {
    if !EXAMPLES.contains(&secret) {
        return;
    }
    let what = format!("{subject} is one of the documents' examples, which everybody knows");
    match (config.is_loopback(), keys.first()) {
        (true, Some(key)) => {
            report.warn(
                key,
                format!(
                    "{what}: before others can reach the gateway make one with `openssl rand -base64 32`"
                ),
            );
        }
        _ => report.fault(keys, format!("{what}: make one with `openssl rand -base64 32`")),
    }
}

fn names(config: &Config, report: &mut Report) {
    if config.events.is_empty() {
        report.fault(
            &["events"],
            "`events` is empty, so nothing could be published: use [\"*\"] for all names",
        );
    }
    for event in &config.events {
        if let Some(fault) = event_fault(event) {
            report.fault(&["events"], format!("{} in `events` {fault}", quoted(event)));
        }
    }
    if config.namespaces.is_empty() {
        report.fault(&["namespaces"], "`namespaces` is empty, so nobody could connect: use [\"/\"]");
    }
    for namespace in &config.namespaces {
        let fault = match Template::parse(namespace) {
            Err(error) => format!("cannot be used: {error}"),
            Ok(_) if !namespace.starts_with('/') => "must begin with `/`".to_owned(),
            // A comma ends the namespace on the wire, a question mark its address.
            Ok(_) if namespace.contains([',', '?']) => "must not hold `,` or `?`".to_owned(),
            Ok(_) => continue,
        };
        report.fault(&["namespaces"], format!("{} in `namespaces` {fault}", quoted(namespace)));
    }
}

/// Completes "… in `events`".
fn event_fault(event: &str) -> Option<String> {
    if let Err(error) = Pattern::parse(event) {
        return Some(format!("cannot be used: {error}"));
    }
    if let Some(name) = event.strip_prefix('/') {
        return Some(format!(
            "matches no event: the name is what follows the first `/`, write {}",
            quoted(name)
        ));
    }
    let stranger = event.chars().find(|c| !c.is_ascii_alphanumeric() && !":._-/*".contains(*c))?;
    Some(format!("matches no event: a name has letters, digits and `: . _ - /`, but not {stranger:?}"))
}

fn who_may_publish(config: &Config, report: &mut Report) {
    let publish = &config.publish;
    if publish.key.is_none() && publish.keys.is_empty() && !config.is_loopback() {
        report.warn(
            "publish.key",
            "no `publish.key` is set: only programs on the same machine may publish, everybody else gets 403",
        );
    }
    if let Some(key) = &publish.key {
        key_faults(config, &["publish.key"], "`publish.key`", key.expose(), report);
    }
    let mut names = BTreeSet::new();
    let mut secrets = BTreeSet::new();
    for key in publish.every_key() {
        if !names.insert(key.name.clone()) {
            let reserved =
                if key.name == super::Publish::KEY_NAME { " (it is the name of `publish.key`)" } else { "" };
            let message =
                format!("two publish keys are named {}{reserved}: give each its own name", quoted(&key.name));
            report.fault(&["publish.keys"], message);
        }
        if !key.key.expose().is_empty() && !secrets.insert(key.key.expose().to_owned()) {
            let message = format!(
                "the publish key {} is the same as another one: it is unclear which limits count",
                quoted(&key.name)
            );
            report.fault(&["publish.keys"], message);
        }
    }
    for key in &publish.keys {
        named_key_faults(config, key, report);
    }
    for (index, field) in publish.sender_redact.iter().enumerate() {
        if field.is_empty() {
            let message = format!("entry {} of `publish.sender_redact` is empty: leave it out", index + 1);
            report.fault(&["publish.sender_redact"], message);
        }
    }
}

fn named_key_faults(config: &Config, key: &PublishKey, report: &mut Report) {
    const KEYS: &[&str] = &["publish.keys"];
    if key.name.trim().is_empty() {
        report.fault(KEYS, "a publish key has an empty name: logs need one");
    }
    let subject = format!("the publish key {}", quoted(&key.name));
    key_faults(config, KEYS, &subject, key.key.expose(), report);
    for event in &key.events {
        if let Some(fault) = event_fault(event) {
            report.fault(KEYS, format!("{} in the events of {subject} {fault}", quoted(event)));
        }
    }
    for room in &key.rooms {
        if let Err(error) = Pattern::parse(room) {
            report.fault(KEYS, format!("{} in the rooms of {subject} cannot be used: {error}", quoted(room)));
        }
    }
}

fn key_faults(config: &Config, keys: &'static [&'static str], subject: &str, key: &str, report: &mut Report) {
    if key.is_empty() {
        report.fault(keys, format!("{subject} is empty: give it a value, or leave it out"));
    } else if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        // An HTTP header carries nothing else unharmed, so no publisher could ever show it.
        report.fault(keys, format!("{subject} may only have visible ASCII characters, without spaces"));
    } else if key.len() < KEY_BYTES_ADVISED {
        let key = keys.first().copied().unwrap_or("publish.key");
        report.warn(key, format!("{subject} is shorter than {KEY_BYTES_ADVISED} bytes and could be guessed"));
    }
    known_secret(config, keys, subject, key, report);
}

fn socket(socket: &Socket, report: &mut Report) {
    if let Some(fault) = path_fault(&socket.path) {
        report.fault(&["socket.path"], format!("`socket.path` {fault}, not {}", quoted(&socket.path)));
    }
    if socket.transports.is_empty() {
        report.fault(&["socket.transports"], "`socket.transports` is empty, so nobody could connect");
    }
    if socket.parsers.is_empty() {
        report.fault(&["socket.parsers"], "`socket.parsers` is empty, so nobody could connect");
    } else if !socket.parsers.contains(&Parser::Json) {
        let message = "`socket.parsers` leaves `json` out, which all clients use unless they are told otherwise: the \
                       console, `idae-socket listen` and the Rust client can't connect";
        report.warn("socket.parsers", message);
    }
    if let Some(name) = &socket.cookie {
        let is_token = |c: u8| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c);
        if name.is_empty() || !name.bytes().all(is_token) {
            report.fault(
                &["socket.cookie"],
                format!("`socket.cookie` must be a cookie's name, such as io, not {}", quoted(name)),
            );
        }
    }
    let origins = socket.cors_origins.as_deref().unwrap_or_default();
    for entry in origins {
        if let Some(fault) = web_origin::fault(entry) {
            report.fault(
                &["socket.cors_origins"],
                format!("{} in `socket.cors_origins` {fault}", quoted(entry)),
            );
        }
    }
    if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
        report.fault(
            &["socket.cors_origins"],
            "`*` in `socket.cors_origins` allows every origin: remove it or the others",
        );
    }
}

/// Completes "`socket.path` … , not".
fn path_fault(path: &str) -> Option<&'static str> {
    if !path.starts_with('/') || !path.ends_with('/') {
        return Some("must begin and end with `/`");
    }
    if path == "/" || path.starts_with("/v1/") {
        return Some("must leave `/` and `/v1/` to the publishers");
    }
    let is_plain = |segment: &str| {
        !segment.is_empty()
            && !segment.bytes().all(|byte| byte == b'.')
            && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))
    };
    let plain = path.trim_matches('/').split('/').all(is_plain) && !path.contains("//");
    (!plain).then_some("must consist of segments of letters, digits and `- . _ ~`")
}

fn sizes(config: &Config, report: &mut Report) {
    let (publish, socket) = (&config.publish, &config.socket);
    let body = publish.body_bytes_max;
    if socket.outbox_bytes_max < body.saturating_mul(2) {
        report.fault(
            &["socket.outbox_bytes_max", "publish.body_bytes_max"],
            format!(
                "`socket.outbox_bytes_max` ({}) must be at least twice `publish.body_bytes_max` ({body}): \
                 one event must never fill an outbox",
                socket.outbox_bytes_max
            ),
        );
    }
    if publish.queue_bytes_max < body {
        report.fault(
            &["publish.queue_bytes_max", "publish.body_bytes_max"],
            format!(
                "`publish.queue_bytes_max` ({}) must be at least `publish.body_bytes_max` ({body})",
                publish.queue_bytes_max
            ),
        );
    }
    if publish.batch_bytes_max < body {
        report.fault(
            &["publish.batch_bytes_max", "publish.body_bytes_max"],
            format!(
                "`publish.batch_bytes_max` ({}) must be at least `publish.body_bytes_max` ({body})",
                publish.batch_bytes_max
            ),
        );
    }
}
