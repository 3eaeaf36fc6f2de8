//! Getting in, and being told why not.

use std::time::Duration;

use idae_socket_client::{Error, SocketDriver};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::server::{Said, Server};
use crate::{PATIENCE, driver, log, next};

#[tokio::test]
async fn connects_and_closes_in_order() {
    let server = Server::start().await;
    let (said, mut heard) = log();
    let (connected, disconnected) = (said.clone(), said);
    let driver = driver(&server)
        .on_connect(move |info| connected.say(format!("{} {}", info.id, info.recovered)))
        .on_disconnect(move |reason| disconnected.say(reason.as_str()));
    let (socket, mut peer) = tokio::join!(driver.connect(), server.socket("abc"));
    let socket = socket.unwrap();
    assert_eq!(next(&mut heard).await, "abc false");
    assert_eq!((socket.id().as_deref(), socket.is_connected()), (Some("abc"), true));

    let (_, last) = tokio::join!(socket.close(), async {
        let last = (peer.said().await, peer.said().await);
        drop(peer);
        last
    });
    assert_eq!(last, (Said::Text("41".to_owned()), Said::Close));
    assert_eq!(next(&mut heard).await, "io client disconnect");
    assert!((socket.id().is_none(), socket.is_connected()) == (true, false));
    assert!(matches!(socket.emit("late", &Default::default()).await, Err(Error::Closed)));
}

