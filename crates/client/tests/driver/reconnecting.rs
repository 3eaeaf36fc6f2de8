//! Coming back, or not.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use idae_socket_client::{Args, BUFFERED_PACKETS_MAX, Backoff, DisconnectReason, Error, Socket};
use tokio::io::AsyncWriteExt as _;

use crate::server::{Said, Server};
use crate::{PATIENCE, driver, log, next};

#[tokio::test]
async fn comes_back_after_a_lost_connection() {
    let server = Server::start().await;
    let (said, mut heard) = log();
    let (connected, disconnected) = (said.clone(), said);
    let driver = driver(&server)
        .on_connect(move |info| connected.say(format!("+{}", info.id)))
        .on_disconnect(move |reason| disconnected.say(format!("-{reason}")));
    let (socket, peer) = tokio::join!(driver.connect(), server.socket("one"));
    let socket = socket.unwrap();
    drop(peer);
    let _peer = server.socket("two").await;
    for expected in ["+one", "-transport close", "+two"] {
        assert_eq!(next(&mut heard).await, expected);
    }
    assert_eq!((socket.id().as_deref(), socket.was_recovered()), (Some("two"), false));
}

#[tokio::test]
async fn a_silent_server_is_left() {
    let server = Server::start().await;
    let (said, mut heard) = log();
    let driver = driver(&server).on_disconnect(move |reason| said.say(reason.as_str()));
    let (_socket, mut peer) = tokio::join!(driver.connect(), async {
        let mut peer = server.websocket().await;
        peer.open(30, 30).await;
        assert_eq!(peer.text().await, "40");
        peer.send(r#"40{"sid":"one"}"#).await;
        peer
    });
    peer.send("2").await;
    assert_eq!(peer.text().await, "3");
    assert_eq!(next(&mut heard).await, "ping timeout");
    let _peer = server.socket("two").await;
}

#[tokio::test]
async fn what_is_no_packet_ends_the_connection_and_it_comes_back() {
    for nonsense in ["", "x", "4x", r#"42{"not":"an array"}"#, "451-[\"x\"]\u{0}"] {
        let server = Server::start().await;
        let (said, mut heard) = log();
        let driver = driver(&server).on_disconnect(move |reason| said.say(reason.as_str()));
        let (_socket, mut peer) = tokio::join!(driver.connect(), server.socket("one"));
        peer.send(nonsense).await;
        assert_eq!(next(&mut heard).await, "parse error", "{nonsense}");
        assert_eq!(peer.said().await, Said::Close);
        let _peer = server.socket("two").await;
    }
}

#[tokio::test]
async fn emits_are_kept_in_order_while_disconnected() {
    let server = Server::start().await;
    let socket = driver(&server).connect_lazily().unwrap();
    for number in 0..100 {
        socket.emit("n", &Args::one(&number).unwrap()).await.unwrap();
    }
    let mut peer = server.socket("one").await;
    for number in 0..100 {
        assert_eq!(peer.text().await, format!(r#"42["n",{number}]"#));
    }
}

#[tokio::test]
async fn the_buffer_for_later_has_an_end() {
    let server = Server::start().await;
    let socket = driver(&server).connect_lazily().unwrap();
    for _ in 0..BUFFERED_PACKETS_MAX {
        socket.emit("n", &Args::none()).await.unwrap();
    }
    assert!(matches!(socket.emit("n", &Args::none()).await, Err(Error::BufferFull)));
    assert!(matches!(socket.try_emit("n", &Args::none()), Err(Error::BufferFull)));
}

#[tokio::test]
async fn pending_acknowledgements_fail_and_buffered_ones_wait() {
    let server = Server::start().await;
    let (socket, mut peer) = tokio::join!(driver(&server).connect(), server.socket("one"));
    let socket = socket.unwrap();
    let args = Args::none();
    let (lost, ()) = tokio::join!(socket.emit_with_ack("sent", &args, PATIENCE), async {
        assert_eq!(peer.text().await, r#"420["sent"]"#);
        drop(peer);
    });
    let lost = lost.unwrap_err();
    assert!(matches!(lost, Error::Disconnected(DisconnectReason::TransportClose)), "{lost}");

    let (answered, _peer) = tokio::join!(socket.emit_with_ack("kept", &args, PATIENCE), async {
        let mut peer = server.socket("two").await;
        assert_eq!(peer.text().await, r#"421["kept"]"#);
        peer.send("431[1]").await;
        peer
    });
    assert_eq!(answered.unwrap().items(), "1");
}

#[tokio::test]
async fn does_not_come_back_when_the_server_ended_it() {
    let server = Server::start().await;
    let (said, mut heard) = log();
    let driver = driver(&server).on_disconnect(move |reason| said.say(reason.as_str()));
    let (socket, mut peer) = tokio::join!(driver.connect(), server.socket("one"));
    let socket = socket.unwrap();
    peer.send("41").await;
    assert_eq!(next(&mut heard).await, "io server disconnect");
    let why = socket.inactive().await;
    assert!(matches!(*why, Error::Disconnected(DisconnectReason::IoServerDisconnect)));
    assert_eq!((peer.said().await, peer.said().await), (Said::Close, Said::End));
    assert!(!socket.is_active());

    // Until it is told to, with what it was told meanwhile.
    socket.set_token("new");
    socket.emit("kept", &Args::none()).await.unwrap();
    socket.connect_again();
    assert!(socket.is_active());
    let (joined, _peer) = tokio::join!(socket.connected(), async {
        let mut peer = server.session().await;
        assert_eq!(peer.text().await, r#"40{"token":"new"}"#);
        peer.send(r#"40{"sid":"two"}"#).await;
        assert_eq!(peer.text().await, r#"42["kept"]"#);
        peer
    });
    joined.unwrap();
}

#[tokio::test]
async fn does_not_come_back_when_refused() {
    let server = Server::start().await;
    let (said, mut heard) = log();
    let driver = driver(&server).on_connect_error(move |error| {
        said.say(format!("{error} {:?} {}", error.code(), error.is_retryable()));
    });
    let (socket, peer) = tokio::join!(driver.connect(), server.socket("one"));
    let socket = socket.unwrap();
    drop(peer);
    let mut peer = server.session().await;
    peer.text().await;
    peer.send(r#"44{"message":"no","data":{"code":"token_expired"}}"#).await;
    assert_eq!(next(&mut heard).await, r#"no Some("token_expired") false"#);
    assert_eq!(socket.inactive().await.code(), Some("token_expired"));
    assert!(socket.connected().await.is_err());
    assert_eq!((peer.said().await, peer.said().await), (Said::Close, Said::End));
}

#[tokio::test]
async fn goes_on_after_engine_level_failures() {
    let server = Server::start().await;
    let (said, mut heard) = log();
    let driver = driver(&server).on_connect_error(move |error| said.say(error.to_string()));
    let socket = driver.connect_lazily().unwrap();
    let mut tcp = server.tcp().await;
    crate::server::head(&mut tcp).await;
    tcp.write_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 8\r\n\r\ndraining").await.unwrap();
    assert!(next(&mut heard).await.ends_with("answered HTTP 503: draining"));
    drop(server.session().await);
    assert!(next(&mut heard).await.starts_with("cannot reach"));
    let (joined, _peer) = tokio::join!(socket.connected(), server.socket("one"));
    joined.unwrap();
}

#[tokio::test]
async fn attempts_run_out() {
    let server = Server::start().await;
    let backoff = Backoff { first: Duration::ZERO, attempts: Some(2), ..Backoff::default() };
    let (said, mut heard) = log();
    let driver = driver(&server).reconnect(backoff).on_connect_error(move |_| said.say("failed"));
    drop(server);
    let socket = driver.connect_lazily().unwrap();
    assert!(matches!(*socket.inactive().await, Error::Unreachable { .. }));
    for _ in 0..3 {
        assert_eq!(next(&mut heard).await, "failed");
    }
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn closing_works_at_any_time() {
    let server = Server::start().await;
    // In a pause between attempts.
    let slow = Backoff { first: Duration::from_secs(3600), max: Duration::MAX, ..Backoff::default() };
    let (said, mut heard) = log();
    let driver = driver(&server).reconnect(slow).on_disconnect(move |_| said.say("lost"));
    let (socket, peer) = tokio::join!(driver.connect(), server.socket("one"));
    drop(peer);
    assert_eq!(next(&mut heard).await, "lost");
    tokio::time::timeout(PATIENCE, socket.unwrap().close()).await.unwrap();

    // While shaking hands.
    let socket = crate::driver(&server).connect_lazily().unwrap();
    let _tcp = server.tcp().await;
    tokio::time::timeout(PATIENCE, socket.close()).await.unwrap();
}

#[tokio::test]
async fn asking_for_another_connection_inside_a_handler_is_not_lost() {
    let server = Server::start().await;
    let again = Arc::new(OnceLock::<Socket>::new());
    let asked = Arc::clone(&again);
    let driver = driver(&server).on_disconnect(move |_| asked.get().unwrap().connect_again());
    let (socket, mut peer) = tokio::join!(driver.connect(), server.socket("one"));
    let socket = socket.unwrap();
    again.set(socket.clone()).unwrap();
    peer.send("41").await;
    let _peer = server.socket("two").await;
    socket.connected().await.unwrap();
}
