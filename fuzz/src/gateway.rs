//! What comes over HTTP, given to a gateway of this process: requests, the bodies of publishes, tokens.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::panic;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use idae_socket::config::{Algorithm, Config, Sources};
use idae_socket::{HttpDriver, Signer};
use serde_json::{Map, Value, json};
use tokio::runtime::{Builder, Runtime};

const SECRET: &str = "a secret of the fuzz targets, long enough";
const KEY: &str = "a-key-of-the-fuzz-targets";

/// Everything on one connection, whatever it is.
///
/// Checked are:
/// * nothing in the gateway panics;
/// * what comes back, if something comes, begins as an HTTP answer, and not as one of a broken server.
pub fn http_request(data: &[u8]) {
    let answer = exchange(|stream| {
        // The gateway may have seen enough before everything is written.
        let _ = stream.write_all(data);
        let _ = stream.shutdown(Shutdown::Write);
    });
    if !answer.is_empty() {
        let status = status(&answer);
        assert!((100..500).contains(&status) || matches!(status, 501 | 505), "status {status}");
    }
}

/// The body of a publish: first a letter that says of what kind, then what is sent.
///
/// Checked are:
/// * nothing in the gateway panics, and every body gets one answer;
/// * a single event that is taken is a JSON object with a payload, as another parser reads it;
/// * what is refused is told with a problem whose status is that of the answer.
pub fn publish_body(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    let (path, content_type) = match kind {
        b'a' => ("/v1/events", "application/json"),
        b'l' => ("/v1/events", "application/x-ndjson"),
        _ => ("/e", "application/json"),
    };
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {KEY}\r\n\
         Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answer = exchange(|stream| {
        let _ = stream.write_all(&[head.as_bytes(), body].concat());
    });
    let status = status(&answer);
    let start = memchr::memmem::find(&answer, b"\r\n\r\n").expect("an answer has an end of its head") + 4;
    match (path, status) {
        ("/e", 200) => {
            let event: Map<String, Value> = serde_json::from_slice(body).expect("what is taken is an object");
            assert!(event.contains_key("payload"), "without payload");
        }
        (_, 200) => {}
        (_, 400..=499) => {
            let problem: Value = serde_json::from_slice(&answer[start..]).expect("a problem is JSON");
            assert_eq!(problem["status"], status, "{problem}");
            assert!(problem["code"].is_string(), "{problem}");
        }
        _ => panic!("status {status}"),
    }
}

/// A token, or the claims of one, which is signed then.
///
/// Checked are:
/// * only a token is accepted that is, to the letter, one that was signed;
/// * claims with an end are accepted only before it.
pub fn token(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let signer = Signer::from_secret(SECRET, Algorithm::HS256).expect("HS256 has a secret");
    if let Ok(claims) = serde_json::from_str::<Map<String, Value>>(&text) {
        let signed = signer.sign(&claims).expect("a secret signs");
        if is_accepted(&signed) {
            let now = UNIX_EPOCH.elapsed().expect("a clock after 1970").as_secs_f64();
            // The gateway allows for clocks that differ by a minute.
            let is_current = |end: &Value| end.as_f64().is_some_and(|end| end > now - 60.0);
            assert!(claims.get("exp").is_none_or(is_current), "{text}");
        }
        return;
    }
    // Until 2100.
    let Value::Object(claims) = json!({ "sub": "ada", "exp": 4_102_444_800_u64 }) else { unreachable!() };
    let signed = signer.sign(&claims).expect("a secret signs");
    assert_eq!(is_accepted(&text), text == signed, "{text}");
}

fn is_accepted(token: &str) -> bool {
    static CONFIG: LazyLock<Config> = LazyLock::new(config);
    let verdict = RUNTIME.block_on(HttpDriver::with_config(CONFIG.clone()).judge(token));
    verdict.expect("the configuration is good").is_ok()
}

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));

static HAS_PANICKED: AtomicBool = AtomicBool::new(false);

/// The gateway's address; it runs until the process ends.
static GATEWAY: LazyLock<SocketAddr> = LazyLock::new(|| {
    // A task that panics ends alone and would not be noticed here.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        HAS_PANICKED.store(true, Ordering::SeqCst);
        hook(info);
    }));
    let gateway = RUNTIME.block_on(HttpDriver::with_config(config()).start(0)).expect("a gateway");
    let address = gateway.addresses()[0];
    std::mem::forget(gateway);
    address
});

fn config() -> Config {
    let text = format!(
        "[auth]\nstrategy = \"jwt\"\njwt_secret = \"{SECRET}\"\n\
         [publish]\nkey = \"{KEY}\"\nbody_bytes_max = 1024\nbatch_bytes_max = 1024\n"
    );
    let file = Some(("the fuzz targets' configuration".to_owned(), text));
    Config::resolve(&Sources { file, ..Sources::default() }).expect("a good configuration").config
}

/// What the gateway answers to what is sent, until it closes the connection.
fn exchange(send: impl FnOnce(&mut TcpStream)) -> Vec<u8> {
    let mut stream = TcpStream::connect(*GATEWAY).expect("the gateway listens");
    send(&mut stream);
    let mut answer = Vec::new();
    // An error is a reset: what had arrived before it is the answer.
    let _ = stream.read_to_end(&mut answer);
    assert!(!HAS_PANICKED.load(Ordering::SeqCst), "something in the gateway has panicked");
    answer
}

fn status(answer: &[u8]) -> u16 {
    let digits = answer.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(2..5));
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no HTTP answer: {answer:02x?}"))
}
