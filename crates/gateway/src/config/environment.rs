//! The environment: `IDAE_SOCKET_` variables, the files some of them name, and the ones that
//! only look like settings.

use std::collections::BTreeMap;

use super::ReadSecret;
use super::error::Origin;
use super::reading::Reading;
use super::table::{self, COMMAND_VARIABLES, Setting};
use super::value::Given;

const PREFIX: &str = "IDAE_SOCKET_";

/// What a name means.
#[derive(Clone, Copy)]
struct Meaning {
    setting: &'static Setting,
    /// The value is the path of a file that holds the secret.
    is_file: bool,
}

pub(super) fn read(
    reading: &mut Reading,
    environment: &[(String, String)],
    secret_files: Option<ReadSecret<'_>>,
) {
    let names = names();
    // Which variable spoke for a key: two of them would leave the reader guessing.
    let mut spoken: BTreeMap<&'static str, &str> = BTreeMap::new();
    for (name, value) in environment {
        if !name.starts_with(PREFIX) || is_service_link(name, value) {
            continue;
        }
        if COMMAND_VARIABLES.iter().any(|(known, _)| known == name) {
            continue;
        }
        let origin = Origin::Environment(name.clone());
        let Some(Meaning { setting, is_file }) = names.get(name).copied() else {
            unknown(reading, &names, name, origin);
            continue;
        };
        if let Some(before) = spoken.insert(setting.key, name).filter(|before| before != name) {
            reading.wrong(
                setting.key,
                origin,
                format!("`{}` is already set by {before}: keep one of them", setting.key),
            );
            continue;
        }
        if !is_file {
            reading.set(setting, &Given::Text(value.clone()), origin);
            continue;
        }
        match secret_from(value, secret_files) {
            Ok(secret) => reading.set(setting, &Given::Text(secret), origin),
            Err(why) => {
                // Without the path: who forgets what `_FILE` means has put the secret there.
                let message = format!("the file with `{}` cannot be read: {why}", setting.key);
                reading.wrong(setting.key, origin, message);
            }
        }
    }
}

fn names() -> BTreeMap<String, Meaning> {
    let mut names = BTreeMap::new();
    for setting in table::settings() {
        let legacy = setting.legacy_variables().map(str::to_owned);
        for name in legacy.chain([setting.variable()]) {
            if setting.is_secret() {
                names.insert(format!("{name}_FILE"), Meaning { setting, is_file: true });
            }
            names.insert(name, Meaning { setting, is_file: false });
        }
    }
    names
}

fn unknown(reading: &mut Reading, names: &BTreeMap<String, Meaning>, name: &str, origin: Origin) {
    let command = COMMAND_VARIABLES.iter().map(|(name, _)| *name);
    let bare = |name: &'_ str| name.strip_prefix(PREFIX).map(str::to_owned).unwrap_or_default();
    // Compared without the prefix, which all of them share and which would make all look alike.
    let candidates: Vec<(String, &str)> =
        names.keys().map(String::as_str).chain(command).map(|known| (bare(known), known)).collect();
    let nearest = table::nearest(&bare(name), candidates.iter().map(|(bare, _)| bare.as_str()));
    let nearest =
        nearest.and_then(|near| candidates.iter().find(|(bare, _)| bare == near)).map(|(_, known)| *known);
    let meant = nearest.and_then(|nearest| names.get(nearest)).map(|meaning| meaning.setting);
    let what = match name.strip_suffix("_FILE").and_then(|plain| names.get(plain)) {
        Some(meaning) => format!("`{}` cannot come from a file: only secrets can", meaning.setting.key),
        None => format!("there is no variable {name}"),
    };
    reading.unknown(what, nearest, meant, origin);
}

fn secret_from(path: &str, secret_files: Option<ReadSecret<'_>>) -> Result<String, String> {
    let read = secret_files.ok_or("this program reads no files for its settings")?;
    let mut text = read(path).map_err(|error| error.to_string())?;
    // Editors and `echo` end a file with a newline that is not part of the secret.
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// Kubernetes gives every container variables about the services of its namespace. For services
/// named `idae-socket` or `idae-socket-…` they begin like ours: `IDAE_SOCKET_PORT=tcp://10.0.0.7:4000`,
/// `IDAE_SOCKET_SERVICE_HOST`, `IDAE_SOCKET_PORT_4000_TCP_ADDR`.
fn is_service_link(name: &str, value: &str) -> bool {
    let is_url = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    if name.ends_with("_SERVICE_HOST") || name.ends_with("_SERVICE_PORT") || name.contains("_SERVICE_PORT_") {
        return true;
    }
    if name.ends_with("_PORT") && is_url {
        return true;
    }
    name.match_indices("_PORT_").any(|(at, found)| {
        let mut rest = name[at + found.len()..].split('_');
        let port = rest.next().unwrap_or_default();
        let protocol = rest.next().unwrap_or_default();
        !port.is_empty()
            && port.bytes().all(|digit| digit.is_ascii_digit())
            && ["TCP", "UDP", "SCTP"].contains(&protocol)
    })
}
