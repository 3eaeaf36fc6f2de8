//! Tokens against keys of every kind, with the crate `jsonwebtoken` as the oracle.

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::jws::{Key, KeySet, Signer, Token};
use super::refusal::{Refusal, RefusalCode};
use super::{Auth, Check, TOKEN_BYTES_MAX};
use crate::config::{self, Algorithm, Strategy};
use crate::outbound::Outbound;

const SECRET: &str = "a secret of more than sixty-four bytes, which is what HS512 deserves";

/// A private key as PEM, its public key as PEM and as JWK.
struct Pair {
    private: String,
    public: String,
    jwk: Value,
}

fn pem(tag: &str, der: &[u8]) -> String {
    pem::encode(&pem::Pem::new(tag, der))
}

fn rsa() -> Pair {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let private: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let public = pair.public_key();
    let number = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    Pair {
        private: pem("PRIVATE KEY", private.as_ref()),
        public: pem(
            "PUBLIC KEY",
            AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(public).unwrap().as_ref(),
        ),
        jwk: json!({
            "kty": "RSA",
            "n": number(public.modulus().big_endian_without_leading_zero()),
            "e": number(public.exponent().big_endian_without_leading_zero()),
        }),
    }
}

fn ec(signing: &'static signature::EcdsaSigningAlgorithm, curve: &str) -> Pair {
    let pair = EcdsaKeyPair::generate(signing).unwrap();
    let public = pair.public_key();
    let coordinates = &public.as_ref()[1..];
    let (x, y) = coordinates.split_at(coordinates.len() / 2);
    Pair {
        private: pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref()),
        public: pem(
            "PUBLIC KEY",
            AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(public).unwrap().as_ref(),
        ),
        jwk: json!({ "kty": "EC", "crv": curve, "x": URL_SAFE_NO_PAD.encode(x), "y": URL_SAFE_NO_PAD.encode(y) }),
    }
}

fn ed25519() -> Pair {
    let pair = Ed25519KeyPair::generate().unwrap();
    let public = pair.public_key();
    Pair {
        private: pem("PRIVATE KEY", pair.to_pkcs8v1().unwrap().as_ref()),
        public: pem(
            "PUBLIC KEY",
            AsDer::<aws_lc_rs::encoding::PublicKeyX509Der<'_>>::as_der(public).unwrap().as_ref(),
        ),
        jwk: json!({ "kty": "OKP", "crv": "Ed25519", "x": URL_SAFE_NO_PAD.encode(public.as_ref()) }),
    }
}

fn claims() -> Map<String, Value> {
    match json!({ "sub": "42", "roles": ["admin"], "exp": super::unix_now() + 60 }) {
        Value::Object(claims) => claims,
        _ => unreachable!("an object"),
    }
}

fn verify(token: &str, keys: &KeySet, accepted: &[Algorithm]) -> Result<Map<String, Value>, RefusalCode> {
    Token::parse(token, accepted).and_then(|token| token.verify(keys)).map_err(|refusal| refusal.code())
}

