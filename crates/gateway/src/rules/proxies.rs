//! Whose word is believed about where a request comes from.

use std::net::IpAddr;

use http::HeaderMap;
use ipnet::IpNet;

/// The proxies in front of the gateway.
#[derive(Debug, Clone, Default)]
pub(crate) struct Proxies(Vec<IpNet>);

impl Proxies {
    /// Reads addresses and networks.
    ///
    /// # Errors
    /// The first text that is neither.
    pub(crate) fn parse(texts: &[String]) -> Result<Self, String> {
        let network = |text: &String| {
            let network = text.parse::<IpNet>().ok();
            let address = || text.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()));
            network.or_else(address).ok_or_else(|| text.clone())
        };
        texts.iter().map(network).collect::<Result<_, _>>().map(Self)
    }

    /// Whether requests of this peer come from others.
    pub(crate) fn contain(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.0.iter().any(|network| network.contains(&peer))
    }

    /// Where a request comes from: the peer, or what the proxies say. Each of them appends the address it
    /// was called from, so the last one that is no proxy is the client; what stands before was written
    /// by the client itself.
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        if !self.contain(peer) {
            return peer;
        }
        // Bytes, because what a client wrote before must not hide what the proxy appended.
        let lists = headers.get_all("x-forwarded-for").iter().rev();
        let mut client = peer;
        for hop in lists.flat_map(|list| list.as_bytes().rsplit(|byte| *byte == b',')) {
            let Some(address) = std::str::from_utf8(hop).ok().and_then(|hop| address(hop.trim())) else {
                break;
            };
            client = address.to_canonical();
            if !self.contain(client) {
                break;
            }
        }
        client
    }
}

/// An address, perhaps with a port.
fn address(text: &str) -> Option<IpAddr> {
    let with_port = || text.parse::<std::net::SocketAddr>().ok().map(|address| address.ip());
    text.trim_matches(['[', ']']).parse().ok().or_else(with_port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(proxies: &[&str], peer: &str, headers: &[&str], expected: &str) {
        let proxies: Vec<String> = proxies.iter().map(|proxy| (*proxy).to_owned()).collect();
        let mut map = HeaderMap::new();
        for header in headers {
            map.append("x-forwarded-for", http::HeaderValue::from_bytes(header.as_bytes()).unwrap());
        }
        let client = Proxies::parse(&proxies).unwrap().client(peer.parse().unwrap(), &map);
        assert_eq!(client.to_string(), expected);
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        check(&[], "127.0.0.1", &["9.9.9.9"], "127.0.0.1");
        check(&["10.0.0.0/8"], "192.0.2.1", &["9.9.9.9"], "192.0.2.1");
        check(&["10.0.0.0/8"], "10.1.2.3", &["9.9.9.9"], "9.9.9.9");
        check(&["10.0.0.1"], "10.0.0.1", &[], "10.0.0.1");
        check(&["::1"], "::1", &["2001:db8::7"], "2001:db8::7");
        check(&["127.0.0.1"], "::ffff:127.0.0.1", &["9.9.9.9"], "9.9.9.9");
    }

    #[test]
    fn what_the_client_wrote_itself_does_not_count() {
        check(&["10.0.0.0/8"], "10.0.0.1", &["1.1.1.1, 9.9.9.9"], "9.9.9.9");
        check(&["10.0.0.0/8"], "10.0.0.1", &["1.1.1.1", "9.9.9.9, 10.0.0.2"], "9.9.9.9");
        check(&["10.0.0.0/8"], "10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        check(&["10.0.0.0/8"], "10.0.0.1", &["1.1.1.1, unknown, 10.0.0.2"], "10.0.0.2");
        check(&["10.0.0.0/8"], "10.0.0.1", &["ÿ, 9.9.9.9"], "9.9.9.9");
        check(&["10.0.0.0/8"], "10.0.0.1", &["1.1.1.1", "ÿ"], "10.0.0.1");
        check(&["10.0.0.0/8"], "10.0.0.1", &["9.9.9.9:4711"], "9.9.9.9");
        check(&["10.0.0.0/8"], "10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7");
    }

    #[test]
    fn what_is_no_network() {
        for text in ["", "x", "10.0.0.0/33", "10.0.0", "localhost"] {
            assert_eq!(Proxies::parse(&[text.to_owned()]).err().as_deref(), Some(text));
        }
    }
}
