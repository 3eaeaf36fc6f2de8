//! Whether a request was made by the gateway's own page, the console.

use std::net::IpAddr;

use http::HeaderMap;
use http::header::{HOST, HeaderName, ORIGIN};
use http::uri::Authority;

/// How a request of a browser stands to the page that made it.
pub(crate) static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the gateway's own page is known by: its origin is the host that was asked.
///
/// That alone would let in a page of another host that resolves its own name to this machine (DNS rebinding),
/// so the name has to be one that only this machine can have.
#[derive(Debug, Clone)]
pub(crate) struct OwnPage {
    is_served: bool,
    /// The configured host, if it is a name.
    name: String,
    /// A page needs a key, which its visitor has to give it. So nothing is gained by a false name.
    needs_key: bool,
}

impl OwnPage {
    pub(crate) fn new(is_served: bool, host: &str, needs_key: bool) -> Self {
        Self { is_served, name: host.to_owned(), needs_key }
    }

    /// Whether the gateway's own page makes a request that publishes.
    pub(crate) fn publishes(&self, headers: &HeaderMap) -> bool {
        // The gateway itself speaks no TLS, so a page from https is a proxy's, which has a key.
        let is_plain = headers.get(ORIGIN).is_some_and(|origin| origin.as_bytes().starts_with(b"http:"));
        self.asks(headers).is_some_and(|host| self.needs_key || (is_plain && self.is_ours(&host)))
    }

    /// Whether the gateway's own page makes a request that opens a socket.
    pub(crate) fn connects(&self, headers: &HeaderMap) -> bool {
        self.asks(headers).is_some_and(|host| self.is_ours(&host))
    }

    /// The host of a request whose page comes from the same host.
    fn asks(&self, headers: &HeaderMap) -> Option<Authority> {
        if !self.is_served {
            return None;
        }
        let is_from_elsewhere = headers.get(&SEC_FETCH_SITE).is_some_and(|site| site != "same-origin");
        let origin = headers.get(ORIGIN)?.to_str().ok()?;
        let origin = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))?;
        let host = headers.get(HOST)?.to_str().ok()?;
        if is_from_elsewhere || !origin.eq_ignore_ascii_case(host) {
            return None;
        }
        host.parse().ok()
    }

    fn is_ours(&self, host: &Authority) -> bool {
        let name = host.host();
        let is_address = name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok();
        is_address
            || name.eq_ignore_ascii_case("localhost")
            || name.to_ascii_lowercase().ends_with(".localhost")
            || name.eq_ignore_ascii_case(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(page: &OwnPage, headers: &[(&'static str, &str)], publishes: bool, connects: bool) {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        assert_eq!((page.publishes(&headers), page.connects(&headers)), (publishes, connects), "{headers:?}");
    }

    #[test]
    fn only_the_page_of_this_machine_is_our_own() {
        let page = OwnPage::new(true, "gateway.internal", false);
        for host in ["localhost:4000", "127.0.0.1:4000", "[::1]:4000", "192.0.2.7", "gateway.internal:4000"] {
            check(&page, &[("host", host), ("origin", &format!("http://{host}"))], true, true);
            check(&page, &[("host", host), ("origin", &format!("https://{host}"))], false, true);
            check(
                &page,
                &[("host", host), ("origin", &format!("http://{host}")), ("sec-fetch-site", "same-site")],
                false,
                false,
            );
            check(&page, &[("host", host), ("origin", "http://localhost:3000")], false, false);
            check(&page, &[("host", host)], false, false);
        }
        for origin in ["http://evil.test:4000", "http://localhost.evil.test:4000", "null", "http://"] {
            let host = origin.trim_start_matches("http://");
            check(&page, &[("host", host), ("origin", origin)], false, false);
        }
        let keyed = OwnPage::new(true, "0.0.0.0", true);
        check(&keyed, &[("host", "live.example.com"), ("origin", "https://live.example.com")], true, false);
        let off = OwnPage::new(false, "localhost", false);
        check(&off, &[("host", "localhost:4000"), ("origin", "http://localhost:4000")], false, false);
    }
}
