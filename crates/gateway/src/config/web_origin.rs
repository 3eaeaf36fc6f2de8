//! Web origins as a browser writes them in its `Origin` header.
//!
//! An entry is compared with that header byte by byte, so a spelling no browser uses would never
//! match. It is refused with the spelling that does.

/// Completes "… in `socket.cors_origins`"; `None` when the entry can match.
pub(super) fn fault(entry: &str) -> Option<String> {
    const SHAPE: &str = "must be `scheme://host` or `scheme://host:port`, or `*`";
    if entry == "*" {
        return None;
    }
    let Some((scheme, rest)) = entry.split_once("://") else {
        return Some(SHAPE.to_owned());
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let scheme_is_good = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let Some((host, port)) = host_and_port(authority).filter(|_| scheme_is_good) else {
        return Some(SHAPE.to_owned());
    };
    if host.contains('*') {
        return Some("has a `*` in it: only a lone `*` is understood, so name each origin".to_owned());
    }
    if !host.is_ascii() {
        return Some(
            "has letters outside ASCII: write the host as browsers send it, beginning with `xn--`".to_owned(),
        );
    }
    if !host_is_good(host) || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Some(SHAPE.to_owned());
    }
    let scheme = scheme.to_ascii_lowercase();
    let port =
        port.filter(|port| !is_default(&scheme, port)).map(|port| format!(":{port}")).unwrap_or_default();
    let sent = format!("{scheme}://{}{port}", host.to_ascii_lowercase());
    (entry != sent).then(|| format!("would never match: browsers send `{sent}`"))
}

fn host_and_port(authority: &str) -> Option<(&str, Option<&str>)> {
    // The colons of an IPv6 address stand in brackets.
    let after_host = if authority.starts_with('[') {
        authority.find(']')? + 1
    } else {
        authority.find(':').unwrap_or(authority.len())
    };
    let (host, port) = authority.split_at(after_host);
    match port.strip_prefix(':') {
        Some(port) => Some((host, Some(port))),
        None => port.is_empty().then_some((host, None)),
    }
}

fn host_is_good(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

fn is_default(scheme: &str, port: &str) -> bool {
    matches!((scheme, port), ("http" | "ws", "80") | ("https" | "wss", "443"))
}
