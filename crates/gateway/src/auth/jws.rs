//! Signatures of tokens: the compact form of RFC 7515, checked and made with aws-lc.

use aws_lc_rs::signature::{self, ParsedPublicKey, RsaPublicKeyComponents, VerificationAlgorithm};
use aws_lc_rs::{hmac, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use super::refusal::{Refusal, RefusalCode};
use crate::config::Algorithm;

/// Keys tried for a token that names none.
const KEYS_TRIED_MAX: usize = 16;

/// A key that tokens are checked with.
pub(super) struct Key {
    /// Its id, by which tokens name it.
    kid: Option<String>,
    /// What it can check. A key fits the algorithms of its own kind and no others, so a public key can
    /// never be taken for a secret.
    checks: Vec<(Algorithm, Check)>,
}

enum Check {
    /// Boxed: aws-lc keeps more than a thousand bytes for it.
    Secret(Box<hmac::Key>),
    Public(ParsedPublicKey),
}

/// The keys of a gateway.
#[derive(Default)]
pub(super) struct KeySet(Vec<Key>);

/// A token taken apart, with nothing checked yet.
pub(super) struct Token<'a> {
    algorithm: Algorithm,
    kid: Option<String>,
    signed: &'a str,
    /// JSON, if the signature is good.
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// What is read of a token's header. Keys that it brings along (`jwk`, `jku`, `x5u`, `x5c`) are not.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    /// Extensions that must be understood; none is.
    crit: Option<IgnoredAny>,
}

impl<'a> Token<'a> {
    /// Takes a token apart. Its algorithm has to be one of `accepted`.
    pub(super) fn parse(token: &'a str, accepted: &[Algorithm]) -> Result<Self, Refusal> {
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed("the token is no JSON Web Token: it does not have three parts"));
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        let header: Header = serde_json::from_slice(&decode(header)?)
            .map_err(|_| malformed("the token's header is not the JSON it should be"))?;
        if header.crit.is_some() {
            return Err(malformed("the token's header demands extensions (`crit`), and none is known"));
        }
        let (payload, signature) = (decode(payload)?, decode(signature)?);
        let algorithm =
            accepted.iter().find(|accepted| accepted.as_str() == header.alg).ok_or_else(|| {
                let names: Vec<_> = accepted.iter().map(|algorithm| algorithm.as_str()).collect();
                let reason = format!("the token's algorithm is not one of {}", names.join(", "));
                Refusal::new(RefusalCode::TokenAlgorithm, reason)
            })?;
        Ok(Self { algorithm: *algorithm, kid: header.kid, signed, payload, signature })
    }

    /// The claims, if one of the keys made the signature.
    pub(super) fn verify(&self, keys: &KeySet) -> Result<Map<String, Value>, Refusal> {
        let mut is_known = false;
        let mut is_good = false;
        for check in keys.checks(self.algorithm, self.kid.as_deref()).take(KEYS_TRIED_MAX) {
            is_known = true;
            is_good = check.verify(self.signed.as_bytes(), &self.signature);
            if is_good {
                break;
            }
        }
        if !is_known {
            return Err(Refusal::new(
                RefusalCode::TokenKeyUnknown,
                "the token names a key that is not in the key set, or that does not fit its algorithm",
            ));
        }
        if !is_good {
            return Err(Refusal::new(RefusalCode::TokenSignature, "the token's signature is wrong"));
        }
        match serde_json::from_slice(&self.payload) {
            Ok(Value::Object(claims)) => Ok(claims),
            _ => Err(malformed("the token's claims are no JSON object")),
        }
    }
}

fn malformed(reason: impl Into<std::borrow::Cow<'static, str>>) -> Refusal {
    Refusal::new(RefusalCode::TokenMalformed, reason)
}

fn decode(part: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed("a part of the token is not base64url"))
}

