//! The console: a page on which events can be seen, sent and understood, embedded in the program.
//!
//! Invariants
//! * The page runs nothing but its own files: the policy allows no inline script, no style, no other host.
//! * What it is told of the configuration holds no secret.

use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderName, HeaderValue, Response};
use serde_json::json;

use crate::config::Config;

const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Its paths begin with this, besides `/` itself.
pub(crate) const PREFIX: &str = "/console/";

/// The page and its files.
pub(crate) struct Console {
    settings: Bytes,
}

impl Console {
    /// The console of a configuration, unless it is off.
    pub(crate) fn new(config: &Config) -> Option<Self> {
        if !config.console.unwrap_or_else(|| config.is_loopback()) {
            return None;
        }
        let settings = json!({
            "version": env!("CARGO_PKG_VERSION"),
            "socketPath": config.socket.path,
            "strategy": config.auth.strategy.as_str(),
            "mode": config.auth.mode.as_str(),
            "namespaces": config.namespaces,
            "events": config.events,
            "deliver": config.publish.deliver.as_str(),
            "needsKey": !config.publish.every_key().is_empty(),
        });
        Some(Self { settings: Bytes::from(settings.to_string()) })
    }

    /// The answer to a GET of one of its paths.
    pub(crate) fn file(&self, path: &str) -> Option<Response<Bytes>> {
        let (kind, body) = match path {
            "/" => ("text/html; charset=utf-8", Bytes::from_static(include_bytes!("index.html"))),
            "/console/console.js" => {
                ("text/javascript; charset=utf-8", Bytes::from_static(include_bytes!("console.js")))
            }
            "/console/console.css" => {
                ("text/css; charset=utf-8", Bytes::from_static(include_bytes!("console.css")))
            }
            "/console/icon.svg" => {
                ("image/svg+xml; charset=utf-8", Bytes::from_static(include_bytes!("icon.svg")))
            }
            "/console/settings.json" => ("application/json; charset=utf-8", self.settings.clone()),
            _ => return None,
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        for (name, value) in [
            (CONTENT_TYPE, kind),
            (CONTENT_SECURITY_POLICY, POLICY),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            // Not `no-referrer`, with which browsers may call the page's own origin `null`.
            (REFERRER_POLICY, "same-origin"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
            // Another version of the gateway has another page.
            (CACHE_CONTROL, "no-store"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Some(response)
    }
}
