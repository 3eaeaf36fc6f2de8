//! Taking up a connection where it was lost.

use crate::server::Server;
use crate::{driver, log, next};

#[tokio::test]
async fn a_lost_connection_is_taken_up_with_pid_and_offset() {
    let server = Server::start().await;
    let (said, mut heard) = log();
    let (connected, events) = (said.clone(), said);
    let driver = driver(&server)
        .token("t")
        .on("e", move |args| events.say(args.first::<String>().unwrap()))
        .on_connect(move |info| connected.say(format!("{} {}", info.id, info.recovered)));
    let (socket, mut peer) = tokio::join!(driver.connect(), async {
        let mut peer = server.session().await;
        assert_eq!(peer.text().await, r#"40{"token":"t"}"#);
        peer.send(r#"40{"sid":"one","pid":"secret"}"#).await;
        peer
    });
    peer.send(r#"42["e","first","offset1"]"#).await;
    // Asks for an acknowledgement, so its last argument is no offset.
    peer.send(r#"420["e","asked","no offset"]"#).await;
    peer.send(r#"42["number",1]"#).await;
    for expected in ["one false", "first", "asked"] {
        assert_eq!(next(&mut heard).await, expected);
    }
    // An answered ping says that everything before it was taken.
    peer.send("2").await;
    assert_eq!(peer.text().await, "3");
    drop(peer);

    let mut peer = server.session().await;
    assert_eq!(peer.text().await, r#"40{"token":"t","pid":"secret","offset":"offset1"}"#.sorted());
    peer.send(r#"42["e","missed","offset2"]"#).await;
    peer.send(r#"40{"sid":"one","pid":"secret"}"#).await;
    for expected in ["missed", "one true"] {
        assert_eq!(next(&mut heard).await, expected);
    }
    let socket = socket.unwrap();
    assert!(socket.was_recovered());
    drop(peer);

    // A server that forgot the session says so by another one.
    let mut peer = server.session().await;
    assert_eq!(peer.text().await, r#"40{"token":"t","pid":"secret","offset":"offset2"}"#.sorted());
    peer.send(r#"40{"sid":"two","pid":"other"}"#).await;
    assert_eq!(next(&mut heard).await, "two false");
    drop(peer);
    // Of that one nothing but the pid is known.
    assert_eq!(server.session().await.text().await, r#"40{"token":"t","pid":"other"}"#.sorted());
}

#[tokio::test]
async fn recovery_can_be_refused() {
    let server = Server::start().await;
    let driver = driver(&server).recovery(false);
    let (_socket, mut peer) = tokio::join!(driver.connect(), async {
        let mut peer = server.session().await;
        assert_eq!(peer.text().await, r#"40{"recovery":false}"#);
        peer.send(r#"40{"sid":"one","pid":"secret"}"#).await;
        peer
    });
    peer.send(r#"42["e","offset1"]"#).await;
    peer.send("2").await;
    peer.text().await;
    drop(peer);
    assert_eq!(server.session().await.text().await, r#"40{"recovery":false}"#);
}

#[tokio::test]
async fn a_connection_on_which_nothing_came_is_taken_up_with_the_pid_alone() {
    let server = Server::start().await;
    let (said, mut heard) = log();
    let driver = driver(&server).on_connect(move |info| said.say(format!("{} {}", info.id, info.recovered)));
    let (_socket, peer) = tokio::join!(driver.connect(), async {
        let mut peer = server.session().await;
        assert_eq!(peer.text().await, "40");
        peer.send(r#"40{"sid":"one","pid":"secret"}"#).await;
        peer
    });
    assert_eq!(next(&mut heard).await, "one false");
    drop(peer);
    let mut peer = server.session().await;
    assert_eq!(peer.text().await, r#"40{"pid":"secret"}"#);
    peer.send(r#"40{"sid":"one","pid":"secret"}"#).await;
    assert_eq!(next(&mut heard).await, "one true");
}

#[tokio::test]
async fn handlers_get_an_events_own_arguments() {
    // What the server appends can be told from them if it is a gateway, whose pids begin with the socket's id.
    for (pid, expected) in [
        ("one.tag", [r#"{"a":1}"#, "", r#""text""#, "null", "1", r#""asked""#]),
        (
            "random",
            [r#"{"a":1},"offset1""#, r#""offset2""#, r#""text",null"#, "null,null", "1", r#""asked""#],
        ),
    ] {
        let server = Server::start().await;
        let (said, mut heard) = log();
        let driver = driver(&server).on("e", move |args| said.say(args.items()));
        let (_socket, mut peer) = tokio::join!(driver.connect(), async {
            let mut peer = server.session().await;
            peer.text().await;
            peer.send(&format!(r#"40{{"sid":"one","pid":"{pid}"}}"#)).await;
            peer
        });
        peer.send(r#"42["e",{"a":1},"offset1"]"#).await;
        peer.send(r#"42["e","offset2"]"#).await;
        peer.send(r#"42["e","text",null]"#).await;
        peer.send(r#"42["e",null,null]"#).await;
        peer.send(r#"42["e",1]"#).await;
        peer.send(r#"420["e","asked"]"#).await;
        for expected in expected {
            assert_eq!(next(&mut heard).await, expected, "{pid}");
        }
        drop(peer);
        let claim = format!(r#"40{{"pid":"{pid}","offset":"offset2"}}"#);
        assert_eq!(server.session().await.text().await, claim.sorted());
    }
}

/// JSON objects are written in the order of their keys here.
trait Sorted {
    fn sorted(&self) -> String;
}

impl Sorted for str {
    fn sorted(&self) -> String {
        let object: serde_json::Value = serde_json::from_str(&self[2..]).unwrap();
        format!("40{object}")
    }
}