impl Check {
    fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(key) => hmac::verify(key, message, signature).is_ok(),
            Self::Public(key) => key.verify_sig(message, signature).is_ok(),
        }
    }
}

impl Key {
    /// A shared secret, for these algorithms.
    pub(super) fn secret(secret: &[u8], algorithms: &[Algorithm]) -> Self {
        let checks = algorithms.iter().filter_map(|algorithm| {
            Some((*algorithm, Check::Secret(Box::new(hmac::Key::new(hmac_of(*algorithm)?, secret)))))
        });
        Self { kid: None, checks: checks.collect() }
    }

    /// A public key in DER form (`SubjectPublicKeyInfo`, or `RSAPublicKey`).
    fn public(der: &[u8]) -> Self {
        let checks = PUBLIC.iter().filter_map(|(algorithm, verification)| {
            Some((*algorithm, Check::Public(ParsedPublicKey::new(*verification, der).ok()?)))
        });
        Self { kid: None, checks: checks.collect() }
    }

    /// A key of a JSON Web Key Set; `None` if it is of no use here.
    fn from_jwk(jwk: Jwk) -> Option<Self> {
        let is_for_signatures = jwk.r#use.as_deref().is_none_or(|purpose| purpose == "sig")
            && jwk
                .key_ops
                .as_ref()
                .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !is_for_signatures {
            return None;
        }
        let bytes = |text: Option<&String>| URL_SAFE_NO_PAD.decode(text?.trim_end_matches('=')).ok();
        let mut checks: Vec<(Algorithm, Check)> = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let (n, e) = (bytes(jwk.n.as_ref())?, bytes(jwk.e.as_ref())?);
                // aws-lc refuses a number that begins with zeros.
                let trimmed = |number: &[u8]| -> Vec<u8> {
                    number.iter().copied().skip_while(|byte| *byte == 0).collect()
                };
                let components = RsaPublicKeyComponents { n: trimmed(&n), e: trimmed(&e) };
                let rsa = RSA.iter().filter_map(|(algorithm, parameters)| {
                    Some((*algorithm, Check::Public(components.to_parsed_public_key(parameters).ok()?)))
                });
                rsa.collect()
            }
            ("EC", Some(curve)) => {
                let size: usize = match curve {
                    "P-256" => 32,
                    "P-384" => 48,
                    "P-521" => 66,
                    _ => return None,
                };
                let mut point = vec![4];
                for coordinate in [bytes(jwk.x.as_ref())?, bytes(jwk.y.as_ref())?] {
                    point.resize(point.len() + size.checked_sub(coordinate.len())?, 0);
                    point.extend_from_slice(&coordinate);
                }
                Self::public(&point).checks
            }
            ("OKP", Some("Ed25519")) => Self::public(&bytes(jwk.x.as_ref())?).checks,
            // Also "oct": a secret that everybody can fetch is none.
            _ => return None,
        };
        if let Some(only) = &jwk.alg {
            checks.retain(|(algorithm, _)| algorithm.as_str() == only);
        }
        (!checks.is_empty()).then_some(Self { kid: jwk.kid, checks })
    }
}

