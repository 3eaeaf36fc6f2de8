//! Who is it: the identity of a socket, and the keys of those who publish.

mod keys;

pub(crate) use keys::{KeyRefused, PublishKeys, Publisher};

/// Who a socket belongs to. Anonymous with strategy `none`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Identity {
    user: Option<String>,
    roles: Vec<String>,
}

impl Identity {
    /// Somebody of whom nothing is known.
    pub const fn anonymous() -> Self {
        Self { user: None, roles: Vec::new() }
    }

    /// The user's id, if the client said and proved who it is.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The user's roles. The socket is in the rooms of these names from the start.
    pub fn roles(&self) -> &[String] {
        &self.roles
    }
}
