//! Strategy `jwt`: a signed token, checked here.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::claims::ClaimNames;
use super::jwks::Jwks;
use super::jws::{Key, KeySet, Token};
use super::refusal::{Refusal, RefusalCode};
use super::{Check, Verdict, unix_now};
use crate::config::{self, Algorithm, Secret};
use crate::outbound::Outbound;

/// What a token is held against.
pub(super) struct Jwt {
    keys: Keys,
    algorithms: Vec<Algorithm>,
    issuer: Option<String>,
    audience: Option<String>,
    names: ClaimNames,
}

enum Keys {
    Fixed(KeySet),
    Fetched(Arc<Jwks>),
}

impl Jwt {
    /// # Errors
    /// The key cannot be used, in words for the operator.
    pub(super) fn new(auth: &config::Auth, names: ClaimNames, outbound: &Outbound) -> Result<Self, String> {
        let wanted = auth.algorithms.as_deref();
        let (keys, algorithms) = match (&auth.jwt_secret, &auth.jwt_public_key_file, &auth.jwks_url) {
            (Some(secret), ..) => {
                let algorithms = wanted.unwrap_or(&[Algorithm::HS256]).to_vec();
                (Keys::Fixed(secret_key(secret, &algorithms)), algorithms)
            }
            (_, Some(path), _) => {
                let keys = pem_keys(path)?;
                let algorithms = fitting(&keys, wanted)?;
                (Keys::Fixed(keys), algorithms)
            }
            (.., Some(url)) => {
                let jwks = Arc::new(Jwks::new(url.clone(), outbound.clone()));
                let algorithms = wanted.map_or_else(public_algorithms, <[_]>::to_vec);
                (Keys::Fetched(jwks), algorithms)
            }
            (None, None, None) => return Err("`auth.strategy` = `jwt` needs a key".to_owned()),
        };
        let (issuer, audience) = (auth.issuer.clone(), auth.audience.clone());
        Ok(Self { keys, algorithms, issuer, audience, names })
    }

    /// Fetches the keys before the first token comes.
    pub(super) async fn warm_up(&self) {
        if let Keys::Fetched(jwks) = &self.keys {
            // A failure is logged there, and the next token tries again.
            let _ = jwks.newer(&jwks.snapshot()).await;
        }
    }

    /// Checks a token: at once, unless keys have to be fetched for it.
    pub(super) fn check(self: &Arc<Self>, token: &str) -> Check {
        let jwks = match &self.keys {
            Keys::Fixed(keys) => return Check::Done(self.verify(token, keys)),
            Keys::Fetched(jwks) => jwks,
        };
        let snapshot = jwks.snapshot();
        if let Some(keys) = &snapshot.keys {
            match self.verify(token, keys) {
                Err(refusal) if refusal.code() == RefusalCode::TokenKeyUnknown => {}
                verdict => return Check::Done(verdict),
            }
        } else if let Err(refusal) = Token::parse(token, &self.algorithms) {
            // What no key could help.
            return Check::Done(Err(refusal));
        }
        let (jwt, jwks, token) = (Arc::clone(self), Arc::clone(jwks), token.to_owned());
        Check::Pending(Box::pin(async move { jwt.verify(&token, &*jwks.newer(&snapshot).await?) }))
    }

    fn verify(&self, token: &str, keys: &KeySet) -> Verdict {
        let claims = Token::parse(token, &self.algorithms)?.verify(keys)?;
        let identity = self.names.identity(&claims, unix_now())?;
        self.check_parties(&claims)?;
        Ok(Arc::new(identity))
    }

    /// Who made the token, and for whom.
    fn check_parties(&self, claims: &Map<String, Value>) -> Result<(), Refusal> {
        if let Some(wanted) = &self.issuer
            && claims.get("iss").and_then(Value::as_str) != Some(wanted)
        {
            return Err(Refusal::new(RefusalCode::TokenIssuer, "the token comes from another issuer"));
        }
        let is_for = |wanted: &str| match claims.get("aud") {
            Some(Value::String(one)) => one == wanted,
            Some(Value::Array(several)) => several.iter().any(|one| one.as_str() == Some(wanted)),
            _ => false,
        };
        match &self.audience {
            Some(wanted) if !is_for(wanted) => {
                Err(Refusal::new(RefusalCode::TokenAudience, "the token is meant for another audience"))
            }
            _ => Ok(()),
        }
    }
}

fn secret_key(secret: &Secret, algorithms: &[Algorithm]) -> KeySet {
    KeySet::of(Key::secret(secret.expose().as_bytes(), algorithms))
}

fn pem_keys(path: &str) -> Result<KeySet, String> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!("the file of `auth.jwt_public_key_file` ({path}) cannot be read: {error}")
    })?;
    KeySet::from_pem(&text)
        .map_err(|fault| format!("the file of `auth.jwt_public_key_file` ({path}) cannot be used: {fault}"))
}

/// The algorithms to accept: those wanted, which the keys must fit, or all that fit.
fn fitting(keys: &KeySet, wanted: Option<&[Algorithm]>) -> Result<Vec<Algorithm>, String> {
    let mut possible: Vec<Algorithm> = Vec::new();
    for algorithm in keys.algorithms() {
        if !possible.contains(&algorithm) {
            possible.push(algorithm);
        }
    }
    let Some(wanted) = wanted else { return Ok(possible) };
    match wanted.iter().find(|algorithm| !possible.contains(algorithm)) {
        Some(stranger) => {
            let names: Vec<_> = possible.iter().map(|algorithm| algorithm.as_str()).collect();
            Err(format!(
                "`{stranger}` in `auth.algorithms` does not fit the key of `auth.jwt_public_key_file`, which fits {}",
                names.join(", ")
            ))
        }
        None => Ok(wanted.to_vec()),
    }
}

fn public_algorithms() -> Vec<Algorithm> {
    Algorithm::ALL.iter().copied().filter(|algorithm| algorithm.hash_bytes_of_secret().is_none()).collect()
}