/// A key of a set (RFC 7517), as far as it matters here.
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    r#use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    pub(super) fn of(key: Key) -> Self {
        Self(vec![key])
    }

    /// Reads every public key of a PEM file. The error is for the operator.
    pub(super) fn from_pem(text: &str) -> Result<Self, String> {
        let blocks = pem::parse_many(text).map_err(|error| format!("it is no PEM file: {error}"))?;
        if blocks.is_empty() {
            return Err("it holds no PEM block (-----BEGIN PUBLIC KEY-----)".to_owned());
        }
        let key = |block: &pem::Pem| {
            match block.tag() {
            "PUBLIC KEY" | "RSA PUBLIC KEY" => {
                let key = Key::public(block.contents());
                if key.checks.is_empty() {
                    let wanted = "RSA from 2048 bits, P-256, P-384, P-521 or Ed25519";
                    return Err(format!("its public key is of no known kind ({wanted})"));
                }
                Ok(key)
            }
            "CERTIFICATE" => Err(
                "it holds a certificate: take the key out with `openssl x509 -pubkey -noout`".to_owned(),
            ),
            tag if tag.ends_with("PRIVATE KEY") => Err(
                "it holds a private key, which the gateway must not have: make the public one with `openssl pkey -pubout`"
                    .to_owned(),
            ),
            tag => Err(format!("it holds a {tag}, not a PUBLIC KEY")),
        }
        };
        blocks.iter().map(key).collect::<Result<_, _>>().map(Self)
    }

    /// Reads a JSON Web Key Set. Keys of no use are passed over; a set without any other is an error.
    pub(super) fn from_jwks(json: &[u8]) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json).map_err(|_| "it is no JSON Web Key Set".to_owned())?;
        let jwks = set.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
        let keys: Vec<Key> = jwks.filter_map(Key::from_jwk).collect();
        if keys.is_empty() {
            return Err("it has no key for signatures".to_owned());
        }
        Ok(Self(keys))
    }

    /// The algorithms that some key can check.
    pub(super) fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.0.iter().flat_map(|key| &key.checks).map(|(algorithm, _)| *algorithm)
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// What may check a token. A key without an id fits every token, a token without one every key.
    fn checks<'a>(&'a self, algorithm: Algorithm, kid: Option<&'a str>) -> impl Iterator<Item = &'a Check> {
        let fits = move |key: &&Key| match (&key.kid, kid) {
            (Some(key), Some(token)) => key == token,
            (None, _) | (_, None) => true,
        };
        let checks = self.0.iter().filter(fits).flat_map(|key| &key.checks);
        checks.filter(move |(fitting, _)| *fitting == algorithm).map(|(_, check)| check)
    }
}

const fn hmac_of(algorithm: Algorithm) -> Option<hmac::Algorithm> {
    match algorithm {
        Algorithm::HS256 => Some(hmac::HMAC_SHA256),
        Algorithm::HS384 => Some(hmac::HMAC_SHA384),
        Algorithm::HS512 => Some(hmac::HMAC_SHA512),
        _ => None,
    }
}

/// The algorithms of an RSA key.
const RSA: &[(Algorithm, &signature::RsaParameters)] = &[
    (Algorithm::RS256, &signature::RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::RS384, &signature::RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::RS512, &signature::RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::PS256, &signature::RSA_PSS_2048_8192_SHA256),
    (Algorithm::PS384, &signature::RSA_PSS_2048_8192_SHA384),
    (Algorithm::PS512, &signature::RSA_PSS_2048_8192_SHA512),
];

