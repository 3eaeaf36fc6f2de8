//! From the claims of a token to an identity.

use serde_json::{Map, Value};

use super::refusal::{Refusal, RefusalCode};

/// Who a socket belongs to. Anonymous with strategy `none`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    user: Option<String>,
    roles: Vec<String>,
    /// Only the claims that rules ask for: ten thousand sockets keep them.
    claims: Vec<(String, Vec<String>)>,
    valid_until: Option<u64>,
}

impl Identity {
    /// Somebody of whom nothing is known.
    pub const fn anonymous() -> Self {
        Self { user: None, roles: Vec::new(), claims: Vec::new(), valid_until: None }
    }

    /// The user's id, if the client said and proved who it is.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The user's roles. The socket is in the rooms of these names from the start.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }

    /// The values of a claim that a rule names (`rooms.join`, `namespaces`), as text. Other claims are not kept.
    pub fn claim(&self, name: &str) -> &[String] {
        self.claims.iter().find(|(claim, _)| claim == name).map_or(&[], |(_, values)| values)
    }

    /// Every claim that is kept.
    pub(crate) fn claims(&self) -> &[(String, Vec<String>)] {
        &self.claims
    }

    /// When it ends, in seconds since 1970; `None` for never.
    pub const fn valid_until(&self) -> Option<u64> {
        self.valid_until
    }
}

/// Which claims mean what.
#[derive(Debug, Clone, Default)]
pub(super) struct ClaimNames {
    /// The first one present holds the user id.
    pub(super) user: Vec<String>,
    /// The first one present holds the roles.
    pub(super) roles: Vec<String>,
    /// Those that rules ask for.
    pub(super) rules: Vec<String>,
    /// How far clocks may differ.
    pub(super) leeway_s: u64,
}

impl ClaimNames {
    /// Holds the claims against the time and takes out what counts. `now` is in seconds since 1970.
    pub(super) fn identity(&self, claims: &Map<String, Value>, now: u64) -> Result<Identity, Refusal> {
        let valid_until = self.lifetime(claims, now)?;
        let user = match first(claims, &self.user) {
            Some((name, value)) => Some(text(value).filter(|user| !user.is_empty()).ok_or_else(|| {
                Refusal::new(
                    RefusalCode::TokenClaims,
                    format!("the claim `{name}` must be the user's id, as text or a number"),
                )
            })?),
            None => None,
        };
        let roles = match first(claims, &self.roles) {
            Some((name, value)) => texts(value).ok_or_else(|| {
                Refusal::new(
                    RefusalCode::TokenClaims,
                    format!("the claim `{name}` must be a role, or an array of roles"),
                )
            })?,
            None => Vec::new(),
        };
        let mut distinct: Vec<String> = Vec::with_capacity(roles.len());
        for role in roles {
            if !role.is_empty() && !distinct.contains(&role) {
                distinct.push(role);
            }
        }
        let rules = self.rules.iter();
        let claims = rules.filter_map(|name| Some((name.clone(), texts(find(claims, name)?)?))).collect();
        Ok(Identity { user, roles: distinct, claims, valid_until })
    }

    /// Until when the claims count, if they count now.
    fn lifetime(&self, claims: &Map<String, Value>, now: u64) -> Result<Option<u64>, Refusal> {
        if let Some(begin) = date(claims, "nbf")?
            && now.saturating_add(self.leeway_s) < begin
        {
            let reason = format!("the token is not valid yet, but in {} s", begin - now);
            return Err(Refusal::new(RefusalCode::TokenNotYetValid, reason));
        }
        let Some(end) = date(claims, "exp")? else { return Ok(None) };
        let last = end.saturating_add(self.leeway_s);
        if now >= last {
            let reason = format!("the token expired {} s ago", now - end);
            return Err(Refusal::new(RefusalCode::TokenExpired, reason));
        }
        // A token that our clock still calls valid ends when it says; the leeway is for one that is
        // over by our clock alone.
        Ok(Some(if now < end { end } else { last }))
    }
}

/// A NumericDate, which may have a fraction.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, Refusal> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => match (number.as_u64(), number.as_f64()) {
            (Some(seconds), _) => Ok(Some(seconds)),
            // A cast saturates, so that what lies before 1970 is long over.
            (None, Some(seconds)) => Ok(Some(seconds as u64)),
            (None, None) => Err(no_date(name)),
        },
        Some(_) => Err(no_date(name)),
    }
}

fn no_date(name: &str) -> Refusal {
    let reason = format!("the claim `{name}` must be a number of seconds since 1970");
    Refusal::new(RefusalCode::TokenMalformed, reason)
}

