//! Patterns in which `{claim}` stands for a claim of the one who asks.
//!
//! Invariants
//! * A claim's value stands for itself: nothing in it is read as a pattern.
//! * A value that is empty or holds `*` or `:` fits nowhere. With a colon in it `tenant:{tenant}:*` would
//!   reach into the rooms of another tenant, whose name is the part before the colon.

use super::pattern::{Filled, Pattern, PatternError};

/// Ways in which one template may be filled in: claims can have several values each.
const FILLINGS_MAX: usize = 64;

/// A pattern with claims.
#[derive(Debug, Clone)]
pub(crate) struct Template {
    pattern: Pattern,
    /// The names of its claims, each once.
    claims: Vec<String>,
}

/// Why a text is no template.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error(transparent)]
    Pattern(#[from] PatternError),
    #[error("a `{{` or `}}` stands alone: a claim is written `{{name}}`")]
    Brace,
    #[error("`{{}}` names no claim")]
    NoName,
}

/// The values of a claim, by its name.
pub(crate) type Claims<'a> = dyn Fn(&str) -> &'a [String] + 'a;

impl Template {
    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let pattern = Pattern::parse(text)?;
        let mut claims: Vec<String> = Vec::new();
        for literal in pattern.literals() {
            for part in parts(literal) {
                match part? {
                    Part::Claim(name) if !claims.iter().any(|claim| claim == name) => {
                        claims.push(name.to_owned());
                    }
                    Part::Claim(_) | Part::Text(_) => {}
                }
            }
        }
        Ok(Self { pattern, claims })
    }

    /// The claims that it asks for.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &str> {
        self.claims.iter().map(String::as_str)
    }

    /// Whether it covers `text` for somebody with these claims.
    pub(crate) fn matches(&self, text: &str, claims: &Claims<'_>) -> bool {
        if self.claims.is_empty() {
            return self.pattern.matches(text);
        }
        self.fill(claims).iter().any(|pattern| pattern.matches(text))
    }

    /// Whether it covers `text` for anybody.
    pub(crate) fn may_match(&self, text: &str) -> bool {
        let anybody = self.pattern.map_literals(|literal| {
            let filled = parts(literal).filter_map(Result::ok).map(|part| match part {
                Part::Text(text) => Filled::Text(text.to_owned()),
                Part::Claim(_) => Filled::Anything,
            });
            Some(filled.collect())
        });
        anybody.is_some_and(|pattern| pattern.matches(text))
    }

    /// The patterns that it stands for, for somebody with these claims.
    pub(crate) fn fill(&self, claims: &Claims<'_>) -> Vec<Pattern> {
        let values: Vec<Vec<&String>> = self
            .claims
            .iter()
            .map(|name| claims(name).iter().filter(|value| fits(value)).collect())
            .collect();
        let ways = values.iter().map(Vec::len).try_fold(1_usize, usize::checked_mul).unwrap_or(usize::MAX);
        (0..ways.min(FILLINGS_MAX)).filter_map(|way| self.fill_one(&values, way)).collect()
    }

    fn fill_one(&self, values: &[Vec<&String>], way: usize) -> Option<Pattern> {
        self.pattern.map_literals(|literal| {
            let filled = parts(literal).map(|part| match part.ok()? {
                Part::Text(text) => Some(Filled::Text(text.to_owned())),
                Part::Claim(name) => {
                    // The way is a number with one digit per claim.
                    let position = self.claims.iter().position(|claim| claim == name)?;
                    let before: usize = values[..position].iter().map(Vec::len).product();
                    let digit = way / before % values[position].len();
                    Some(Filled::Text(values[position][digit].clone()))
                }
            });
            filled.collect()
        })
    }

    pub(crate) fn as_str(&self) -> &str {
        self.pattern.as_str()
    }
}

/// Whether a claim's value may stand in a rule.
fn fits(value: &str) -> bool {
    !value.is_empty() && !value.contains(['*', ':'])
}

