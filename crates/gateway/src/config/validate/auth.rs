//! Who may connect: which settings go together.

use super::Report;
use crate::config::value::quoted;
use crate::config::{Algorithm, Auth, Config, IntrospectionFormat, Secret, Strategy};
use crate::rules::{Proxies, Template};

/// A shorter secret is no secret.
const SECRET_BYTES_MIN: usize = 16;

/// What stands in every example of other programs, and in too many installations.
const SECRET_OF_EXAMPLES: &str = "change-me-in-production";

pub(super) fn check(config: &Config, report: &mut Report) {
    let auth = &config.auth;
    match auth.strategy {
        Strategy::None => none(report),
        Strategy::Jwt => jwt(config, report),
        Strategy::Introspection => introspection(auth, report),
    }
    unused(config, report);
    claims(auth, report);
    rooms(config, report);
    forward(config, report);
    if let Err(text) = Proxies::parse(&config.trusted_proxies) {
        let message = format!(
            "{} in `trusted_proxies` is no address or network: write 10.0.0.1 or 10.0.0.0/8",
            quoted(&text)
        );
        report.fault(&["trusted_proxies"], message);
    }
}

fn none(report: &mut Report) {
    report.warn(
        "auth.strategy",
        "`auth.strategy` is `none`: everybody who connects is let in and every room is open",
    );
}

/// Settings that only count with another strategy.
fn unused(config: &Config, report: &mut Report) {
    use Strategy::{Introspection, Jwt};
    let (auth, rooms) = (&config.auth, &config.rooms);
    let settings: [(&str, bool, &[Strategy]); 6] = [
        ("auth.jwt_secret", auth.jwt_secret.is_some(), &[Jwt]),
        ("auth.jwt_public_key_file", auth.jwt_public_key_file.is_some(), &[Jwt]),
        ("auth.jwks_url", auth.jwks_url.is_some(), &[Jwt]),
        ("auth.introspection_url", auth.introspection_url.is_some(), &[Introspection]),
        ("rooms.join", !rooms.join.is_empty(), &[Jwt, Introspection]),
        ("rooms.authorize_url", rooms.authorize_url.is_some(), &[Jwt, Introspection]),
    ];
    for (key, is_set, used_by) in settings {
        if is_set && !used_by.contains(&auth.strategy) {
            let cure =
                used_by.iter().map(|strategy| format!("`{strategy}`")).collect::<Vec<_>>().join(" or ");
            let message = format!(
                "`{key}` is set but not used, because `auth.strategy` is `{}`: set it to {cure}",
                auth.strategy
            );
            report.warn(key, message);
        }
    }
}

fn jwt(config: &Config, report: &mut Report) {
    let auth = &config.auth;
    const KEYS: &[&str] = &["auth.strategy", "auth.jwt_secret", "auth.jwt_public_key_file", "auth.jwks_url"];
    let given = [auth.jwt_secret.is_some(), auth.jwt_public_key_file.is_some(), auth.jwks_url.is_some()];
    match given.iter().filter(|is_given| **is_given).count() {
        0 => report.fault(
            KEYS,
            "`auth.strategy` = `jwt` needs a key to check tokens with: set `auth.jwt_secret` (IDAE_SOCKET_JWT_SECRET), \
             `auth.jwt_public_key_file` or `auth.jwks_url`",
        ),
        1 => {}
        _ => report.fault(
            &KEYS[1..],
            "tokens are checked with one kind of key: keep one of `auth.jwt_secret`, `auth.jwt_public_key_file` and `auth.jwks_url`",
        ),
    }
    if let Some(url) = &auth.jwks_url {
        super::url(&["auth.jwks_url"], "`auth.jwks_url`", url, report);
        if url.expose().starts_with("http://") && !super::is_loopback_url(url.expose()) {
            report.warn(
                "auth.jwks_url",
                "`auth.jwks_url` is not https: whoever stands in between can add keys",
            );
        }
    }
    algorithms(auth, report);
    if let Some(secret) = &auth.jwt_secret {
        jwt_secret(auth, secret, report);
        super::known_secret(config, &["auth.jwt_secret"], "`auth.jwt_secret`", secret.expose(), report);
    }
}

fn algorithms(auth: &Auth, report: &mut Report) {
    const KEYS: &[&str] = &["auth.algorithms"];
    let Some(algorithms) = &auth.algorithms else { return };
    if algorithms.is_empty() {
        report.fault(KEYS, "`auth.algorithms` is empty, so no token could be accepted: leave it out");
    }
    let is_secret = auth.jwt_secret.is_some();
    for algorithm in algorithms {
        match (algorithm.hash_bytes_of_secret().is_some(), is_secret) {
            (true, true) | (false, false) => {}
            (false, true) => report.fault(
                KEYS,
                format!("`{algorithm}` in `auth.algorithms` needs a public key, but `auth.jwt_secret` is set: use HS256, HS384 or HS512"),
            ),
            (true, false) => report.fault(
                KEYS,
                format!("`{algorithm}` in `auth.algorithms` needs `auth.jwt_secret`; with a public key anybody could sign with it"),
            ),
        }
    }
}