#[tokio::test]
async fn says_who_it_is_and_where_to() {
    let server = Server::start().await;
    let driver = SocketDriver::new(format!("{}/prefix/?x=1", server.address()))
        .path("ws")
        .namespace("/admin")
        .auth(&json!({"tenant": 7}))
        .token("secret")
        .header("X-Trace", "t1");
    let (socket, peer) = tokio::join!(driver.connect(), async {
        let mut peer = server.session().await;
        assert_eq!(peer.text().await, r#"40/admin,{"tenant":7,"token":"secret"}"#);
        peer.send(r#"40{"sid":"other namespace"}"#).await;
        peer.send(r#"40/admin,{"sid":"abc"}"#).await;
        peer
    });
    assert_eq!(socket.unwrap().id().as_deref(), Some("abc"));
    let request = &peer.request;
    assert!(request.starts_with("GET /prefix/ws/?EIO=4&transport=websocket&x=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("Host: 127.0.0.1:{}\r\n", server.port())), "{request}");
    assert!(request.contains("x-trace: t1\r\n") && request.contains("idae-socket-client/"), "{request}");
}

#[tokio::test]
async fn a_refusal_has_message_and_data_and_is_final() {
    let server = Server::start().await;
    let (outcome, mut peer) = tokio::join!(driver(&server).connect(), async {
        let mut peer = server.session().await;
        peer.text().await;
        peer.send(r#"44{"message":"Unauthorized: expired","data":{"code":"token_expired"}}"#).await;
        peer
    });
    let error = outcome.unwrap_err();
    assert_eq!(error.to_string(), "Unauthorized: expired");
    assert_eq!((error.code(), error.is_retryable()), (Some("token_expired"), false));
    assert_eq!((peer.said().await, peer.said().await), (Said::Close, Said::End));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_an_error_at_once() {
    let server = Server::start().await;
    let driver = driver(&server);
    drop(server);
    let error = driver.connect().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }) && error.is_retryable(), "{error}");
}

#[tokio::test]
async fn a_server_that_says_nothing_is_a_timeout() {
    let server = Server::start().await;
    let driver = driver(&server).connect_timeout(Duration::from_millis(50));
    let (outcome, _tcp) = tokio::join!(driver.connect(), server.tcp());
    assert!(matches!(outcome, Err(Error::ConnectTimeout { .. })));
}

#[tokio::test]
async fn a_server_that_never_answers_connect_is_a_timeout() {
    let server = Server::start().await;
    let driver = driver(&server).connect_timeout(Duration::from_millis(200));
    let (outcome, _peer) = tokio::join!(driver.connect(), server.session());
    assert!(matches!(outcome, Err(Error::ConnectTimeout { .. })));
}

/// What a driver makes of an HTTP answer that is no upgrade, or of a first message.
#[track_caller]
fn check(outcome: Result<idae_socket_client::Socket, Error>, text: &str) {
    let error = outcome.unwrap_err();
    assert!(error.to_string().contains(text), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn http_errors_are_told_with_their_reason() {
    for (answer, expected) in [
        ("HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\nForbidden", "HTTP 400: Forbidden"),
        (
            "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n{\"code\":0,\"message\":\"x\"}",
            "HTTP 400: x",
        ),
        ("HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", "HTTP 302"),
        ("HTTP/1.1 101 Sure\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: no\r\n\r\n", "handshake is wrong"),
        ("SSH-2.0-OpenSSH\r\n\r\n", "no HTTP/1.1 answer"),
    ] {
        let server = Server::start().await;
        let (outcome, ()) = tokio::join!(driver(&server).connect(), async {
            let mut tcp = server.tcp().await;
            crate::server::head(&mut tcp).await;
            tcp.write_all(answer.as_bytes()).await.unwrap();
        });
        check(outcome, expected);
    }
}

#[tokio::test]
async fn other_protocols_are_told_apart() {
    for (first, then, expected) in [
        ("40", None, "no open packet"),
        ("hello", None, "invalid Engine.IO packet"),
        ("0{}", None, "pingInterval"),
        (r#"0{"pingInterval":1000,"pingTimeout":1000}"#, Some("40"), "Socket.IO 2"),
        (r#"0{"pingInterval":1000,"pingTimeout":1000}"#, Some("4?"), "unknown packet type"),
    ] {
        let server = Server::start().await;
        let (outcome, _peer) = tokio::join!(driver(&server).connect(), async {
            let mut peer = server.websocket().await;
            peer.send(first).await;
            if let Some(then) = then {
                peer.text().await;
                peer.send(then).await;
            }
            peer
        });
        check(outcome, expected);
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_told_before_connecting() {
    let wrong = [
        SocketDriver::new("ftp://h"),
        SocketDriver::new("h").path("/a b/"),
        SocketDriver::new("h").namespace("/a,b"),
        SocketDriver::new("h").auth(&[1]),
        SocketDriver::new("h").header("Upgrade", "x"),
        SocketDriver::new("h").header("X", "a\r\nb"),
    ];
    for driver in wrong {
        assert!(matches!(driver.connect_lazily(), Err(Error::Setting(_))));
    }
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    assert!(matches!(SocketDriver::new("h").connect_lazily(), Err(Error::NoRuntime)));
}

#[tokio::test]
async fn dropping_the_last_socket_leaves_the_namespace() {
    let server = Server::start().await;
    let (socket, mut peer) = tokio::join!(driver(&server).connect(), server.socket("abc"));
    let clone = socket.unwrap().clone();
    clone.emit("last", &Default::default()).await.unwrap();
    drop(clone);
    assert_eq!(peer.text().await, r#"42["last"]"#);
    assert_eq!((peer.text().await.as_str(), peer.said().await), ("41", Said::Close));
}

#[tokio::test]
async fn giving_up_on_connect_ends_the_task() {
    let server = Server::start().await;
    let driver = driver(&server);
    let mut peer = {
        let connecting = tokio::spawn(driver.connect());
        let mut peer = server.session().await;
        assert_eq!(peer.text().await, "40");
        connecting.abort();
        peer
    };
    assert_eq!((peer.said().await, peer.said().await), (Said::Close, Said::End));
}

#[tokio::test]
async fn a_panic_in_a_handler_leaves_nobody_waiting() {
    let server = Server::start().await;
    let driver = driver(&server).on("boom", |_| panic!("a handler's own mistake"));
    let (socket, mut peer) = tokio::join!(driver.connect(), server.socket("abc"));
    let socket = socket.unwrap();
    let args = Default::default();
    let (answer, ()) = tokio::join!(socket.emit_with_ack("ask", &args, PATIENCE), async {
        peer.text().await;
        peer.send(r#"42["boom"]"#).await;
    });
    assert!(matches!(answer, Err(Error::Closed)));
    assert!(!socket.is_active());
}
