//! The official browser client, served beside the sockets as Node's server does: a page without a
//! build step takes `<script src="http://localhost:4000/socket.io/socket.io.js">`.
//!
//! The files are those of the npm package `socket.io-client`, unchanged but compressed; its licence
//! (MIT) is in `browser/LICENSE`.

use std::io::Read as _;

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::Full;

/// The version of the files, which is their entity tag too.
const TAG: &str = "\"4.8.4\"";

macro_rules! files {
    ($($name:literal),* $(,)?) => {
        const FILES: &[(&str, &[u8])] = &[$(($name, include_bytes!(concat!("browser/", $name, ".gz")))),*];
    };
}

files! {
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
}

/// The answer to a GET (or, without its body, a HEAD) of a file of this name, if there is one.
pub(super) fn file(name: &str, request: &HeaderMap, takes_gzip: bool) -> Option<Response<Full<Bytes>>> {
    let (_, compressed) = FILES.iter().find(|(known, _)| *known == name)?;
    let mut response = Response::new(Full::default());
    if is_known(request) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    } else if takes_gzip {
        response = Response::new(Full::from(*compressed));
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    } else {
        let mut plain = Vec::new();
        GzDecoder::new(*compressed).read_to_end(&mut plain).ok()?;
        response = Response::new(Full::from(plain));
    }
    let kind = match name.ends_with(".map") {
        true => "application/json; charset=utf-8",
        false => "application/javascript; charset=utf-8",
    };
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
    headers.insert(ETAG, HeaderValue::from_static(TAG));
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    Some(response)
}

/// Whether the browser has this version already.
fn is_known(request: &HeaderMap) -> bool {
    let tags = request.get(IF_NONE_MATCH).and_then(|tags| tags.to_str().ok()).unwrap_or_default();
    tags.split(',').map(|tag| tag.trim().trim_start_matches("W/")).any(|tag| tag == "*" || tag == TAG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_whole_and_of_the_version() {
        for (name, compressed) in FILES {
            let mut plain = String::new();
            GzDecoder::new(*compressed).read_to_string(&mut plain).unwrap();
            let version = format!("Socket.IO v{}", TAG.trim_matches('"'));
            assert!(name.ends_with(".map") || plain.contains(&version), "{name}");
        }
    }
}
