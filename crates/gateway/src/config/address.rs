//! Where somebody is asked over HTTP: a text that may hold a password.

use std::fmt;

use http::Uri;

/// What stands in place of everything that must not be seen.
const MASK: &str = "***";

/// The address of a backend. Wherever it is shown its password and its query are `***`, since many a query holds a
/// key, and so is a user name without a password, which is one; [`expose`](Self::expose) gives the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(String);

impl Address {
    /// Takes an address as it was written.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, to send a request to. Never to print.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&str> for Address {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Where the password of a text ends that is no address cannot be told.
        let shown = self.0.parse().ok().and_then(|uri| masked(&uri));
        f.write_str(shown.as_deref().unwrap_or(MASK))
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// `None` for an address that cannot be shown in part.
fn masked(uri: &Uri) -> Option<String> {
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let (who, place) = match authority.as_str().rsplit_once('@') {
        Some((who, place)) => (Some(who), place),
        None => (None, authority.as_str()),
    };
    // `https://user:pass/word@host`: what looks like a port is the begin of a password.
    if place != authority.host() && authority.port_u16().is_none() {
        return None;
    }
    let who = match who.map(|who| who.split_once(':')) {
        Some(Some((user, _))) => format!("{user}:{MASK}@"),
        Some(None) => format!("{MASK}@"),
        None => String::new(),
    };
    let query = if uri.query().is_some() { format!("?{MASK}") } else { String::new() };
    Some(format!("{scheme}://{who}{place}{}{query}", uri.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str) {
        let address = Address::from(text);
        assert_eq!(address.expose(), text);
        assert_eq!(address.to_string(), shown, "{text}");
        assert_eq!(format!("{address:?}"), format!("\"{shown}\""), "{text}");
    }

    #[test]
    fn what_may_be_secret_is_masked() {
        check("https://gw:hunter2@auth.example.com/x", "https://gw:***@auth.example.com/x");
        check("http://gw:hunter2@[::1]:80/x?key=hunter2", "http://gw:***@[::1]:80/x?***");
        check("http://:hunter2@host/", "http://:***@host/");
        check("http://gw:@host/", "http://gw:***@host/");
        check("http://hunter2@host:80/", "http://***@host:80/");
        check("https://host/x?#hunter2", "https://host/x?***");
    }

    #[test]
    fn the_rest_is_shown_as_it_is() {
        for text in ["http://host/", "https://host:8443/a/b@c:d", "http://[::1]/x", "http://10.0.0.1:80/x"] {
            check(text, text);
        }
    }

    #[test]
    fn of_what_is_no_address_nothing_is_shown() {
        for text in [
            "",
            "hunter2",
            "gw:hunter2@host",
            "https://gw:hunter2/@host/",
            "https://gw:hunter/2@host/",
            "https://gw:80hunter?2@host/",
            "https://gw:hun#ter2@host/",
            "https://gw:hunt er2@host/",
            "https://gw:hunter2\\@host/",
        ] {
            check(text, "***");
        }
    }
}