fn jwks(keys: &[Value]) -> KeySet {
    KeySet::from_jwks(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

/// The oracle's name of an algorithm; it does not know ES512.
fn theirs(algorithm: Algorithm) -> Option<jsonwebtoken::Algorithm> {
    algorithm.as_str().parse().ok()
}

fn their_keys(algorithm: Algorithm, pair: &Pair) -> (jsonwebtoken::EncodingKey, jsonwebtoken::DecodingKey) {
    use jsonwebtoken::{DecodingKey, EncodingKey};
    let (private, public) = (pair.private.as_bytes(), pair.public.as_bytes());
    match algorithm.as_str() {
        name if name.starts_with("RS") || name.starts_with("PS") => {
            (EncodingKey::from_rsa_pem(private).unwrap(), DecodingKey::from_rsa_pem(public).unwrap())
        }
        name if name.starts_with("ES") => {
            (EncodingKey::from_ec_pem(private).unwrap(), DecodingKey::from_ec_pem(public).unwrap())
        }
        "EdDSA" => (EncodingKey::from_ed_pem(private).unwrap(), DecodingKey::from_ed_pem(public).unwrap()),
        _ => (EncodingKey::from_secret(SECRET.as_bytes()), DecodingKey::from_secret(SECRET.as_bytes())),
    }
}

#[test]
fn every_algorithm_agrees_with_the_oracle() {
    // Once: they hold the time.
    let claims = claims();
    let (rsa, ed) = (rsa(), ed25519());
    let p256 = ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256");
    let p384 = ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384");
    let p521 = ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521");
    let all = [&rsa, &p256, &p384, &p521, &ed];
    for algorithm in Algorithm::ALL.iter().copied() {
        let own = match algorithm {
            Algorithm::ES256 => &p256,
            Algorithm::ES384 => &p384,
            Algorithm::ES512 => &p521,
            Algorithm::EdDSA => &ed,
            _ => &rsa,
        };
        let is_secret = algorithm.hash_bytes_of_secret().is_some();
        let signer = match is_secret {
            true => Signer::from_secret(SECRET, algorithm).unwrap(),
            false => Signer::from_pem(&own.private, algorithm).unwrap(),
        };
        let key_sets = match is_secret {
            true => vec![KeySet::of(Key::secret(SECRET.as_bytes(), &[algorithm]))],
            false => vec![KeySet::from_pem(&own.public).unwrap(), jwks(std::slice::from_ref(&own.jwk))],
        };
        let mut tokens = vec![signer.sign(&claims).unwrap()];
        if let Some(theirs) = theirs(algorithm) {
            let (encoding, decoding) = their_keys(algorithm, own);
            tokens
                .push(jsonwebtoken::encode(&jsonwebtoken::Header::new(theirs), &claims, &encoding).unwrap());
            let validation = jsonwebtoken::Validation::new(theirs);
            let read = jsonwebtoken::decode::<Map<String, Value>>(&tokens[0], &decoding, &validation);
            assert_eq!(read.unwrap().claims, claims, "{algorithm}: the oracle reads ours");
        }
        for token in &tokens {
            for keys in &key_sets {
                assert_eq!(verify(token, keys, &[algorithm]), Ok(claims.clone()), "{algorithm}");
                assert_eq!(keys.algorithms().filter(|fitting| *fitting == algorithm).count(), 1);
                assert_eq!(
                    verify(token, keys, &[]),
                    Err(RefusalCode::TokenAlgorithm),
                    "{algorithm} not accepted"
                );
                for at in [0, token.len() / 2, token.len() - 2] {
                    let mut damaged = token.clone().into_bytes();
                    damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
                    let damaged = String::from_utf8(damaged).unwrap();
                    assert!(verify(&damaged, keys, &[algorithm]).is_err(), "{algorithm}: damaged at {at}");
                }
            }
            for other in all.iter().filter(|other| !std::ptr::eq(**other, own) || is_secret) {
                let stranger = KeySet::from_pem(&other.public).unwrap();
                assert!(verify(token, &stranger, Algorithm::ALL).is_err(), "{algorithm}: another key");
            }
        }
    }
}

#[test]
fn a_public_key_is_no_secret() {
    let rsa = rsa();
    // HS256 over the public key in PEM form: what a verifier that trusts `alg` would accept.
    let forged = Signer::from_secret(&rsa.public, Algorithm::HS256).unwrap().sign(&claims()).unwrap();
    for keys in [KeySet::from_pem(&rsa.public).unwrap(), jwks(std::slice::from_ref(&rsa.jwk))] {
        assert_eq!(verify(&forged, &keys, Algorithm::ALL), Err(RefusalCode::TokenKeyUnknown));
        assert_eq!(verify(&forged, &keys, &[Algorithm::RS256]), Err(RefusalCode::TokenAlgorithm));
    }
    let oct = json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(SECRET), "alg": "HS256" });
    assert!(
        KeySet::from_jwks(json!({ "keys": [oct] }).to_string().as_bytes()).is_err(),
        "a secret for all to read"
    );
}

#[test]
fn keys_are_told_apart_by_their_ids() {
    let (one, two) = (ed25519(), ed25519());
    let with = |pair: &Pair, more: Value| {
        let (Value::Object(mut jwk), Value::Object(more)) = (pair.jwk.clone(), more) else {
            panic!("objects")
        };
        jwk.extend(more);
        Value::Object(jwk)
    };
    let keys = jwks(&[
        with(&one, json!({ "kid": "one", "use": "sig" })),
        with(&two, json!({ "kid": "two", "alg": "EdDSA" })),
    ]);
    let signer = |pair: &Pair| Signer::from_pem(&pair.private, Algorithm::EdDSA).unwrap();
    // Signed by us without a kid: every key is tried.
    assert!(verify(&signer(&two).sign(&claims()).unwrap(), &keys, &[Algorithm::EdDSA]).is_ok());
    assert_eq!(
        verify(&signer(&ed25519()).sign(&claims()).unwrap(), &keys, &[Algorithm::EdDSA]),
        Err(RefusalCode::TokenSignature)
    );
    let with_kid = |pair: &Pair, kid: &str| {
        let header = jsonwebtoken::Header {
            kid: Some(kid.to_owned()),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA)
        };
        let key = jsonwebtoken::EncodingKey::from_ed_pem(pair.private.as_bytes()).unwrap();
        jsonwebtoken::encode(&header, &claims(), &key).unwrap()
    };
    assert!(verify(&with_kid(&one, "one"), &keys, &[Algorithm::EdDSA]).is_ok());
    assert_eq!(verify(&with_kid(&one, "two"), &keys, &[Algorithm::EdDSA]), Err(RefusalCode::TokenSignature));
    assert_eq!(
        verify(&with_kid(&one, "three"), &keys, &[Algorithm::EdDSA]),
        Err(RefusalCode::TokenKeyUnknown)
    );
    // Keys for something else are no keys.
    for useless in [
        json!({ "use": "enc" }),
        json!({ "key_ops": ["sign"] }),
        json!({ "alg": "RS256" }),
        json!({ "crv": "X25519" }),
    ] {
        let set = json!({ "keys": [with(&one, useless)] });
        assert!(KeySet::from_jwks(set.to_string().as_bytes()).is_err(), "{set}");
    }
}

