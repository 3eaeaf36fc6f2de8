//! Where a client shows its token.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::refusal::{Refusal, RefusalCode};

/// What is read of CONNECT's auth object; the rest is the application's.
#[derive(Deserialize, Default)]
struct Shown<'a> {
    #[serde(borrow)]
    token: Option<&'a RawValue>,
    #[serde(borrow, rename = "Authorization")]
    authorization: Option<&'a RawValue>,
}

/// The token of a client: from `auth.token` or `auth.Authorization` of its CONNECT, else from the header of
/// its handshake. Never from the query, which ends up in logs. `Bearer ` before it is dropped once.
///
/// # Errors
/// What stands there is no text.
pub(crate) fn presented<'a>(
    auth: Option<&'a str>,
    header: Option<&'a str>,
) -> Result<Option<Cow<'a, str>>, Refusal> {
    let malformed = |reason: &'static str| Refusal::new(RefusalCode::TokenMalformed, reason);
    let shown: Shown<'_> = match auth {
        Some(auth) => serde_json::from_str(auth)
            .map_err(|_| malformed("the auth object names a token twice, or is none"))?,
        None => Shown::default(),
    };
    for value in [shown.token, shown.authorization].into_iter().flatten() {
        let text: Option<Cow<'a, str>> = text(value).map_err(|()| malformed("the token must be a string"))?;
        if let Some(token) = text.and_then(bare) {
            return Ok(Some(token));
        }
    }
    Ok(header.map(Cow::Borrowed).and_then(bare))
}

fn text(value: &RawValue) -> Result<Option<Cow<'_, str>>, ()> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    if value.get() == "null" {
        return Ok(None);
    }
    serde_json::from_str::<Text<'_>>(value.get()).map(|Text(text)| Some(text)).map_err(|_| ())
}

/// Drops one `Bearer `, and everything if nothing is left.
fn bare(token: Cow<'_, str>) -> Option<Cow<'_, str>> {
    let trimmed = token.trim_start();
    let bare = match trimmed.get(..7) {
        Some(scheme) if scheme.eq_ignore_ascii_case("bearer ") => &trimmed[7..],
        _ => trimmed,
    };
    match bare.trim() {
        "" => None,
        bare if bare.len() == token.len() => Some(token),
        bare => Some(Cow::Owned(bare.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(auth: Option<&str>, header: Option<&str>, expected: Option<&str>) {
        assert_eq!(presented(auth, header).unwrap().as_deref(), expected, "{auth:?} {header:?}");
    }

    #[test]
    fn the_first_place_with_a_token_counts() {
        check(None, None, None);
        check(Some("{}"), None, None);
        check(Some(r#"{"token":"t","Authorization":"a"}"#), Some("h"), Some("t"));
        check(Some(r#"{"Authorization":"Bearer a"}"#), Some("h"), Some("a"));
        check(Some(r#"{"token":"","Authorization":null}"#), Some("Bearer h"), Some("h"));
        check(Some(r#"{"other":{"token":"x"}}"#), Some("bEaReR  h"), Some("h"));
        check(Some(r#"{"token":"\u0042earer t"}"#), None, Some("t"));
        check(Some(r#"{"token":"Bearer Bearer t"}"#), None, Some("Bearer t"));
        check(Some(r#"{"token":"Bearer "}"#), None, None);
        check(Some(r#"{"token":"Bearer"}"#), None, Some("Bearer"));
        check(None, Some("Basic dXNlcg=="), Some("Basic dXNlcg=="));
    }

    #[test]
    fn what_is_no_text_is_no_token() {
        for auth in [
            r#"{"token":1}"#,
            r#"{"token":{"a":1}}"#,
            r#"{"token":["t"]}"#,
            r#"{"token":"a","token":"b"}"#,
            r#"{"Authorization":true}"#,
        ] {
            assert_eq!(
                presented(Some(auth), Some("h")).unwrap_err().code(),
                RefusalCode::TokenMalformed,
                "{auth}"
            );
        }
    }
}