enum Part<'a> {
    Text(&'a str),
    Claim(&'a str),
}

fn parts(literal: &str) -> impl Iterator<Item = Result<Part<'_>, TemplateError>> {
    let mut rest = literal;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let at = rest.find(['{', '}']).unwrap_or(rest.len());
        if at > 0 {
            let (text, after) = rest.split_at(at);
            rest = after;
            return Some(Ok(Part::Text(text)));
        }
        let Some((name, after)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) else {
            rest = "";
            return Some(Err(TemplateError::Brace));
        };
        rest = after;
        Some(match name {
            "" => Err(TemplateError::NoName),
            name if name.contains('{') => Err(TemplateError::Brace),
            name => Ok(Part::Claim(name)),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, claims: &[(&str, &[&str])], yes: &[&str], no: &[&str]) {
        let template = Template::parse(template).unwrap();
        let owned: Vec<(&str, Vec<String>)> = claims
            .iter()
            .map(|(name, values)| (*name, values.iter().map(|value| (*value).to_owned()).collect()))
            .collect();
        let lookup = |name: &str| -> &[String] {
            owned.iter().find(|(claim, _)| *claim == name).map_or(&[], |(_, values)| values)
        };
        for text in yes {
            assert!(template.matches(text, &lookup), "{} must cover {text}", template.as_str());
        }
        for text in no {
            assert!(!template.matches(text, &lookup), "{} must not cover {text}", template.as_str());
        }
    }

    #[test]
    fn claims_stand_for_their_values() {
        check("public:*", &[], &["public:", "public:a"], &["public", "private:a"]);
        check(
            "tenant:{tenant}:*",
            &[("tenant", &["acme"])],
            &["tenant:acme:", "tenant:acme:orders"],
            &["tenant:acme", "tenant:other:orders", "tenant:{tenant}:x", "tenant::x"],
        );
        check("{sub}", &[("sub", &["42"])], &["42"], &["", "4", "422", "{sub}"]);
        check(
            "{a}-{b}-{a}",
            &[("a", &["1", "2"]), ("b", &["x", "y"])],
            &["1-x-1", "2-y-2", "1-y-1"],
            &["1-x-2", "3-x-3"],
        );
        check("/:area/{sub}", &[("sub", &["a/b"])], &["/x/a/b"], &["/x/a", "/x/y/b"]);
    }

    #[test]
    fn values_never_widen_a_rule() {
        for value in ["*", "a*", "", ":", "a:b", ":x", "*:*"] {
            check(
                "tenant:{tenant}:*",
                &[("tenant", &[value])],
                &[],
                &["tenant:a:b:c", "tenant:a:x", "tenant::x", "tenant:*:x", "tenant:x:y", "tenant:a:b:"],
            );
        }
        // One that fits is not spoilt by one that does not.
        check("t:{t}", &[("t", &["*", "a"])], &["t:a"], &["t:b", "t:*"]);
        check("t:{t}", &[], &[], &["t:", "t:{t}"]);
        check("t:{t}", &[("t", &["{u}"]), ("u", &["x"])], &["t:{u}"], &["t:x"]);
    }

    #[test]
    fn anybody_may_have_any_value() {
        let template = Template::parse("/tenant-{tenant}").unwrap();
        assert!(template.may_match("/tenant-acme"));
        assert!(!template.may_match("/other"));
        assert_eq!(template.claims().collect::<Vec<_>>(), ["tenant"]);
    }

    #[test]
    fn what_is_no_template() {
        for (text, error) in [
            ("a{", TemplateError::Brace),
            ("a}", TemplateError::Brace),
            ("{a{b}}", TemplateError::Brace),
            ("x{}y", TemplateError::NoName),
            ("", TemplateError::Pattern(PatternError::Empty)),
        ] {
            assert_eq!(Template::parse(text).err(), Some(error), "{text}");
        }
    }
}
