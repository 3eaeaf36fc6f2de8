//! Who may join which room, and who may enter which namespace.

use super::pattern::closest;
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

    /// Whether somebody with these roles and claims may join a room. Everybody may join the rooms of
    /// their roles.
    pub(crate) fn allow(&self, room: &str, roles: &[String], claims: &Claims<'_>) -> bool {
        match self {
            Self::Open => true,
            Self::Join(join) => {
                roles.iter().any(|role| role == room) || join.iter().any(|rule| rule.matches(room, claims))
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
