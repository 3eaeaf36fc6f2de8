//! Which web pages may open a socket. Browsers name a page's origin; other clients name none.

use http::header::{ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN, VARY};
use http::{HeaderMap, HeaderValue, Uri};

/// The origins whose pages may connect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origins {
    /// Pages served by this machine to itself, on any port.
    Loopback,
    /// Every page, without its cookies.
    Any,
    /// These, as `scheme://host[:port]`.
    List(Vec<String>),
}

/// What follows from a request's origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cors {
    Allowed(Grant),
    Refused,
}

/// What a browser is told about its right to read the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Grant {
    /// Every origin may.
    Any,
    /// This one may; caches must not serve the answer to another.
    One { origin: HeaderValue, with_credentials: bool },
    /// No origin was named.
    Nothing,
}

impl Origins {
    /// The setting's list; none means the default that fits the authentication.
    pub(crate) fn new(list: Option<&[String]>, is_authenticated: bool) -> Self {
        match list {
            None if is_authenticated => Self::Any,
            None => Self::Loopback,
            Some(list) if list.iter().any(|origin| origin == "*") => Self::Any,
            Some(list) => Self::List(list.to_vec()),
        }
    }

    /// Judges the `Origin` header of a request.
    pub(crate) fn judge(&self, origin: Option<&HeaderValue>) -> Cors {
        let Some(origin) = origin else {
            return Cors::Allowed(if *self == Self::Any { Grant::Any } else { Grant::Nothing });
        };
        let text = origin.to_str().unwrap_or_default();
        let with_credentials = match self {
            Self::Any => return Cors::Allowed(Grant::Any),
            Self::Loopback if is_loopback(text) => false,
            Self::List(list) if list.iter().any(|listed| listed.eq_ignore_ascii_case(text)) => true,
            Self::Loopback | Self::List(_) => return Cors::Refused,
        };
        Cors::Allowed(Grant::One { origin: origin.clone(), with_credentials })
    }
}

impl Cors {
    /// Adds what the browser has to know.
    pub(crate) fn write(&self, headers: &mut HeaderMap) {
        match self {
            Self::Allowed(Grant::Any) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            }
            Self::Allowed(Grant::One { origin, with_credentials }) => {
                headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.append(VARY, HeaderValue::from_static("Origin"));
                if *with_credentials {
                    headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
                }
            }
            Self::Allowed(Grant::Nothing) | Self::Refused => {
                headers.append(VARY, HeaderValue::from_static("Origin"));
            }
        }
    }
}

/// Whether an origin is a page of this machine: `localhost`, `127.0.0.0/8` or `[::1]`.
///
/// The host must be that and not only begin with it: `localhost.example.com` belongs to others.
pub(crate) fn is_loopback(origin: &str) -> bool {
    let Some(rest) = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")) else {
        return false;
    };
    let Ok(uri) = format!("http://{rest}/").parse::<Uri>() else { return false };
    let Some(authority) = uri.authority().filter(|authority| authority.as_str() == rest) else {
        return false;
    };
    let host = authority.host();
    // What follows the host must be a port: `localhost:3000.example.com` belongs to others.
    let after = &rest[host.len()..];
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    if !after.is_empty() && !after.strip_prefix(':').is_some_and(is_port) {
        return false;
    }
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_pages_are_told_from_look_alikes() {
        for origin in [
            "http://localhost",
            "http://localhost:3000",
            "https://localhost:3000",
            "http://127.0.0.1:8080",
            "http://127.9.9.9",
            "http://[::1]:5173",
            "http://LOCALHOST:1",
            "http://app.localhost:5173",
        ] {
            assert!(is_loopback(origin), "{origin}");
        }
        for origin in [
            "",
            "null",
            "localhost",
            "file://localhost",
            "http://localhost.evil.test",
            "http://127.0.0.1.evil.test",
            "http://evil.test",
            "http://localhost@evil.test",
            "http://evil.test#localhost",
            "http://localhost:3000.evil.test",
            "http://localhost:",
            "http://localhost:x",
            "http://localhost/x",
            "http://10.0.0.1",
            "http://[::2]",
            "http://localhost:1@evil.test:2",
            "http://evillocalhost",
        ] {
            assert!(!is_loopback(origin), "{origin}");
        }
    }

    #[test]
    fn a_list_is_echoed_and_others_are_refused() {
        let list = Origins::new(Some(&["https://app.example.com".to_owned()]), false);
        let value = HeaderValue::from_static("https://app.example.com");
        let granted = Cors::Allowed(Grant::One { origin: value.clone(), with_credentials: true });
        assert_eq!(list.judge(Some(&value)), granted);
        for other in
            ["https://app.example.com.evil.test", "http://app.example.com", "null", "http://localhost"]
        {
            assert_eq!(list.judge(Some(&HeaderValue::from_static(other))), Cors::Refused, "{other}");
        }
        assert_eq!(list.judge(None), Cors::Allowed(Grant::Nothing));
    }

    #[test]
    fn the_default_fits_the_authentication() {
        assert_eq!(Origins::new(None, false), Origins::Loopback);
        assert_eq!(Origins::new(None, true), Origins::Any);
        assert_eq!(Origins::new(Some(&["*".to_owned()]), false), Origins::Any);
    }
}
