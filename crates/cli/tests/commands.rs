//! `publish` and `listen` as scripts see them: output, errors, exit codes.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "../../client/tests/server/mod.rs"]
mod server;

use std::process::{Output, Stdio};
use std::time::Duration;

use server::{Server, head};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(20);

fn command(server: &Server, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_idae-socket"));
    command
        .args(arguments)
        .env_clear()
        .env("IDAE_SOCKET_URL", server.address())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

async fn ended(child: Child) -> (i32, String, String) {
    let Output { status, stdout, stderr } =
        timeout(PATIENCE, child.wait_with_output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// Takes one request and answers it.
async fn answer(server: &Server, status: &str, body: &str) -> (String, String) {
    let mut tcp = server.tcp().await;
    let request = head(&mut tcp).await;
    let length = request.to_ascii_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut sent = vec![0; length.parse().unwrap()];
    tcp.read_exact(&mut sent).await.unwrap();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    tcp.write_all(answer.as_bytes()).await.unwrap();
    (request, String::from_utf8(sent).unwrap())
}

#[tokio::test]
async fn publish_posts_what_it_was_given() {
    let server = Server::start().await;
    let arguments = [
        "publish",
        "db-change",
        "--room",
        "a",
        "--room",
        "b",
        "--user",
        "42",
        "--broadcast",
        "--namespace",
        "/n",
        "--id",
        "i",
        "--key",
        "k",
        r#"{"z":1.50, "a":12345678901234567890123}"#,
    ];
    let child = command(&server, &arguments).spawn().unwrap();
    let (request, body) = answer(&server, "200 OK", r#"{"status":"ok","id":"i","sockets":1}"#).await;
    assert!(request.starts_with("POST /db-change HTTP/1.1\r\n"), "{request}");
    let request = request.to_ascii_lowercase();
    assert!(request.contains("content-type: application/json\r\n"), "{request}");
    assert!(request.contains("authorization: bearer k\r\n"), "{request}");
    assert_eq!(
        body,
        r#"{"payload":{"z":1.50, "a":12345678901234567890123},"rooms":["a","b"],"users":["42"],"broadcast":true,"namespace":"/n","id":"i"}"#
    );
    assert_eq!(ended(child).await, (0, "published to 1 socket (id i)\n".to_owned(), String::new()));
}

#[tokio::test]
async fn publish_reads_standard_input_and_prints_json() {
    let server = Server::start().await;
    let mut command = command(&server, &["publish", "e", "--room", "a", "--json", "-"]);
    let mut child = command.env("IDAE_SOCKET_PUBLISH_KEY", "from env").stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b" [1]\n").await.unwrap();
    let (request, body) = answer(&server, "200 OK", r#"{"status":"ok","id":"x","sockets":0}"#).await;
    assert!(request.to_ascii_lowercase().contains("authorization: bearer from env\r\n"));
    assert_eq!(body, r#"{"payload":[1],"rooms":["a"]}"#);
    let expected = "{\"status\":\"ok\",\"id\":\"x\",\"sockets\":0}\n";
    assert_eq!(ended(child).await, (0, expected.to_owned(), String::new()));
}

#[tokio::test]
async fn a_refused_publish_says_why_and_what_to_do() {
    let server = Server::start().await;
    let child = command(&server, &["publish", "e", "1"]).spawn().unwrap();
    let problem = r#"{"title":"No target","detail":"name rooms","status":422,"code":"no_target"}"#;
    answer(&server, "422 Unprocessable Content", problem).await;
    let (code, stdout, stderr) = ended(child).await;
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.starts_with("error: No target: name rooms (422, no_target)\nhelp: "), "{stderr}");
    assert!(stderr.contains("--room"), "{stderr}");
}

#[tokio::test]
async fn other_answers_are_no_success() {
    for (status, body, expected) in [
        ("302 Found", "", "error: Found (302)"),
        ("503 Service Unavailable\r\nRetry-After: 3", "", "help: try again in 3 s"),
        ("200 OK", "<html>", "not as an idae-socket gateway does"),
        (
            "501 Unsupported method",
            "<html>",
            "error: Not Implemented (501)\nhelp: this does not look like an idae-socket gateway",
        ),
        ("401 Unauthorized", r#"{"code":"unauthorized"}"#, "help: give a publish key"),
        ("404 Not Found", r#"{"code":"event_not_found"}"#, "help: the gateway's `events`"),
        (
            "422 Unprocessable Content",
            r#"{"title":"T","detail":"D","code":"c","errors":[{"pointer":"/id","detail":"D"}]}"#,
            "error: T: D (422, c)\nhelp: name somebody",
        ),
    ] {
        let server = Server::start().await;
        let child = command(&server, &["publish", "e", "1"]).spawn().unwrap();
        answer(&server, status, body).await;
        let (code, _, stderr) = ended(child).await;
        assert!(code == 1 && stderr.contains(expected), "{code} {stderr}");
    }
}

#[tokio::test]
async fn wrong_usage_and_no_gateway_have_their_own_codes() {
    let server = Server::start().await;
    for (arguments, expected_code, expected) in [
        (&["publish", "e", "{oops}"][..], 2, "the payload is not JSON"),
        (&["publish", "e", "-"], 2, "error: standard input was empty\n"),
        (&["publish", "", "1"], 2, "no event name"),
        (&["publish", "e"], 2, "<JSON>"),
        (&["publish", "e", "1", "--url", "ftp://h"], 2, "no http or https URL"),
        (&["listen", "--url", "ftp://h"], 2, "the scheme"),
        (&["listen", "--count", "0"], 2, "--count"),
        (&["bench", "--url", "https://h"], 2, "write http://host:port"),
    ] {
        let (code, _, stderr) = ended(command(&server, arguments).spawn().unwrap()).await;
        assert!(code == expected_code && stderr.contains(expected), "{arguments:?}: {code} {stderr}");
    }
    let commands = [&["publish", "e", "1"][..], &["listen"], &["bench", "--sockets", "2"]];
    let commands = commands.map(|arguments| command(&server, arguments));
    let address = server.address();
    drop(server);
    for mut command in commands {
        let (code, _, stderr) = ended(command.spawn().unwrap()).await;
        assert!(stderr.contains(&address), "{stderr}");
        assert!(code == 3 && stderr.contains("cannot reach") && stderr.contains("help:"), "{code} {stderr}");
    }
}

#[tokio::test]
async fn help_shows_an_example_and_no_secret() {
    let server = Server::start().await;
    for name in ["publish", "listen"] {
        let mut command = command(&server, &[name, "--help"]);
        command.env("IDAE_SOCKET_PUBLISH_KEY", "s3cret").env("IDAE_SOCKET_TOKEN", "s3cret");
        let (code, stdout, _) = ended(command.spawn().unwrap()).await;
        assert!(code == 0 && stdout.contains(&format!("  idae-socket {name} ")), "{stdout}");
        assert!(!stdout.contains("s3cret"), "{stdout}");
    }
}

#[tokio::test]
async fn listen_subscribes_prints_and_comes_back() {
    let server = Server::start().await;
    let arguments =
        ["listen", "--room", "a", "--room", "b", "--event", "e", "--json", "--count", "2", "--token", "t"];
    let mut child = command(&server, &arguments).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    for payload in [1, 2] {
        let mut peer = server.session().await;
        assert_eq!(peer.text().await, r#"40{"recovery":false,"token":"t"}"#);
        peer.send(r#"40{"sid":"one"}"#).await;
        let id = payload - 1;
        assert_eq!(peer.text().await, format!(r#"42{id}["subscribe",["a","b"]]"#));
        peer.send(&format!(r#"43{id}[{{"status":"ok","rooms":["a","b"]}}]"#)).await;
        let listening = timeout(PATIENCE, stderr.next_line()).await.unwrap().unwrap().unwrap();
        assert_eq!(listening, format!("listening to a, b on {}", server.address()));
        peer.send(r#"42["other",0]"#).await;
        peer.send(&format!(r#"42["e",{{"n":{payload}}}]"#)).await;
        if payload == 2 {
            assert_eq!(peer.text().await, "41");
            break;
        }
        // An answered ping says that everything before it was printed.
        peer.send("2").await;
        assert_eq!(peer.text().await, "3");
        drop(peer);
        let lost = timeout(PATIENCE, stderr.next_line()).await.unwrap().unwrap().unwrap();
        assert_eq!(lost, "disconnected: transport close; connecting again");
    }
    let (code, stdout, _) = ended(child).await;
    let expected = "{\"event\":\"e\",\"args\":[{\"n\":1}]}\n{\"event\":\"e\",\"args\":[{\"n\":2}]}\n";
    assert_eq!((code, stdout.as_str()), (0, expected));
}

#[tokio::test]
async fn listen_prints_lines_for_people() {
    let server = Server::start().await;
    let child = command(&server, &["listen", "--count", "1"]).spawn().unwrap();
    let mut peer = server.session().await;
    peer.text().await;
    peer.send(r#"40{"sid":"one"}"#).await;
    peer.send(r#"42["e",{"a":1},"two"]"#).await;
    assert_eq!(peer.text().await, "41");
    drop(peer);
    let (code, stdout, _) = ended(child).await;
    let (time, rest) = stdout.split_once(' ').unwrap();
    assert_eq!((code, time.len(), rest), (0, 13, "e {\"a\":1},\"two\"\n"));
}

#[tokio::test]
async fn listen_says_why_it_was_refused() {
    let server = Server::start().await;
    let child = command(&server, &["listen"]).spawn().unwrap();
    let mut peer = server.session().await;
    peer.text().await;
    peer.send(r#"44{"message":"Unauthorized: no token","data":{"code":"token_missing"}}"#).await;
    let (code, _, stderr) = ended(child).await;
    assert_eq!(code, 1);
    assert!(stderr.starts_with("error: Unauthorized: no token (token_missing)\nhelp: "), "{stderr}");

    let child = command(&server, &["listen", "--room", "secret"]).spawn().unwrap();
    let mut peer = server.session().await;
    peer.text().await;
    peer.send(r#"40{"sid":"one"}"#).await;
    peer.text().await;
    peer.send(r#"430[{"status":"error","code":"room_forbidden","detail":"not for you"}]"#).await;
    assert_eq!(peer.text().await, "41");
    drop(peer);
    let (code, _, stderr) = ended(child).await;
    assert_eq!(code, 1);
    assert!(
        stderr.starts_with(
            "error: not subscribed: not for you (room_forbidden)\nhelp: the gateway's `rooms.join`"
        ),
        "{stderr}"
    );

    let child = command(&server, &["listen", "--namespace", "/shop"]).spawn().unwrap();
    let mut peer = server.session().await;
    peer.text().await;
    peer.send(r#"44/shop,{"message":"Invalid namespace"}"#).await;
    let (code, _, stderr) = ended(child).await;
    let expected =
        "error: there is no namespace `/shop`\nhelp: the gateway's `namespaces` say which there are";
    assert!(code == 1 && stderr.starts_with(expected), "{code} {stderr}");
}

#[cfg(unix)]
#[tokio::test]
async fn listen_ends_with_success_on_an_interrupt() {
    let server = Server::start().await;
    let mut child = command(&server, &["listen"]).spawn().unwrap();
    let mut peer = server.session().await;
    peer.text().await;
    peer.send(r#"40{"sid":"one"}"#).await;
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(
        timeout(PATIENCE, stderr.next_line()).await.unwrap().unwrap().unwrap().starts_with("listening on")
    );
    let pid = child.id().unwrap().to_string();
    Command::new("kill").args(["-INT", &pid]).status().await.unwrap();
    assert_eq!(peer.text().await, "41");
    drop(peer);
    assert_eq!(ended(child).await.0, 0);
}
