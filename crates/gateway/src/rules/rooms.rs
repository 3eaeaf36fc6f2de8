//! Who may join which room, and who may enter which namespace.

use super::pattern::{Pattern, closest};
use super::template::{Claims, Template, TemplateError};

/// The rules for rooms: deny by default.
#[derive(Debug, Clone)]
pub(crate) enum RoomRules {
    /// Nobody proves who they are, so there is nothing to tell them apart by.
    Open,
    /// A room has to be covered by one of these.
    Join(Vec<Template>),
}

impl RoomRules {
    pub(crate) fn parse(join: &[String]) -> Result<Self, TemplateError> {
        join.iter().map(|text| Template::parse(text)).collect::<Result<_, _>>().map(Self::Join)
    }

    /// What somebody with these roles and claims may join: the rooms of their roles, and what the rules open.
    pub(crate) fn grants<'a>(&self, roles: &'a [String], claims: &Claims<'_>) -> Grants<'a> {
        match self {
            Self::Open => Grants { roles, patterns: None },
            Self::Join(join) => {
                Grants { roles, patterns: Some(join.iter().flat_map(|rule| rule.fill(claims)).collect()) }
            }
        }
    }

    /// The patterns of the rooms that somebody with these claims may join.
    pub(crate) fn filled(&self, claims: &Claims<'_>) -> Vec<String> {
        match self {
            Self::Open => vec!["*".to_owned()],
            Self::Join(join) => {
                let patterns = join.iter().flat_map(|rule| rule.fill(claims));
                patterns.map(|pattern| pattern.as_str().to_owned()).collect()
            }
        }
    }

    /// The claims that the rules ask for.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &str> {
        let join = match self {
            Self::Open => &[],
            Self::Join(join) => join.as_slice(),
        };
        join.iter().flat_map(Template::claims)
    }
}

/// The rules as they are for somebody.
pub(crate) struct Grants<'a> {
    roles: &'a [String],
    /// `None`: every room.
    patterns: Option<Vec<Pattern>>,
}

impl Grants<'_> {
    pub(crate) fn allow(&self, room: &str) -> bool {
        let Some(patterns) = &self.patterns else { return true };
        self.roles.iter().any(|role| role == room) || patterns.iter().any(|pattern| pattern.matches(room))
    }
}

/// Which namespaces there are, and for whom.
#[derive(Debug, Clone)]
pub(crate) struct Namespaces(Vec<Template>);

impl Namespaces {
    pub(crate) fn parse(texts: &[String]) -> Result<Self, TemplateError> {
        texts.iter().map(|text| Template::parse(text)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there is such a namespace, for anybody.
    pub(crate) fn exists(&self, namespace: &str) -> bool {
        self.0.iter().any(|template| template.may_match(namespace))
    }

    /// Whether somebody with these claims may enter it.
    pub(crate) fn admit(&self, namespace: &str, claims: &Claims<'_>) -> bool {
        self.0.iter().any(|template| template.matches(namespace, claims))
    }

    /// The claims that the rules ask for.
    pub(crate) fn claims(&self) -> impl Iterator<Item = &str> {
        self.0.iter().flat_map(Template::claims)
    }

    /// The configured text that is the nearest to `namespace`, for "did you mean".
    pub(crate) fn closest(&self, namespace: &str) -> Option<&str> {
        closest(namespace, self.0.iter().map(Template::as_str))
    }
}