fn jwt_secret(auth: &Auth, secret: &Secret, report: &mut Report) {
    const KEYS: &[&str] = &["auth.jwt_secret"];
    let secret = secret.expose();
    if secret == SECRET_OF_EXAMPLES {
        report.fault(
            KEYS,
            "`auth.jwt_secret` is the one of the examples, which everybody knows: make one with `openssl rand -base64 32`",
        );
    } else if secret.len() < SECRET_BYTES_MIN {
        report.fault(
            KEYS,
            format!(
                "`auth.jwt_secret` has {} bytes and must have {SECRET_BYTES_MIN} or more: make one with `openssl rand -base64 32`",
                secret.len()
            ),
        );
    }
    let algorithms = auth.algorithms.as_deref().unwrap_or(&[Algorithm::HS256]);
    let wanted =
        algorithms.iter().filter_map(|algorithm| Some((*algorithm, algorithm.hash_bytes_of_secret()?)));
    if let Some((algorithm, bytes)) = wanted.max_by_key(|(_, bytes)| *bytes)
        && (SECRET_BYTES_MIN..bytes).contains(&secret.len())
        && secret != SECRET_OF_EXAMPLES
    {
        report.warn(
            "auth.jwt_secret",
            format!(
                "`auth.jwt_secret` has {} bytes; {algorithm} deserves {bytes} (RFC 7518, section 3.2)",
                secret.len()
            ),
        );
    }
}

fn introspection(auth: &Auth, report: &mut Report) {
    match &auth.introspection_url {
        None => report.fault(
            &["auth.strategy", "auth.introspection_url"],
            "`auth.strategy` = `introspection` needs to know whom to ask: set `auth.introspection_url` (IDAE_SOCKET_INTROSPECTION_URL)",
        ),
        Some(url) => super::url(&["auth.introspection_url"], "`auth.introspection_url`", url, report),
    }
    let has_credentials =
        auth.introspection_client_id.is_some() && auth.introspection_client_secret.is_some();
    if auth.introspection_format == IntrospectionFormat::Rfc7662 && !has_credentials {
        report.fault(
            &["auth.introspection_format", "auth.introspection_client_id", "auth.introspection_client_secret"],
            "`auth.introspection_format` = `rfc7662` needs `auth.introspection_client_id` and `auth.introspection_client_secret`",
        );
    }
}

fn claims(auth: &Auth, report: &mut Report) {
    for (key, claims) in [
        (&["auth.user_claims"] as &[&'static str], &auth.user_claims),
        (&["auth.role_claims"], &auth.role_claims),
    ] {
        if claims.iter().any(String::is_empty) {
            report.fault(key, format!("`{}` holds an empty name: leave it out", key[0]));
        }
    }
}

fn rooms(config: &Config, report: &mut Report) {
    for rule in &config.rooms.join {
        if let Err(error) = Template::parse(rule) {
            report
                .fault(&["rooms.join"], format!("{} in `rooms.join` cannot be used: {error}", quoted(rule)));
        }
    }
    if let Some(url) = &config.rooms.authorize_url {
        super::url(&["rooms.authorize_url"], "`rooms.authorize_url`", url, report);
    }
}

fn forward(config: &Config, report: &mut Report) {
    const KEYS: &[&str] = &["forward"];
    for forward in &config.forward {
        if let Some(fault) = super::event_fault(&forward.event) {
            report.fault(KEYS, format!("{} in [[forward]] {fault}", quoted(&forward.event)));
        }
        super::url(KEYS, "`url` of [[forward]]", &forward.url, report);
        let Some(secret) = &forward.secret else {
            report.warn(
                "forward",
                format!(
                    "[[forward]] for {} has no `secret`: its backend cannot tell who calls",
                    quoted(&forward.event)
                ),
            );
            continue;
        };
        let subject = format!("the `secret` of [[forward]] for {}", quoted(&forward.event));
        super::known_secret(config, KEYS, &subject, secret.expose(), report);
        if crate::config::webhook_key(secret).is_none() {
            report.fault(
                KEYS,
                format!(
                    "the `secret` of [[forward]] for {} begins with `whsec_`, but no base64 follows",
                    quoted(&forward.event)
                ),
            );
        } else if secret.expose().len() < SECRET_BYTES_MIN {
            report.warn(
                "forward",
                format!("the `secret` of [[forward]] for {} is shorter than {SECRET_BYTES_MIN} bytes and could be guessed", quoted(&forward.event)),
            );
        }
    }
}
