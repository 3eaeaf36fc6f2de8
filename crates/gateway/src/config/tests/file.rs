use expect_test::expect;

use super::super::Transport;
use super::{accepted, errors, refused, resolve, toml};

#[test]
fn values_of_every_kind() {
    accepted(
        &toml(
            r#"
port = 0x10
events = ["entity",
  "data:*"]
[auth]
insecure = true
[publish]
key = "0123456789abcdef"
deliver = "payload"
[socket]
transports = ["websocket"]
cors_origins = []
ping_interval_ms = 1_000
"#,
        ),
        expect![[r#"
            port = 16 (gateway.toml:2)
            events = ["entity", "data:*"] (gateway.toml:3)
            auth.insecure = true (gateway.toml:6)
            publish.key = *** (gateway.toml:8)
            publish.deliver = payload (gateway.toml:9)
            socket.transports = ["websocket"] (gateway.toml:11)
            socket.cors_origins = [] (gateway.toml:12)
            socket.ping_interval_ms = 1000 (gateway.toml:13)"#]],
    );
}

#[test]
fn every_publish_key_has_its_own_limits() {
    let resolved = resolve(&toml(
        r#"
[publish]
key = "0123456789abcdef"
[[publish.keys]]
name = "billing"
key = "fedcba9876543210"
events = ["invoice:*"]
rooms = ["tenant:*"]
"#,
    ));
    let keys = resolved.config.publish.every_key();
    let shown: Vec<_> =
        keys.iter().map(|key| (key.name.as_str(), key.key.expose(), &key.events, &key.rooms)).collect();
    expect![[r#"[("default", "0123456789abcdef", [], []), ("billing", "fedcba9876543210", ["invoice:*"], ["tenant:*"])]"#]].assert_eq(&format!("{shown:?}"));
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(resolve(&toml("\u{feff}port = 1")).config.port, 1);
}

#[test]
fn a_key_or_a_table_that_does_not_exist() {
    refused(
        &toml(
            "prot = 1\nping_interval_ms = 3\n[sockets]\npath = \"/x/\"\n[socket]\nping_intervall_ms = 5\nport = 3\nxyzzy = 1\n",
        ),
        expect![[r#"
            gateway.toml:1: there is no key `prot`; did you mean `port`?
            gateway.toml:2: there is no key `ping_interval_ms`; did you mean `socket.ping_interval_ms`?
            gateway.toml:3: there is no key `sockets`; did you mean `socket`?
            gateway.toml:6: there is no key `socket.ping_intervall_ms`; did you mean `socket.ping_interval_ms`?
            gateway.toml:7: there is no key `socket.port`; did you mean `port`?
            gateway.toml:8: there is no key `socket.xyzzy`"#]],
    );
}

#[test]
fn a_wrong_type_or_a_value_out_of_range() {
    refused(
        &toml(
            r#"
host = 1
port = 65536
events = "entity"
namespaces = [1, "/"]
socket.ping_interval_ms = 0
socket.ping_timeout_ms = "20s"
socket.transports = ["websockets"]
socket.pending_acks_max = 99999999999999999999
publish.deliver = "all"
publish.body_bytes_max = 1.5
publish.key = 12345
auth.insecure = "yes"
auth.strategy = 2026-01-01
"#,
        ),
        expect![[r#"
            gateway.toml:2: `host` must be text in quotes, not 1
            gateway.toml:3: `port` must be a whole number from 0 to 65535, not 65536
            gateway.toml:4: `events` must be a list of texts, such as ["a", "b"], not "entity"
            gateway.toml:5: `namespaces` must be a list of texts, such as ["a", "b"], not [1, "/"]
            gateway.toml:6: `socket.ping_interval_ms` must be a whole number from 1 to 86400000, not 0
            gateway.toml:7: `socket.ping_timeout_ms` must be a whole number from 1 to 86400000, not "20s"
            gateway.toml:8: `socket.transports` must be a list of `polling`, `websocket`, not ["websockets"]
            gateway.toml:9: `socket.pending_acks_max` must be a whole number from 1 to 1000000, not 99999999999999999999
            gateway.toml:10: `publish.deliver` must be one of `envelope`, `payload`, not "all"
            gateway.toml:11: `publish.body_bytes_max` must be a whole number from 1 to 1073741824, not a number with a fraction
            gateway.toml:12: `publish.key` must be text in quotes (its value is not shown here)
            gateway.toml:13: `auth.insecure` must be `true` or `false`, not "yes"
            gateway.toml:14: `auth.strategy` must be one of `none`, `jwt`, `introspection`, not a date"#]],
    );
}

#[test]
fn a_table_where_a_value_belongs_and_the_reverse() {
    refused(
        &toml("socket = 3\nlog = \"debug\"\n[port]\nx = 1\n"),
        expect![[r#"
            gateway.toml:1: `socket` is a table: write [socket] and its keys below
            gateway.toml:2: `log` is a table: write [log] and its keys below
            gateway.toml:3: `port` must be a whole number from 0 to 65535, not a table"#]],
    );
}

#[test]
fn text_that_is_no_toml() {
    let text = "port = 4000\n[publish]\nkey = \"hunter2hunter2hunter2\nhost = \n";
    refused(
        &toml(text),
        expect![[r#"
        gateway.toml:3: this is not TOML: invalid basic string, expected `"`
        gateway.toml:4: this is not TOML: string values must be quoted, expected literal string"#]],
    );
    assert!(!errors(&toml(text)).to_string().contains("hunter2"));
}

#[test]
fn a_key_written_twice() {
    refused(&toml("port = 1\nport = 2\n"), expect!["gateway.toml:2: this is not TOML: duplicate key"]);
}

#[test]
fn faults_of_publish_keys() {
    refused(
        &toml(
            r#"
[[publish.keys]]
name = "a"
[[publish.keys]]
key = "0123456789abcdef"
nmae = "b"
[[publish.keys]]
name = 3
key = ["0123456789abcdef"]
rooms = "x"
[[publish.keys]]
name = "c"
key = "0123456789abcdef"
rooms = []
"#,
        ),
        expect![[r#"
            gateway.toml:2: every [[publish.keys]] table needs a `key`
            gateway.toml:4: every [[publish.keys]] table needs a `name`
            gateway.toml:6: there is no key `nmae` in [[publish.keys]]; did you mean `name`?
            gateway.toml:8: `name` of [[publish.keys]] must be text in quotes, not 3
            gateway.toml:9: `key` of [[publish.keys]] must be text in quotes (its value is not shown here)
            gateway.toml:10: `rooms` of [[publish.keys]] must be a list of texts, such as ["a", "b"], not "x"
            gateway.toml:11: `rooms` of [[publish.keys]] is empty, so the key could do nothing: leave it out to allow all"#]],
    );
    refused(
        &toml("[publish.keys]\nname = \"a\"\n"),
        expect!["gateway.toml:1: `publish.keys` must be written in the file as [[publish.keys]] tables"],
    );
    refused(
        &toml("publish.keys = [\"0123456789abcdef\"]"),
        expect!["gateway.toml:1: `publish.keys` must be written as [[publish.keys]] tables"],
    );
}

#[test]
fn a_feature_that_is_not_built_yet() {
    refused(
        &toml(
            r#"
[redis]
url = "redis://user:hunter2@redis"
"#,
        ),
        expect![[r#"
            gateway.toml:3: `redis.url` is not available in this version: several gateways do not know of each other yet"#]],
    );
}

#[test]
fn a_feature_that_is_not_built_may_be_turned_off() {
    resolve(&toml("redis.url = \"\"\n"));
}

#[test]
fn events_are_forwarded_by_tables() {
    let resolved = resolve(&toml(
        "[[forward]]\nevent = \"chat:*\"\nurl = \"https://b/chat\"\nsecret = \"whsec_c2VjcmV0LW9mLXRoZS1ob29r\"\n[[forward]]\nevent = \"x\"\nurl = \"http://b/x\"\ntimeout_ms = 70\n",
    ));
    let explained = resolved.explain().into_iter().find(|row| row.key == "forward").unwrap();
    assert_eq!(
        explained.value,
        "chat:* to https://b/chat (secret ***, 5000 ms); x to http://b/x (unsigned, 70 ms)"
    );
    refused(
        &toml("[[forward]]\nevnt = \"chat\"\nurl = 1\ntimeout_ms = 0\n"),
        expect![[r#"
            gateway.toml:1: every [[forward]] table needs a `event`
            gateway.toml:2: there is no key `evnt` in [[forward]]; did you mean `event`?
            gateway.toml:3: `url` of [[forward]] must be text in quotes (its value is not shown here)
            gateway.toml:4: `timeout_ms` of [[forward]] must be a whole number from 1 to 600000, not 0"#]],
    );
    refused(
        &toml("[[forward]]\nevent = \"a b\"\nurl = \"ftp://b\"\nsecret = \"whsec_!\"\n"),
        expect![[r#"
            gateway.toml:1: "a b" in [[forward]] matches no event: a name has letters, digits and `: . _ - /`, but not ' '
            gateway.toml:1: `url` of [[forward]] must be an http or https address, such as https://backend.example.com/path
            gateway.toml:1: the `secret` of [[forward]] for "a b" begins with `whsec_`, but no base64 follows"#]],
    );
}

#[test]
fn a_misspelt_key_accuses_no_other() {
    // Without the misspelling the address would be accepted, so only the misspelling is reported.
    refused(
        &toml("host = \"0.0.0.0\"\nauth.insecur = true\n"),
        expect!["gateway.toml:2: there is no key `auth.insecur`; did you mean `auth.insecure`?"],
    );
}

#[test]
fn the_path_gets_its_last_slash() {
    let config = resolve(&toml("socket.path = \"/live\"")).config;
    assert_eq!(config.socket.path, "/live/");
    assert_eq!(config.socket.transports, [Transport::Polling, Transport::WebSocket]);
}
