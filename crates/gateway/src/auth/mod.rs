//! Who is it: the identity of a socket, and the keys of those who publish.
//!
//! Invariants
//! * Whoever cannot be told from an impostor is refused, and learns why.
//! * No token and no key is in a log, an error or a metric.
//! * A token's signature is checked before anything else in it counts.

mod claims;
mod introspection;
mod jwks;
mod jws;
mod jwt;
mod keys;
mod refusal;
#[cfg(test)]
mod tests;
mod token;

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use claims::ClaimNames;
pub use claims::Identity;
use introspection::Introspection;
pub use jws::Signer;
use jwt::Jwt;
pub(crate) use keys::{KeyRefused, PublishKeys, Publisher};
pub use refusal::{Refusal, RefusalCode};
pub(crate) use token::presented;

use crate::config::{self, Mode, Strategy};
use crate::outbound::Outbound;

/// A longer token is none, whatever the strategy.
pub(crate) const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Who somebody is, or why that cannot be told.
pub(crate) type Verdict = Result<Arc<Identity>, Refusal>;

/// A verdict, or the wait for one.
pub(crate) enum Check {
    Done(Verdict),
    /// Somebody else has to be asked.
    Pending(Pin<Box<dyn Future<Output = Verdict> + Send>>),
}

/// Tells sockets apart.
pub(crate) struct Auth {
    strategy: Strategist,
    is_soft: bool,
    anonymous: Arc<Identity>,
}

enum Strategist {
    Nobody,
    Jwt(Arc<Jwt>),
    Introspection(Arc<Introspection>),
}

impl Auth {
    /// `rule_claims` are the claims that rules ask for; identities keep no others.
    ///
    /// # Errors
    /// A key cannot be used, in words for the operator.
    pub(crate) fn new(
        auth: &config::Auth,
        rule_claims: Vec<String>,
        outbound: &Outbound,
    ) -> Result<Self, String> {
        let names = ClaimNames {
            user: auth.user_claims.clone(),
            roles: auth.role_claims.clone(),
            rules: rule_claims,
            leeway_s: auth.leeway_s,
        };
        let strategy = match auth.strategy {
            Strategy::None => Strategist::Nobody,
            Strategy::Jwt => Strategist::Jwt(Arc::new(Jwt::new(auth, names, outbound)?)),
            Strategy::Introspection => {
                Strategist::Introspection(Arc::new(Introspection::new(auth, names, outbound)))
            }
        };
        let anonymous = Arc::new(Identity::anonymous());
        Ok(Self { strategy, is_soft: auth.mode == Mode::Soft, anonymous })
    }

    /// Whether anybody is asked who they are.
    pub(crate) const fn is_on(&self) -> bool {
        !matches!(self.strategy, Strategist::Nobody)
    }

    /// Whether those who are refused are let in all the same, as nobody.
    pub(crate) const fn is_soft(&self) -> bool {
        self.is_soft
    }

    /// The identity of those who have none.
    pub(crate) fn anonymous(&self) -> Arc<Identity> {
        Arc::clone(&self.anonymous)
    }

    /// Whether somebody is nobody because their token was not good.
    pub(crate) fn is_anonymous(&self, identity: &Arc<Identity>) -> bool {
        Arc::ptr_eq(identity, &self.anonymous)
    }

    /// Does what can be done before the first token comes.
    pub(crate) async fn warm_up(&self) {
        if let Strategist::Jwt(jwt) = &self.strategy {
            jwt.warm_up().await;
        }
    }

    /// Checks a token as it was [`presented`]. Has to be called within a runtime.
    pub(crate) fn check(&self, token: Result<Option<Cow<'_, str>>, Refusal>) -> Check {
        if !self.is_on() {
            return Check::Done(Ok(self.anonymous()));
        }
        let token = match token {
            Ok(Some(token)) if token.len() > TOKEN_BYTES_MAX => {
                let reason = format!("the token is longer than {TOKEN_BYTES_MAX} bytes");
                return Check::Done(Err(Refusal::new(RefusalCode::TokenMalformed, reason)));
            }
            Ok(Some(token)) => token,
            Ok(None) => {
                let reason = "a token is needed: connect with `auth: { token }`";
                return Check::Done(Err(Refusal::new(RefusalCode::TokenMissing, reason)));
            }
            Err(refusal) => return Check::Done(Err(refusal)),
        };
        match &self.strategy {
            Strategist::Nobody => Check::Done(Ok(self.anonymous())),
            Strategist::Jwt(jwt) => jwt.check(&token),
            Strategist::Introspection(introspection) => introspection.check(&token),
        }
    }
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
