//! The gateway inside another program, with the Rust client on the other side.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use idae_socket::config::Config;
use idae_socket::{Args, Gateway, HttpDriver, Socket};
use idae_socket_client::{Backoff, DisconnectReason, SocketDriver};
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::sync::watch;
use tokio::time::timeout;

/// Longer than anything here takes, so that only what never happens runs into it.
const LONG: Duration = Duration::from_secs(20);

async fn start(driver: HttpDriver) -> Gateway {
    driver.start(0).await.unwrap()
}

/// A connected client and the events that it receives.
async fn client(
    gateway: &Gateway,
) -> (idae_socket_client::Socket, UnboundedReceiver<(String, Args<'static>)>) {
    let (events, received) = unbounded_channel();
    let driver = SocketDriver::new(gateway.url())
        .on_any(move |name, args| events.send((name.to_owned(), args.clone())).unwrap_or_default());
    (timeout(LONG, driver.connect()).await.unwrap().unwrap(), received)
}

async fn ask(socket: &idae_socket_client::Socket, event: &str, args: &Args<'_>) -> Args<'static> {
    socket.emit_with_ack(event, args, LONG).await.unwrap()
}

async fn next(events: &mut UnboundedReceiver<(String, Args<'static>)>) -> (String, String) {
    let (name, args) = timeout(LONG, events.recv()).await.unwrap().unwrap();
    (name, args.items().to_owned())
}

#[tokio::test]
async fn events_are_published_in_process() {
    let gateway = start(HttpDriver::new()).await;
    let (first, mut to_first) = client(&gateway).await;
    let (_second, mut to_second) = client(&gateway).await;
    let answer = ask(&first, "subscribe", &Args::one("admin").unwrap()).await;
    assert_eq!(answer.first::<Value>().unwrap(), json!({ "status": "ok", "rooms": ["admin"] }));

    assert_eq!(gateway.to_room("admin", "room", &json!({ "id": 1 })).await.unwrap(), 1);
    assert_eq!(gateway.to_user(&first.id().unwrap(), "user", &2).await.unwrap(), 1);
    assert_eq!(gateway.to_user("nobody", "user", &2).await.unwrap(), 0);
    assert_eq!(gateway.to_all("all", "3").await.unwrap(), 2);
    let expect = |name: &str, items: &str| (name.to_owned(), items.to_owned());
    assert_eq!(next(&mut to_first).await, expect("room", r#"{"id":1}"#));
    assert_eq!(next(&mut to_first).await, expect("user", "2"));
    assert_eq!(next(&mut to_first).await, expect("all", r#""3""#));
    assert_eq!(next(&mut to_second).await, expect("all", r#""3""#));
    assert!(gateway.to_all("disconnect", &1).await.is_err(), "a reserved name");
    gateway.stop_now().await;
}

#[tokio::test]
async fn handlers_answer_client_events() {
    let driver = HttpDriver::new()
        .on("sum", |_: Socket, args: Args<'static>| async move {
            Args::one(&args.parse::<Vec<i64>>().unwrap_or_default().iter().sum::<i64>()).unwrap_or_default()
        })
        .on("later", |_: Socket, args: Args<'static>| async move {
            tokio::task::yield_now().await;
            args
        })
        .on("echo", |socket: Socket, args: Args<'static>| async move {
            socket.emit("echoed", &args);
        });
    let gateway = start(driver).await;
    let (socket, mut events) = client(&gateway).await;
    assert_eq!(ask(&socket, "sum", &Args::list(&(1, 2, 39)).unwrap()).await.items(), "42");
    let bytes = Args::binary(&b"\x00\x01\xff"[..]);
    assert_eq!(ask(&socket, "later", &bytes).await, bytes);
    socket.emit("echo", &bytes).await.unwrap();
    let (name, args) = timeout(LONG, events.recv()).await.unwrap().unwrap();
    assert_eq!((name.as_str(), args), ("echoed", bytes));
    gateway.stop_now().await;
}

#[tokio::test]
async fn the_server_asks_and_the_client_acknowledges() {
    let (answers, mut answered) = unbounded_channel();
    let driver = HttpDriver::new().on_connect(move |socket: Socket, auth: &str| {
        let (answers, auth) = (answers.clone(), auth.to_owned());
        tokio::spawn(async move {
            let asked = socket.emit_with_ack("who", &Args::from_raw(auth, Vec::new()), LONG).await;
            let ignored =
                socket.emit_with_ack("nobody-listens", &Args::none(), Duration::from_millis(50)).await;
            let _ = answers.send((asked, ignored));
        });
    });
    let gateway = start(driver).await;
    let driver =
        SocketDriver::new(gateway.url()).auth(&json!({ "name": "ada" })).on_with_ack("who", |args| args);
    let socket = driver.connect().await.unwrap();
    let (asked, ignored) = timeout(LONG, answered.recv()).await.unwrap().unwrap();
    assert_eq!(asked.unwrap().items(), r#"{"name":"ada"}"#);
    assert_eq!(ignored, Err(idae_socket::EmitError::TimedOut));
    socket.close().await;
    gateway.stop_now().await;
}

#[tokio::test]
async fn rooms_belong_to_the_socket() {
    let (sockets, mut connected) = unbounded_channel();
    let (gone, mut left) = unbounded_channel();
    let driver = HttpDriver::new()
        .on_connect(move |socket: Socket, _: &str| sockets.send(socket).unwrap_or_default())
        .on_disconnect(move |id, namespace, reason| {
            let _ = gone.send(format!("{id} {namespace} {reason}"));
        });
    let gateway = start(driver).await;
    let (client, _events) = client(&gateway).await;
    let socket = timeout(LONG, connected.recv()).await.unwrap().unwrap();
    assert_eq!(Some(socket.id().as_str()), client.id().as_deref());
    assert!(socket.join("a") && socket.join("b") && socket.join("a"));
    assert_eq!(socket.rooms(), ["a", "b"]);
    socket.leave("a");
    assert_eq!(gateway.to_room("a", "x", &1).await.unwrap(), 0);
    assert_eq!(gateway.to_room("b", "x", &1).await.unwrap(), 1);
    client.close().await;
    let expected = format!("{} / client namespace disconnect", socket.id());
    assert_eq!(timeout(LONG, left.recv()).await.unwrap().unwrap(), expected);
    assert!(socket.rooms().is_empty());
    assert_eq!(gateway.to_room("b", "x", &1).await.unwrap(), 0);
    gateway.stop_now().await;
}

#[tokio::test]
async fn a_client_that_is_sent_away_stays_away() {
    let driver = HttpDriver::new()
        .on("leave", |socket: Socket, _: Args<'static>| async move { socket.disconnect() })
        .on("close", |socket: Socket, _: Args<'static>| async move { socket.close() });
    let gateway = start(driver).await;
    for event in ["leave", "close"] {
        let (reasons, mut reason) = unbounded_channel();
        let driver = SocketDriver::new(gateway.url()).on_disconnect(move |reason| {
            let _ = reasons.send(reason);
        });
        let socket = driver.connect().await.unwrap();
        socket.emit(event, &Args::none()).await.unwrap();
        let reason = timeout(LONG, reason.recv()).await.unwrap().unwrap();
        assert_eq!(reason, DisconnectReason::IoServerDisconnect, "{event}");
        assert!(!socket.is_active());
    }
    gateway.stop_now().await;
}

#[tokio::test]
async fn stopping_closes_sockets_and_a_new_gateway_gets_them_back() {
    let gateway = start(HttpDriver::new()).await;
    let port = gateway.addresses()[0].port();
    let (seen, mut connects) = unbounded_channel();
    let seen = Arc::new(seen);
    let quick =
        Backoff { first: Duration::from_millis(20), max: Duration::from_millis(200), ..Backoff::default() };
    let driver = SocketDriver::new(gateway.url()).reconnect(quick).on_connect(move |connected| {
        let _ = seen.send(connected);
    });
    let socket = driver.connect().await.unwrap();
    timeout(LONG, connects.recv()).await.unwrap().unwrap();
    timeout(LONG, gateway.stop_now()).await.unwrap();

    let again = HttpDriver::new().start(port).await.unwrap();
    timeout(LONG, connects.recv()).await.unwrap().unwrap();
    assert!(socket.is_connected());
    assert_eq!(again.to_all("back", &1).await.unwrap(), 1);
    again.stop_now().await;
}

#[tokio::test]
async fn a_lost_connection_is_resumed() {
    // Whether it had received something; whether it wants to; whether the next connection is the same.
    for (is_offset_known, recovery, is_resumed) in
        [(true, None, true), (false, None, true), (true, Some(true), true), (true, Some(false), false)]
    {
        let driver = HttpDriver::new().on_connect(|socket: Socket, _: &str| {
            // What it sends itself carries no offset, and must arrive as it is all the same.
            socket.emit("hello", &Args::from_raw(r#""text""#, Vec::new()));
            socket.emit("hello", &Args::from_raw("null", Vec::new()));
        });
        let gateway = start(driver).await;
        let way = Way::to(gateway.addresses()[0]).await;
        let (said, mut heard) = unbounded_channel();
        let (events, connects) = (said.clone(), said);
        let quick = Backoff { first: Duration::from_millis(20), ..Backoff::default() };
        let mut driver = SocketDriver::new(format!("http://{}", way.address))
            .reconnect(quick)
            .on_any(move |name, args| events.send((name.to_owned(), args.clone())).unwrap_or_default())
            .on_connect(move |connected| {
                let what = Args::one(&connected.recovered).unwrap_or_default();
                connects.send(("connected".to_owned(), what)).unwrap_or_default();
            });
        if let Some(recovery) = recovery {
            driver = driver.recovery(recovery);
        }
        let socket = timeout(LONG, driver.connect()).await.unwrap().unwrap();
        let expect = |name: &str, items: &str| (name.to_owned(), items.to_owned());
        assert_eq!(next(&mut heard).await, expect("connected", "false"));
        for own in [r#""text""#, "null"] {
            assert_eq!(next(&mut heard).await, expect("hello", own));
        }
        ask(&socket, "subscribe", &Args::one("news").unwrap()).await;
        if is_offset_known {
            gateway.to_room("news", "event", "first").await.unwrap();
            assert_eq!(next(&mut heard).await, expect("event", r#""first""#));
        }
        let id = socket.id();
        way.close();
        while socket.is_connected() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        gateway.to_room("news", "event", "missed").await.unwrap();
        way.open();
        if is_resumed {
            assert_eq!(next(&mut heard).await, expect("event", r#""missed""#));
        }
        assert_eq!(next(&mut heard).await, expect("connected", if is_resumed { "true" } else { "false" }));
        assert_eq!(socket.id() == id, is_resumed);
        assert_eq!(gateway.to_room("news", "event", "more").await.unwrap(), usize::from(is_resumed));
        gateway.stop_now().await;
    }
}

#[tokio::test]
async fn two_gateways_in_one_process_do_not_meet() {
    let (one, other) = (start(HttpDriver::new()).await, start(HttpDriver::new()).await);
    let (_socket, _events) = client(&one).await;
    assert_eq!(one.to_all("x", &1).await.unwrap(), 1);
    assert_eq!(other.to_all("x", &1).await.unwrap(), 0);
    one.stop_now().await;
    other.stop_now().await;
}

#[tokio::test]
async fn what_is_wrong_is_told_at_start() {
    let gateway = start(HttpDriver::new()).await;
    let port = gateway.addresses()[0].port();
    let taken = HttpDriver::new().start(port).await.err().unwrap().to_string();
    assert!(taken.contains("is in use by another program"), "{taken}");
    gateway.stop_now().await;

    let open = Config { host: "0.0.0.0".to_owned(), ..Config::default() };
    let refused = HttpDriver::with_config(open).start(0).await.err().unwrap().to_string();
    assert!(refused.contains("auth.insecure"), "{refused}");
}

#[tokio::test]
async fn a_selection_names_sockets_once_and_acts_on_all() {
    let config = Config { namespaces: vec!["/".to_owned(), "/other".to_owned()], ..Config::default() };
    let gateway = start(HttpDriver::with_config(config)).await;
    let (first, mut to_first) = client(&gateway).await;
    let (second, mut to_second) = client(&gateway).await;
    let (third, mut to_third) = client(&gateway).await;
    let elsewhere = SocketDriver::new(gateway.url()).namespace("/other").connect().await.unwrap();
    let id = |socket: &idae_socket_client::Socket| socket.id().unwrap().to_string();
    let ids = |selection: idae_socket::Selection<'_>| {
        let mut ids: Vec<String> = selection.sockets().iter().map(Socket::id).collect();
        ids.sort();
        ids
    };
    let sorted = |mut ids: Vec<String>| {
        ids.sort();
        ids
    };

    assert_eq!(gateway.select().user(&id(&first)).user(&id(&second)).join("pair"), 2);
    assert_eq!(gateway.select().user(&id(&second)).join("even"), 1);
    let either = gateway.select().room("pair").room("even");
    assert_eq!(ids(either.clone()), sorted(vec![id(&first), id(&second)]));
    assert_eq!(ids(either.clone().except("even")), [id(&first)]);
    assert_eq!(ids(gateway.select().everyone().except(&id(&third))), sorted(vec![id(&first), id(&second)]));
    assert_eq!(ids(gateway.select().namespace("/other").everyone()), [id(&elsewhere)]);
    assert_eq!(ids(gateway.select()), Vec::<String>::new(), "nobody was named");
    let fetched = &gateway.select().room("even").sockets()[0];
    assert_eq!((fetched.namespace(), fetched.rooms()), ("/", vec!["pair".to_owned(), "even".to_owned()]));
    assert!(fetched.address().unwrap().is_loopback());

    assert_eq!(either.clone().emit("once", &1).await.unwrap(), 2);
    for events in [&mut to_first, &mut to_second] {
        assert_eq!(next(events).await.0, "once");
    }
    gateway.select().room("pair").except("even").leave("pair");
    assert_eq!(gateway.select().room("pair").volatile().emit("left", &1).await.unwrap(), 1);
    assert_eq!(next(&mut to_second).await.0, "left");

    gateway.select().room("pair").disconnect();
    assert!(timeout(LONG, second.inactive()).await.is_ok());
    gateway.select().user(&id(&third)).close();
    assert!(timeout(LONG, third.inactive()).await.is_ok());
    assert_eq!(gateway.to_all("rest", &1).await.unwrap(), 1);
    assert_eq!(next(&mut to_first).await.0, "rest", "and nothing in between");
    assert!(to_third.try_recv().is_err());
    gateway.stop_now().await;
}

#[tokio::test]
async fn a_broadcast_collects_answers() {
    let gateway = start(HttpDriver::new()).await;
    let answering = |answer: &'static str| {
        SocketDriver::new(gateway.url())
            .on_with_ack("who", move |_| Args::one(answer).unwrap_or_default())
            .connect()
    };
    let (one, two) = (answering("one").await.unwrap(), answering("two").await.unwrap());
    let all = gateway.select().everyone();
    let answers = all.emit_with_ack("who", &Args::none(), LONG).await;
    let mut items: Vec<&str> = answers.answers.iter().map(Args::items).collect();
    items.sort_unstable();
    assert_eq!((items, answers.missing), (vec![r#""one""#, r#""two""#], 0));

    // One that does not answer leaves the answers of the others.
    let silent = SocketDriver::new(gateway.url()).connect().await.unwrap();
    let answers = all.emit_with_ack("who", &Args::none(), Duration::from_millis(300)).await;
    assert_eq!((answers.answers.len(), answers.missing), (2, 1));
    let answers = gateway.select().room("empty").emit_with_ack("who", &Args::none(), LONG).await;
    assert_eq!((answers.answers.len(), answers.missing), (0, 0));
    for socket in [one, two, silent] {
        socket.close().await;
    }
    gateway.stop_now().await;
}

#[tokio::test]
async fn a_client_that_owes_too_many_answers_is_counted() {
    let mut config = Config::default();
    config.socket.pending_acks_max = 1;
    let gateway = start(HttpDriver::with_config(config)).await;
    let silent = SocketDriver::new(gateway.url()).connect().await.unwrap();
    let asking = |wait| {
        let everyone = gateway.select().everyone();
        async move { everyone.emit_with_ack("who", &Args::none(), wait).await.missing }
    };
    // The second finds a place taken, the first none of the answers.
    let both = tokio::join!(asking(Duration::from_secs(2)), asking(Duration::from_secs(2)));
    assert_eq!(both, (1, 1));
    let metrics = http(&gateway, "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(metrics.contains(r#"limits_reached_total{limit="pending_acks_max"} 1"#), "{metrics}");
    silent.close().await;
    gateway.stop_now().await;
}

/// One request over a connection of its own, and the whole answer.
async fn http(gateway: &Gateway, request: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = TcpStream::connect(gateway.addresses()[0]).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(LONG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
    answer
}

#[tokio::test]
async fn an_embedder_decides_who_may_open_a_session() {
    let gateway = start(HttpDriver::new().on_opening(|opening| {
        assert!(opening.address.is_loopback());
        match opening.headers.get("x-invited") {
            Some(_) => Ok(()),
            None => Err(format!("{} is for invited guests", opening.uri.path())),
        }
    }))
    .await;
    let get = |transport: &str, headers: &str| {
        format!(
            "GET /socket.io/?EIO=4&transport={transport} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n"
        )
    };
    let refused = http(&gateway, &get("polling", "")).await;
    assert!(refused.starts_with("HTTP/1.1 403 "), "{refused}");
    assert!(refused.ends_with(r#"{"code":4,"message":"/socket.io/ is for invited guests"}"#), "{refused}");
    assert!(http(&gateway, &get("polling", "x-invited: yes\r\n")).await.starts_with("HTTP/1.1 200 "));
    let upgrade = "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let refused = http(&gateway, upgrade).await;
    assert!(refused.starts_with("HTTP/1.1 400 "), "{refused}");
    assert!(refused.ends_with("/socket.io/ is for invited guests"), "{refused}");
    gateway.stop_now().await;
}

/// A stock client takes a last item that is text for its offset, and asks for what lies behind it when it comes back.
#[tokio::test]
async fn nothing_that_is_emitted_to_one_client_looks_like_an_offset() {
    let gateway = start(HttpDriver::new().on_connect(|socket, _| {
        socket.emit("nothing", &Args::none());
        socket.emit("text", &Args::one("last").unwrap());
        socket.emit("number", &Args::one(&1).unwrap());
    }))
    .await;
    let stock = "host: x\r\nuser-agent: node-XMLHttpRequest\r\nconnection: close";
    let path = "/socket.io/?EIO=4&transport=polling";
    let opened = http(&gateway, &format!("GET {path} HTTP/1.1\r\n{stock}\r\n\r\n")).await;
    let (_, handshake) = opened.split_once("\r\n\r\n0").unwrap();
    let sid = serde_json::from_str::<Value>(handshake).unwrap()["sid"].as_str().unwrap().to_owned();
    http(&gateway, &format!("POST {path}&sid={sid} HTTP/1.1\r\n{stock}\r\ncontent-length: 2\r\n\r\n40"))
        .await;
    let answer = http(&gateway, &format!("GET {path}&sid={sid} HTTP/1.1\r\n{stock}\r\n\r\n")).await;
    let packets: Vec<&str> = answer.split_once("\r\n\r\n").unwrap().1.split('\u{1e}').collect();
    assert!(packets[0].contains(r#""pid":"#), "{answer}");
    assert_eq!(packets[1..], [r#"42["nothing",null]"#, r#"42["text","last",null]"#, r#"42["number",1]"#]);
    gateway.stop_now().await;
}

/// A way to a gateway that can be closed, as when a network is gone.
struct Way {
    address: SocketAddr,
    is_open: watch::Sender<bool>,
}

impl Way {
    async fn to(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (is_open, open) = watch::channel(true);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut open = open.clone();
                tokio::spawn(async move {
                    let Ok(mut far) = TcpStream::connect(gateway).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = open.wait_for(|is_open| !is_open) => {}
                    }
                });
            }
        });
        Self { address, is_open }
    }

    fn close(&self) {
        self.is_open.send_replace(false);
    }

    fn open(&self) {
        self.is_open.send_replace(true);
    }
}
