//! `idae-socket token`: a signed token, for trying things out.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use idae_socket::Signer;
use idae_socket::config::{Algorithm, Config};
use serde_json::{Map, Value, json};

use crate::serve::fail;
use crate::settings::Flags;
use crate::terminal::{USAGE, complain};

/// Prints a signed token for tests.
///
/// It is signed with `auth.jwt_secret` of the gateway's settings, and has the `iss` and `aud` that they ask for.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  idae-socket token --sub 42 --role admin --role editor
  idae-socket token --sub 42 --claim tenant=acme --expires-in 10m
  idae-socket token --sub 42 --private-key-file key.pem
  idae-socket check --token \"$(idae-socket token --sub 42)\"")]
pub(crate) struct Token {
    /// The user's id
    #[arg(long, value_name = "USER")]
    sub: Option<String>,
    /// A role; may be given several times
    #[arg(long, value_name = "ROLE")]
    role: Vec<String>,
    /// Another claim, its value as JSON or as text; may be given several times
    #[arg(long, value_name = "NAME=VALUE", value_parser = name_and_value)]
    claim: Vec<(String, Value)>,
    /// How long it counts, such as 90s, 10m, 12h or 30d; `never` leaves `exp` out
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = lifetime, allow_hyphen_values = true)]
    expires_in: Lifetime,
    /// Sign with the secret in this file
    #[arg(long, value_name = "FILE", conflicts_with = "private_key_file")]
    secret_file: Option<PathBuf>,
    /// Sign with this private key, in PEM form
    #[arg(long, value_name = "FILE")]
    private_key_file: Option<PathBuf>,
    /// The signature algorithm; without it the first that fits the key, of `auth.algorithms` if that is set
    #[arg(long, value_name = "NAME", value_parser = algorithm)]
    algorithm: Option<Algorithm>,
    #[command(flatten)]
    settings: Flags,
}

#[derive(Debug, Clone, Copy)]
enum Lifetime {
    /// Seconds from now; below zero for a token that has expired.
    Seconds(i64),
    Never,
}

impl Token {
    /// Prints the token alone, so that a script can take it.
    pub(crate) fn run(self, others: Flags) -> ExitCode {
        let config = match self.settings.clone().over(others).resolve() {
            Ok(resolved) => resolved.config,
            Err(refused) => return fail(&refused),
        };
        let token = self
            .claims(&config)
            .and_then(|claims| self.signer(&config).and_then(|signer| signer.sign(&claims)));
        match token {
            Ok(token) => match writeln!(std::io::stdout(), "{token}") {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error),
            },
            Err(error) => complain(USAGE, error, None),
        }
    }

    fn signer(&self, config: &Config) -> Result<Signer, String> {
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
        };
        if let Some(path) = &self.private_key_file {
            let pem = read(path)?;
            return self.first_fitting(config, |algorithm| Signer::from_pem(&pem, algorithm));
        }
        if let Some(path) = &self.secret_file {
            let secret = read(path)?;
            let secret = secret.trim_end_matches(['\r', '\n']);
            return self.first_fitting(config, |algorithm| Signer::from_secret(secret, algorithm));
        }
        match &config.auth.jwt_secret {
            Some(secret) => {
                self.first_fitting(config, |algorithm| Signer::from_secret(secret.expose(), algorithm))
            }
            None => {
                Err("there is nothing to sign with: set `auth.jwt_secret` (IDAE_SOCKET_JWT_SECRET), or give \
                 --secret-file or --private-key-file"
                    .to_owned())
            }
        }
    }

    fn first_fitting(
        &self,
        config: &Config,
        sign_with: impl Fn(Algorithm) -> Result<Signer, String>,
    ) -> Result<Signer, String> {
        if let Some(algorithm) = self.algorithm {
            return sign_with(algorithm);
        }
        let (names, algorithms) = match config.auth.algorithms.as_deref() {
            Some(algorithms) => ("algorithm of `auth.algorithms`", algorithms),
            None => ("algorithm", Algorithm::ALL),
        };
        let mut fault = String::new();
        for algorithm in algorithms {
            match sign_with(*algorithm) {
                Ok(signer) => return Ok(signer),
                Err(error) => fault = error,
            }
        }
        Err(format!("no {names} fits the key, the last one because {fault}"))
    }

    fn claims(&self, config: &Config) -> Result<Map<String, Value>, String> {
        let auth = &config.auth;
        let first =
            |names: &[String], usual: &str| names.first().map_or_else(|| usual.to_owned(), Clone::clone);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut claims = Map::new();
        let (user, roles) = (first(&auth.user_claims, "sub"), first(&auth.role_claims, "roles"));
        if let Some(sub) = &self.sub {
            claims.insert(user.clone(), json!(sub));
        }
        if !self.role.is_empty() {
            claims.insert(roles.clone(), json!(self.role));
        }
        if let Some(issuer) = &auth.issuer {
            claims.insert("iss".to_owned(), json!(issuer));
        }
        if let Some(audience) = &auth.audience {
            claims.insert("aud".to_owned(), json!(audience));
        }
        claims.insert("iat".to_owned(), json!(now));
        if let Lifetime::Seconds(seconds) = self.expires_in {
            claims.insert("exp".to_owned(), json!(now.saturating_add_signed(seconds)));
        }
        for (flag, given, name) in
            [("--sub", self.sub.is_some(), &user), ("--role", !self.role.is_empty(), &roles)]
        {
            if given && self.claim.iter().any(|(claim, _)| claim == name) {
                return Err(format!(
                    "{flag} and --claim {name} both set the claim `{name}`: give one of them"
                ));
            }
        }
        claims.extend(self.claim.iter().cloned());
        Ok(claims)
    }
}

fn name_and_value(text: &str) -> Result<(String, Value), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => {
            let value = serde_json::from_str(value).unwrap_or_else(|_| Value::from(value));
            Ok((name.to_owned(), value))
        }
        _ => Err("write NAME=VALUE, for example tenant=acme".to_owned()),
    }
}

fn lifetime(text: &str) -> Result<Lifetime, String> {
    if text == "never" {
        return Ok(Lifetime::Never);
    }
    let unit = match text.chars().last() {
        Some('s') => 1,
        Some('m') => 60,
        Some('h') => 3_600,
        Some('d') => 86_400,
        _ => return Err("write a number and s, m, h or d, for example 10m".to_owned()),
    };
    let number = text[..text.len() - 1].parse::<i64>().ok().and_then(|number| number.checked_mul(unit));
    number.map(Lifetime::Seconds).ok_or_else(|| "write a number and s, m, h or d, for example 10m".to_owned())
}

fn algorithm(name: &str) -> Result<Algorithm, String> {
    let all = Algorithm::ALL;
    all.iter().copied().find(|algorithm| algorithm.as_str().eq_ignore_ascii_case(name)).ok_or_else(|| {
        let names: Vec<_> = all.iter().map(|algorithm| algorithm.as_str()).collect();
        format!("there are {}", names.join(", "))
    })
}
