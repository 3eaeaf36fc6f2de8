//! Why somebody is not who they say.

use std::borrow::Cow;
use std::fmt;

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $Variant:ident = $text:literal;)*) => {
        /// What is wrong with a token, in a form that programs can rely on.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum RefusalCode { $($(#[doc = $doc])+ $Variant),* }

        impl RefusalCode {
            /// Every code, for the tests that hold the documents to the code.
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$(Self::$Variant),*];

            /// The code as clients get it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$Variant => $text),* }
            }
        }
    };
}

codes! {
    /// There is none.
    TokenMissing = "token_missing";
    /// It is no JSON Web Token, or its claims have impossible types.
    TokenMalformed = "token_malformed";
    /// Its signature algorithm is not accepted.
    TokenAlgorithm = "token_algorithm";
    /// It names a key that the key set does not have.
    TokenKeyUnknown = "token_key_unknown";
    /// Its signature is not the one of a key that is accepted.
    TokenSignature = "token_signature";
    /// Its time is over.
    TokenExpired = "token_expired";
    /// Its time has not begun.
    TokenNotYetValid = "token_not_yet_valid";
    /// It comes from somebody else than `auth.issuer`.
    TokenIssuer = "token_issuer";
    /// It is for somebody else than `auth.audience`.
    TokenAudience = "token_audience";
    /// The claim with the user id or the roles cannot be one.
    TokenClaims = "token_claims";
    /// The backend says that it does not count.
    TokenInactive = "token_inactive";
    /// It belongs to another user than the socket.
    TokenOtherUser = "token_other_user";
    /// The backend that judges tokens cannot be asked.
    IntrospectionUnavailable = "introspection_unavailable";
    /// The backend that judges tokens did not answer in time.
    IntrospectionTimeout = "introspection_timeout";
    /// The key set cannot be fetched.
    JwksUnavailable = "jwks_unavailable";
    /// The namespace is for others.
    NamespaceForbidden = "namespace_forbidden";
    /// The identity has more roles than a socket may have rooms.
    TooManyRooms = "too_many_rooms";
}

/// Why a token does not count. The reason never holds the token or a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    code: RefusalCode,
    reason: Cow<'static, str>,
}

impl Refusal {
    pub(crate) fn new(code: RefusalCode, reason: impl Into<Cow<'static, str>>) -> Self {
        Self { code, reason: reason.into() }
    }

    /// What it is, for programs.
    pub const fn code(&self) -> RefusalCode {
        self.code
    }

    /// The same in words.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl std::error::Error for Refusal {}
