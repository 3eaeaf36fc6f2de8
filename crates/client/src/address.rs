//! Where the server is: an address as people write it becomes host, port and request target.

use std::fmt;

use http::Uri;
use http::uri::PathAndQuery;

use crate::Error;

/// A server's address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) tls: bool,
    /// A name or an IP address, without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// As it stands in the `Host` header: with brackets, and with the port if it was given.
    pub(crate) authority: String,
    /// Path of the address, without a slash at its end.
    prefix: String,
    query: Option<String>,
}

impl Address {
    /// Reads `[http|https|ws|wss://]host[:port][/prefix][?query]`.
    pub(crate) fn parse(text: &str) -> Result<Self, Error> {
        let invalid = |why: &str| Error::Setting(format!("`{text}` is no address: {why}"));
        let with_scheme = match text.split_once("://") {
            Some(_) => text.to_owned(),
            None => format!("http://{text}"),
        };
        let uri: Uri =
            with_scheme.parse().map_err(|error: http::uri::InvalidUri| invalid(&error.to_string()))?;
        let tls = match uri.scheme_str() {
            Some("http" | "ws") => false,
            Some("https" | "wss") => true,
            _ => return Err(invalid("the scheme is one of http, https, ws and wss")),
        };
        let authority = uri.authority().ok_or_else(|| invalid("it has no host"))?;
        if authority.as_str().contains('@') {
            return Err(invalid("a user name belongs into `auth` or a header"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(invalid("it has no host"));
        }
        // `http` takes a port that is no number for none at all.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") | None => {
                if tls {
                    443
                } else {
                    80
                }
            }
            Some(_) => authority
                .port_u16()
                .filter(|port| *port != 0)
                .ok_or_else(|| invalid("its port is no port"))?,
        };
        let address = Self {
            tls,
            host: host.to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
            query: uri.query().filter(|query| !query.is_empty()).map(str::to_owned),
        };
        if tls && !cfg!(feature = "tls") {
            return Err(Error::TlsNotBuiltIn(address.to_string()));
        }
        Ok(address)
    }

    /// The target of the handshake request; `path` is where the server has its endpoint.
    pub(crate) fn request_target(&self, path: &str) -> Result<String, Error> {
        let path = path.trim_matches('/');
        let slash = if path.is_empty() { "" } else { "/" };
        let mut target = format!("{}/{path}{slash}?EIO=4&transport=websocket", self.prefix);
        if let Some(query) = &self.query {
            target.push('&');
            target.push_str(query);
        }
        // `?` in the path would end it early and hide the protocol's own parameters.
        match PathAndQuery::try_from(target.as_str()) {
            Ok(_) if !path.contains(['?', '#']) => Ok(target),
            _ => Err(Error::Setting(format!("`{path}` is no path"))),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: (bool, &str, u16), target: &str) {
        let address = Address::parse(text).unwrap();
        assert_eq!((address.tls, address.host.as_str(), address.port), expected);
        assert_eq!(address.request_target("/socket.io/").unwrap(), target);
    }

    const PLAIN: &str = "/socket.io/?EIO=4&transport=websocket";

    #[test]
    fn addresses_are_read_with_and_without_scheme() {
        check("http://127.0.0.1:4000", (false, "127.0.0.1", 4000), PLAIN);
        check("ws://h/", (false, "h", 80), PLAIN);
        check("localhost:4000", (false, "localhost", 4000), PLAIN);
        check("localhost", (false, "localhost", 80), PLAIN);
        check("[::1]:4000", (false, "::1", 4000), PLAIN);
        check("h:4000/a/b/", (false, "h", 4000), "/a/b/socket.io/?EIO=4&transport=websocket");
        check("http://h?x=1", (false, "h", 80), "/socket.io/?EIO=4&transport=websocket&x=1");
    }

    #[cfg(feature = "tls")]
    #[test]
    fn secure_schemes_mean_tls() {
        check("https://h", (true, "h", 443), PLAIN);
        check("wss://h:8443", (true, "h", 8443), PLAIN);
    }

    #[cfg(not(feature = "tls"))]
    #[test]
    fn secure_schemes_need_the_feature() {
        assert!(matches!(Address::parse("https://h"), Err(Error::TlsNotBuiltIn(_))));
    }

    #[test]
    fn other_texts_are_no_addresses() {
        for text in
            ["", "http://", "ftp://h", "h:port", "h:0", "h:70000", "http://u:p@h", "a b", "http://:80"]
        {
            assert!(matches!(Address::parse(text), Err(Error::Setting(_))), "{text}");
        }
    }

    #[test]
    fn paths_are_put_between_slashes() {
        let address = Address::parse("h").unwrap();
        for path in ["socket.io", "/socket.io", "//socket.io//"] {
            assert_eq!(address.request_target(path).unwrap(), PLAIN);
        }
        assert_eq!(address.request_target("/").unwrap(), "/?EIO=4&transport=websocket");
        for path in ["/a b/", "/a?b", "/a\r\nb"] {
            assert!(address.request_target(path).is_err(), "{path}");
        }
    }
}