/// Every algorithm with a public key. Which of them a key fits is found out by trying.
const PUBLIC: &[(Algorithm, &'static dyn VerificationAlgorithm)] = &[
    (Algorithm::RS256, &signature::RSA_PKCS1_2048_8192_SHA256),
    (Algorithm::RS384, &signature::RSA_PKCS1_2048_8192_SHA384),
    (Algorithm::RS512, &signature::RSA_PKCS1_2048_8192_SHA512),
    (Algorithm::PS256, &signature::RSA_PSS_2048_8192_SHA256),
    (Algorithm::PS384, &signature::RSA_PSS_2048_8192_SHA384),
    (Algorithm::PS512, &signature::RSA_PSS_2048_8192_SHA512),
    (Algorithm::ES256, &signature::ECDSA_P256_SHA256_FIXED),
    (Algorithm::ES384, &signature::ECDSA_P384_SHA384_FIXED),
    (Algorithm::ES512, &signature::ECDSA_P521_SHA512_FIXED),
    (Algorithm::EdDSA, &signature::ED25519),
];

/// Makes tokens, for tests and for trying things out.
pub struct Signer {
    algorithm: Algorithm,
    key: SigningKey,
}

enum SigningKey {
    Secret(Box<hmac::Key>),
    Rsa(signature::RsaKeyPair, &'static dyn signature::RsaEncoding),
    Ecdsa(signature::EcdsaKeyPair),
    Ed25519(signature::Ed25519KeyPair),
}

impl Signer {
    /// Signs with a shared secret.
    ///
    /// # Errors
    /// The algorithm is none with a secret.
    pub fn from_secret(secret: &str, algorithm: Algorithm) -> Result<Self, String> {
        let hmac = hmac_of(algorithm)
            .ok_or_else(|| format!("{algorithm} signs with a private key, not with a secret"))?;
        Ok(Self { algorithm, key: SigningKey::Secret(Box::new(hmac::Key::new(hmac, secret.as_bytes()))) })
    }

    /// Signs with a private key in PEM form.
    ///
    /// # Errors
    /// The text is no private key, or one of another kind than the algorithm's.
    pub fn from_pem(text: &str, algorithm: Algorithm) -> Result<Self, String> {
        let block = pem::parse(text).map_err(|error| format!("the private key is no PEM file: {error}"))?;
        let der = block.contents();
        let fitting = |_| format!("the private key does not fit {algorithm}");
        let rsa = |encoding: &'static dyn signature::RsaEncoding| {
            let pair =
                signature::RsaKeyPair::from_pkcs8(der).or_else(|_| signature::RsaKeyPair::from_der(der));
            Ok::<_, String>(SigningKey::Rsa(pair.map_err(fitting)?, encoding))
        };
        let ecdsa = |signing| {
            let pair = signature::EcdsaKeyPair::from_private_key_der(signing, der);
            Ok(SigningKey::Ecdsa(pair.map_err(fitting)?))
        };
        let key = match algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                return Err(format!("{algorithm} signs with a secret, not with a private key"));
            }
            Algorithm::RS256 => rsa(&signature::RSA_PKCS1_SHA256),
            Algorithm::RS384 => rsa(&signature::RSA_PKCS1_SHA384),
            Algorithm::RS512 => rsa(&signature::RSA_PKCS1_SHA512),
            Algorithm::PS256 => rsa(&signature::RSA_PSS_SHA256),
            Algorithm::PS384 => rsa(&signature::RSA_PSS_SHA384),
            Algorithm::PS512 => rsa(&signature::RSA_PSS_SHA512),
            Algorithm::ES256 => ecdsa(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
            Algorithm::ES384 => ecdsa(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
            Algorithm::ES512 => ecdsa(&signature::ECDSA_P521_SHA512_FIXED_SIGNING),
            Algorithm::EdDSA => {
                let pair = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(der);
                Ok(SigningKey::Ed25519(pair.map_err(fitting)?))
            }
        };
        Ok(Self { algorithm, key: key? })
    }

    /// A token with these claims.
    ///
    /// # Errors
    /// The key cannot sign, which an RSA key shorter than the hash cannot.
    pub fn sign(&self, claims: &Map<String, Value>) -> Result<String, String> {
        let header = format!(r#"{{"alg":"{}","typ":"JWT"}}"#, self.algorithm);
        let claims = serde_json::to_vec(claims).unwrap_or_default();
        let mut token = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let random = rand::SystemRandom::new();
        let message = token.as_bytes();
        let failed = |_| format!("the key cannot sign with {}", self.algorithm);
        let signature = match &self.key {
            SigningKey::Secret(key) => hmac::sign(key, message).as_ref().to_vec(),
            SigningKey::Rsa(pair, encoding) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut signature).map_err(failed)?;
                signature
            }
            SigningKey::Ecdsa(pair) => pair.sign(&random, message).map_err(failed)?.as_ref().to_vec(),
            SigningKey::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
        };
        token.push('.');
        token.push_str(&URL_SAFE_NO_PAD.encode(signature));
        Ok(token)
    }
}
