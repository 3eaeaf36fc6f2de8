use expect_test::expect;

use super::super::Sources;
use super::{FILE, accepted, environment, errors, pairs, refused, resolve};

#[test]
fn the_name_is_the_key_in_capitals() {
    accepted(
        &environment(&[
            ("PATH", "/bin"),
            ("IDAE_SOCKET_CONFIG", "/etc/idae-socket.toml"),
            ("IDAE_SOCKET_PORT", "5000"),
            ("IDAE_SOCKET_EVENTS", "entity, data:*,"),
            ("IDAE_SOCKET_SOCKET_PING_INTERVAL_MS", "1000"),
            ("IDAE_SOCKET_SOCKET_TRANSPORTS", "websocket"),
            ("IDAE_SOCKET_PUBLISH_SENDER_REDACT", ""),
            ("IDAE_SOCKET_AUTH_INSECURE", "true"),
        ]),
        expect![[r#"
            port = 5000 (IDAE_SOCKET_PORT)
            events = ["entity", "data:*"] (IDAE_SOCKET_EVENTS)
            auth.insecure = true (IDAE_SOCKET_AUTH_INSECURE)
            publish.sender_redact = [] (IDAE_SOCKET_PUBLISH_SENDER_REDACT)
            socket.transports = ["websocket"] (IDAE_SOCKET_SOCKET_TRANSPORTS)
            socket.ping_interval_ms = 1000 (IDAE_SOCKET_SOCKET_PING_INTERVAL_MS)"#]],
    );
}

#[test]
fn the_names_people_already_use() {
    accepted(
        &environment(&[
            ("IDAE_SOCKET_AUTH_STRATEGY", "none"),
            ("IDAE_SOCKET_CORS_ORIGIN", "https://app.example.com,http://localhost:5173"),
            ("IDAE_SOCKET_PUBLISH_KEY", "0123456789abcdef"),
            ("IDAE_SOCKET_REDIS_URL", ""),
        ]),
        expect![[r#"
            auth.strategy = none (IDAE_SOCKET_AUTH_STRATEGY)
            publish.key = *** (IDAE_SOCKET_PUBLISH_KEY)
            socket.cors_origins = ["https://app.example.com", "http://localhost:5173"] (IDAE_SOCKET_CORS_ORIGIN)"#]],
    );
    refused(
        &environment(&[
            ("IDAE_SOCKET_AUTH_STRATEGY", "jwt"),
            ("IDAE_SOCKET_JWT_SECRET", "hunter2"),
            ("IDAE_SOCKET_JWT_SECRET_FILE", "/run/key"),
            ("IDAE_SOCKET_INTROSPECTION_URL", "https://id.example.com"),
            ("IDAE_SOCKET_REDIS_URL", "redis://:hunter2@redis"),
        ]),
        expect![[r#"
            IDAE_SOCKET_JWT_SECRET_FILE: `auth.jwt_secret` is already set by IDAE_SOCKET_JWT_SECRET: keep one of them
            IDAE_SOCKET_REDIS_URL: `redis.url` is not available in this version: several gateways do not know of each other yet"#]],
    );
}

#[test]
fn later_sources_win() {
    let sources = Sources {
        file: Some((FILE.to_owned(), "host = \"localhost\"\nport = 1\nlog.level = \"debug\"".to_owned())),
        environment: pairs(&[("IDAE_SOCKET_PORT", "2"), ("IDAE_SOCKET_LOG_LEVEL", "warn")]),
        flags: pairs(&[("port", "3")]),
        secret_files: None,
    };
    accepted(
        &sources,
        expect![[r#"
            host = localhost (gateway.toml:1)
            port = 3 (--port)
            log.level = warn (IDAE_SOCKET_LOG_LEVEL)"#]],
    );
}

#[test]
fn a_secret_from_a_file_loses_its_newline() {
    for path in ["/run/key", "/run/windows"] {
        let resolved = resolve(&environment(&[("IDAE_SOCKET_PUBLISH_KEY_FILE", path)]));
        let key = resolved.config.publish.key.as_ref().unwrap();
        assert_eq!(key.expose(), "the-key-in-the-file");
        assert_eq!(resolved.origin("publish.key").to_string(), "IDAE_SOCKET_PUBLISH_KEY_FILE");
    }
}

#[test]
fn a_secret_said_twice_or_from_nowhere() {
    refused(
        &environment(&[
            ("IDAE_SOCKET_PUBLISH_KEY", "hunter2hunter2hunter2"),
            ("IDAE_SOCKET_PUBLISH_KEY_FILE", "/run/key"),
        ]),
        expect![
            "IDAE_SOCKET_PUBLISH_KEY_FILE: `publish.key` is already set by IDAE_SOCKET_PUBLISH_KEY: keep one of them"
        ],
    );
    // Who forgets what `_FILE` means puts the secret itself there.
    refused(
        &environment(&[("IDAE_SOCKET_PUBLISH_KEY_FILE", "hunter2hunter2hunter2")]),
        expect!["IDAE_SOCKET_PUBLISH_KEY_FILE: the file with `publish.key` cannot be read: no such file"],
    );
    let no_reader =
        Sources { secret_files: None, ..environment(&[("IDAE_SOCKET_PUBLISH_KEY_FILE", "/run/key")]) };
    refused(
        &no_reader,
        expect![
            "IDAE_SOCKET_PUBLISH_KEY_FILE: the file with `publish.key` cannot be read: this program reads no files for its settings"
        ],
    );
}

#[test]
fn a_variable_or_a_flag_that_does_not_exist() {
    let mut sources = environment(&[
        ("IDAE_SOCKET_PUBLSH_KEY", "hunter2"),
        ("IDAE_SOCKET_HOST_FILE", "/run/key"),
        ("IDAE_SOCKET_CONFG", "x"),
        ("IDAE_SOCKET_PING_INTERVAL_MS", "5"),
        ("IDAE_SOCKET_XYZZY", "x"),
    ]);
    sources.flags = pairs(&[("socket.pth", "/x/"), ("port", "abc"), ("publish.keys", "hunter2")]);
    refused(
        &sources,
        expect![[r#"
            IDAE_SOCKET_PUBLSH_KEY: there is no variable IDAE_SOCKET_PUBLSH_KEY; did you mean `IDAE_SOCKET_PUBLISH_KEY`?
            IDAE_SOCKET_HOST_FILE: `host` cannot come from a file: only secrets can
            IDAE_SOCKET_CONFG: there is no variable IDAE_SOCKET_CONFG; did you mean `IDAE_SOCKET_CONFIG`?
            IDAE_SOCKET_PING_INTERVAL_MS: there is no variable IDAE_SOCKET_PING_INTERVAL_MS; did you mean `IDAE_SOCKET_SOCKET_PING_INTERVAL_MS`?
            IDAE_SOCKET_XYZZY: there is no variable IDAE_SOCKET_XYZZY
            --set socket.pth: there is no key `socket.pth`; did you mean `socket.path`?
            --port: `port` must be a whole number from 0 to 65535, not "abc"
            --set publish.keys: `publish.keys` must be written in the file as [[publish.keys]] tables"#]],
    );
    assert!(!errors(&sources).to_string().contains("hunter2"));
}

#[test]
fn a_value_that_does_not_fit() {
    refused(
        &environment(&[
            ("IDAE_SOCKET_PORT", ""),
            ("IDAE_SOCKET_AUTH_INSECURE", "1"),
            ("IDAE_SOCKET_LOG_FORMAT", "xml"),
            ("IDAE_SOCKET_PUBLISH_KEYS", "hunter2"),
            ("IDAE_SOCKET_SOCKET_ROOMS_MAX", "-1"),
        ]),
        expect![[r#"
            IDAE_SOCKET_PORT: `port` must be a whole number from 0 to 65535, not ""
            IDAE_SOCKET_AUTH_INSECURE: `auth.insecure` must be `true` or `false`, not "1"
            IDAE_SOCKET_LOG_FORMAT: `log.format` must be one of `auto`, `text`, `json`, not "xml"
            IDAE_SOCKET_PUBLISH_KEYS: `publish.keys` must be written in the file as [[publish.keys]] tables
            IDAE_SOCKET_SOCKET_ROOMS_MAX: `socket.rooms_max` must be a whole number from 1 to 1000000, not "-1""#]],
    );
}

#[test]
fn what_kubernetes_says_about_services_is_not_for_us() {
    accepted(
        &environment(&[
            ("IDAE_SOCKET_SERVICE_HOST", "10.0.0.7"),
            ("IDAE_SOCKET_SERVICE_PORT", "4000"),
            ("IDAE_SOCKET_SERVICE_PORT_HTTP", "4000"),
            ("IDAE_SOCKET_PORT", "tcp://10.0.0.7:4000"),
            ("IDAE_SOCKET_PORT_4000_TCP", "tcp://10.0.0.7:4000"),
            ("IDAE_SOCKET_PORT_4000_TCP_ADDR", "10.0.0.7"),
            ("IDAE_SOCKET_REDIS_PORT_6379_TCP_PROTO", "tcp"),
            ("IDAE_SOCKET_REDIS_PORT", "tcp://10.0.0.8:6379"),
        ]),
        expect![],
    );
}
