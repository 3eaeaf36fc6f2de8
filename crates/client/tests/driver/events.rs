//! Events and acknowledgements, both ways.

use std::time::Duration;

use idae_socket_client::{Args, Error};

use crate::server::{Said, Server};
use crate::{PATIENCE, driver, log, next};

#[tokio::test]
async fn handlers_are_called_in_order() {
    let server = Server::start().await;
    let (said, mut heard) = log();
    let (any, first, second) = (said.clone(), said.clone(), said);
    let driver = driver(&server)
        .on("a", move |args| first.say(format!("first {}", args.items())))
        .on("a", move |args| second.say(format!("second {}", args.parse::<(u8, String)>().unwrap().1)))
        .on_any(move |event, args| any.say(format!("any {event} {}", args.items())));
    let (_socket, mut peer) = tokio::join!(driver.connect(), server.socket("abc"));
    peer.send(r#"42/other,["a",0]"#).await;
    peer.send(r#"42["a",1,"x"]"#).await;
    peer.send(r#"42["b"]"#).await;
    for expected in [r#"any a 1,"x""#, r#"first 1,"x""#, "second x", "any b "] {
        assert_eq!(next(&mut heard).await, expected);
    }
}

#[tokio::test]
async fn the_server_acknowledges() {
    let server = Server::start().await;
    let (socket, mut peer) = tokio::join!(driver(&server).connect(), server.socket("abc"));
    let socket = socket.unwrap();
    let (one, two) = (Args::one("room").unwrap(), Args::list(&(1, 2)).unwrap());
    let (first, second, ()) = tokio::join!(
        socket.emit_with_ack("subscribe", &one, PATIENCE),
        socket.emit_with_ack("add", &two, PATIENCE),
        async {
            assert_eq!(peer.text().await, r#"420["subscribe","room"]"#);
            assert_eq!(peer.text().await, r#"421["add",1,2]"#);
            peer.send("4399[]").await;
            peer.send("431[3]").await;
            peer.send(r#"430[{"status":"ok"}]"#).await;
            peer.send("431[4]").await;
        }
    );
    assert_eq!(first.unwrap().items(), r#"{"status":"ok"}"#);
    assert_eq!(second.unwrap().parse::<(u8,)>().unwrap(), (3,));
}

#[tokio::test]
async fn an_acknowledgement_that_does_not_come_is_a_timeout() {
    let server = Server::start().await;
    let (socket, mut peer) = tokio::join!(driver(&server).connect(), server.socket("abc"));
    let socket = socket.unwrap();
    let args = Args::none();
    let answer = socket.emit_with_ack("ask", &args, Duration::from_millis(20)).await;
    assert!(matches!(answer, Err(Error::AckTimeout)));
    assert_eq!(peer.text().await, r#"420["ask"]"#);
    // Too late, and nobody's: the socket takes no harm.
    peer.send("430[]").await;
    socket.emit("next", &args).await.unwrap();
    assert_eq!(peer.text().await, r#"42["next"]"#);
}

#[tokio::test]
async fn the_client_acknowledges_once() {
    let server = Server::start().await;
    let driver = driver(&server)
        .on("double", |_| {})
        .on_with_ack("double", |args| Args::one(&(args.first::<u32>().unwrap() * 2)).unwrap())
        .on_with_ack("double", |_| Args::one("second").unwrap())
        .on_with_reply("later", |args, reply| {
            assert!(reply.is_wanted());
            tokio::spawn(async move { reply.send(&args) });
        });
    let (_socket, mut peer) = tokio::join!(driver.connect(), server.socket("abc"));
    peer.send(r#"427["double",21]"#).await;
    assert_eq!(peer.text().await, "437[42]");
    peer.send(r#"42["double",21]"#).await;
    peer.send(r#"428["later","x"]"#).await;
    assert_eq!(peer.text().await, r#"438["x"]"#);
}

#[tokio::test]
async fn binary_goes_both_ways() {
    let server = Server::start().await;
    let (said, mut heard) = log();
    let driver = driver(&server).on_with_ack("echo", move |args| {
        said.say(format!("{} {:?}", args.items(), args.attachments()));
        args
    });
    let (socket, mut peer) = tokio::join!(driver.connect(), server.socket("abc"));
    let placeholder = r#"{"_placeholder":true,"num":0}"#;
    peer.send(&format!(r#"451-3["echo",{placeholder}]"#)).await;
    // Between a packet and its attachment a heartbeat may come.
    peer.send("2").await;
    peer.send_binary(b"\x01\x02").await;
    assert_eq!(peer.text().await, "3");
    assert_eq!(next(&mut heard).await, format!(r#"{placeholder} [b"\x01\x02"]"#));
    assert_eq!(peer.text().await, format!("461-3[{placeholder}]"));
    assert_eq!(peer.said().await, Said::Binary(vec![1, 2]));

    let (socket, args) = (socket.unwrap(), Args::binary(&b"up"[..]));
    let (answer, ()) = tokio::join!(socket.emit_with_ack("up", &args, PATIENCE), async {
        assert_eq!(peer.text().await, format!(r#"451-0["up",{placeholder}]"#));
        assert_eq!(peer.said().await, Said::Binary(b"up".to_vec()));
        peer.send(&format!("461-0[{placeholder}]")).await;
        peer.send_binary(b"down").await;
    });
    assert_eq!(answer.unwrap().attachments(), ["down"]);
}

#[tokio::test]
async fn more_answers_than_the_queue_has_places_are_all_given() {
    const EVENTS: usize = 5000;
    let server = Server::start().await;
    let driver = driver(&server).on_with_ack("q", |_| Args::none());
    let (_socket, mut peer) = tokio::join!(driver.connect(), server.socket("abc"));
    let mut burst = Vec::new();
    for id in 0..EVENTS {
        let frame = idae_socket_protocol::websocket::Frame::text(&format!(r#"42{id}["q"]"#));
        burst.extend_from_slice(frame.as_bytes());
    }
    peer.raw(&burst).await;
    for id in 0..EVENTS {
        assert_eq!(peer.text().await, format!("43{id}[]"));
    }
}

#[tokio::test]
async fn emitting_waits_while_the_queue_is_full() {
    // More than the queue and the buffers of the operating system hold.
    const EVENTS: usize = 400;
    let server = Server::start().await;
    let (socket, mut peer) = tokio::join!(driver(&server).connect(), server.socket("abc"));
    let socket = socket.unwrap();
    let large = Args::one(&"x".repeat(100_000)).unwrap();
    let emitting = tokio::spawn(async move {
        for _ in 0..EVENTS {
            socket.emit("large", &large).await.unwrap();
        }
        socket.close().await;
    });
    for _ in 0..EVENTS {
        assert_eq!(peer.text().await.len(), 100_000 + r#"42["large",""]"#.len());
    }
    assert_eq!(peer.text().await, "41");
    drop(peer);
    emitting.await.unwrap();
}

#[tokio::test]
async fn websocket_pings_are_answered() {
    let server = Server::start().await;
    let (_socket, mut peer) = tokio::join!(driver(&server).connect(), server.socket("abc"));
    peer.raw(idae_socket_protocol::websocket::Frame::ping(b"hi").as_bytes()).await;
    assert_eq!(peer.said().await, Said::Pong(b"hi".to_vec()));
}