fn first<'a>(claims: &'a Map<String, Value>, names: &'a [String]) -> Option<(&'a str, &'a Value)> {
    names.iter().find_map(|name| Some((name.as_str(), find(claims, name)?)))
}

/// A claim by its name or, if there is none of that name, by its path. `null` is nothing.
fn find<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let value = match claims.get(name) {
        Some(value) => Some(value),
        None => {
            let (head, rest) = name.split_once('.')?;
            let inner = claims.get(head)?.as_object()?;
            find(inner, rest)
        }
    };
    value.filter(|value| !value.is_null())
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => {
            // Beyond this a number with a fraction, or one too long for an integer, has lost digits.
            let is_exact = number.is_u64() || number.is_i64();
            let is_small = number.as_f64().is_some_and(|number| number.abs() < 9_007_199_254_740_992.0);
            (is_exact || is_small).then(|| number.to_string())
        }
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn texts(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => text(value).map(|text| vec![text]),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_000_000;

    fn names() -> ClaimNames {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        ClaimNames {
            user: list(&["sub", "userId", "user.id"]),
            roles: list(&["roles", "role", "realm_access.roles"]),
            rules: list(&["tenant", "org.ids"]),
            leeway_s: 30,
        }
    }

    #[track_caller]
    fn check(claims: Value, expected: Expect) {
        let Value::Object(claims) = claims else { panic!("an object") };
        let shown = match names().identity(&claims, NOW) {
            Ok(identity) => format!(
                "{:?} {:?} {:?} {:?}",
                identity.user, identity.roles, identity.claims, identity.valid_until
            ),
            Err(refusal) => format!("{}: {refusal}", refusal.code().as_str()),
        };
        expected.assert_eq(&shown);
    }

    #[test]
    fn users_and_roles() {
        check(json!({}), expect!["None [] [] None"]);
        check(
            json!({ "sub": "u", "roles": ["a", "b", "a", ""] }),
            expect![[r#"Some("u") ["a", "b"] [] None"#]],
        );
        check(json!({ "userId": 42, "role": "a" }), expect![[r#"Some("42") ["a"] [] None"#]]);
        check(json!({ "sub": null, "userId": 7.5 }), expect![[r#"Some("7.5") [] [] None"#]]);
        check(
            json!({ "sub": 9_007_199_254_740_993_u64 }),
            expect![[r#"Some("9007199254740993") [] [] None"#]],
        );
        check(
            json!({ "user": { "id": "n" }, "realm_access": { "roles": [1, "x"] } }),
            expect![[r#"Some("n") ["1", "x"] [] None"#]],
        );
        check(
            json!({ "user.id": "literal", "user": { "id": "path" } }),
            expect![[r#"Some("literal") [] [] None"#]],
        );
        check(
            json!({ "tenant": "t", "org": { "ids": [1, 2] }, "other": 1 }),
            expect![[r#"None [] [("tenant", ["t"]), ("org.ids", ["1", "2"])] None"#]],
        );
        check(json!({ "tenant": { "a": 1 }, "org": [] }), expect!["None [] [] None"]);
        for sub in [json!(1e29), json!(""), json!(true), json!(["u"]), json!({})] {
            check(
                json!({ "sub": sub }),
                expect!["token_claims: the claim `sub` must be the user's id, as text or a number"],
            );
        }
        check(
            json!({ "roles": { "a": 1 } }),
            expect!["token_claims: the claim `roles` must be a role, or an array of roles"],
        );
        check(
            json!({ "roles": ["a", ["b"]] }),
            expect!["token_claims: the claim `roles` must be a role, or an array of roles"],
        );
    }

    #[test]
    fn times() {
        check(json!({ "exp": NOW + 5 }), expect!["None [] [] Some(1000005)"]);
        check(json!({ "exp": NOW as f64 + 5.9 }), expect!["None [] [] Some(1000005)"]);
        check(json!({ "exp": NOW - 29 }), expect!["None [] [] Some(1000001)"]);
        check(json!({ "exp": NOW - 30 }), expect!["token_expired: the token expired 30 s ago"]);
        check(json!({ "exp": -1 }), expect!["token_expired: the token expired 1000000 s ago"]);
        check(json!({ "exp": 1e300 }), expect!["None [] [] Some(18446744073709551615)"]);
        check(
            json!({ "exp": "1000100" }),
            expect!["token_malformed: the claim `exp` must be a number of seconds since 1970"],
        );
        check(json!({ "nbf": NOW + 30 }), expect!["None [] [] None"]);
        check(
            json!({ "nbf": NOW + 31 }),
            expect!["token_not_yet_valid: the token is not valid yet, but in 31 s"],
        );
        check(
            json!({ "nbf": [] }),
            expect!["token_malformed: the claim `nbf` must be a number of seconds since 1970"],
        );
    }
}