#[test]
fn what_is_no_token() {
    let keys = KeySet::of(Key::secret(SECRET.as_bytes(), &[Algorithm::HS256]));
    let part = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let good = Signer::from_secret(SECRET, Algorithm::HS256).unwrap().sign(&claims()).unwrap();
    let signature = good.rsplit('.').next().unwrap();
    let header = |header: &str| format!("{}.{}.{signature}", part(header), part("{}"));
    for (token, code) in [
        (String::new(), RefusalCode::TokenMalformed),
        ("a.b".to_owned(), RefusalCode::TokenMalformed),
        (format!("{good}.x"), RefusalCode::TokenMalformed),
        (format!("{good}="), RefusalCode::TokenMalformed),
        (good.replace('.', "!."), RefusalCode::TokenMalformed),
        ("x".repeat(20_000), RefusalCode::TokenMalformed),
        (header("[]"), RefusalCode::TokenMalformed),
        (header(r#"{"alg":1}"#), RefusalCode::TokenMalformed),
        (header(r#"{"alg":"HS256","alg":"none"}"#), RefusalCode::TokenMalformed),
        (header(r#"{"alg":"HS256","crit":["exp"]}"#), RefusalCode::TokenMalformed),
        (header(r#"{"alg":"none"}"#), RefusalCode::TokenAlgorithm),
        (header(r#"{"alg":"None"}"#), RefusalCode::TokenAlgorithm),
        (header(r#"{"alg":"hs256"}"#), RefusalCode::TokenAlgorithm),
        (header(r#"{"alg":"HS512"}"#), RefusalCode::TokenAlgorithm),
        (header(r#"{"alg":"HS256"}"#), RefusalCode::TokenSignature),
        (good.rsplit_once('.').map(|(signed, _)| format!("{signed}.")).unwrap(), RefusalCode::TokenSignature),
    ] {
        assert_eq!(verify(&token, &keys, &[Algorithm::HS256]), Err(code), "{token}");
    }
}

#[test]
fn files_with_something_else() {
    let pair = ed25519();
    for (text, word) in [
        ("", "holds no PEM block"),
        ("nonsense", "holds no PEM block"),
        (pair.private.as_str(), "private key"),
        (&pem("CERTIFICATE", b"x"), "openssl x509"),
        (&pem("PUBLIC KEY", b"x"), "of no known kind"),
        (&pem("DH PARAMETERS", b"x"), "DH PARAMETERS"),
    ] {
        let fault = KeySet::from_pem(text).err().unwrap();
        assert!(fault.contains(word), "{fault}");
    }
    let both = format!("{}{}", pair.public, rsa().public);
    assert_eq!(KeySet::from_pem(&both).unwrap().len(), 2);
}

#[test]
fn every_code_is_explained() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors.md");
    let text = std::fs::read_to_string(path).unwrap();
    for code in RefusalCode::ALL {
        let heading = format!("\n## {}\n", code.as_str());
        assert!(text.contains(&heading), "docs/errors.md does not explain {}", code.as_str());
    }
}

#[test]
fn no_strategy_takes_a_longer_token_than_another() {
    let mut introspection = config::Auth { strategy: Strategy::Introspection, ..config::Auth::default() };
    introspection.introspection_url = Some("http://127.0.0.1:9/".into());
    let jwt =
        config::Auth { strategy: Strategy::Jwt, jwt_secret: Some(SECRET.into()), ..config::Auth::default() };
    for settings in [introspection, jwt] {
        let auth = Auth::new(&settings, Vec::new(), &Outbound::new().unwrap()).unwrap();
        let refusal = |bytes| match auth.check(Ok(Some("x".repeat(bytes).into()))) {
            Check::Done(verdict) => Some(verdict.unwrap_err()),
            Check::Pending(_) => None,
        };
        let is_long = |refusal: &Refusal| refusal.reason() == "the token is longer than 16384 bytes";
        let refused = refusal(TOKEN_BYTES_MAX + 1).unwrap();
        assert!(refused.code() == RefusalCode::TokenMalformed && is_long(&refused), "{refused:?}");
        assert!(!refusal(TOKEN_BYTES_MAX).is_some_and(|refused| is_long(&refused)));
    }
}
