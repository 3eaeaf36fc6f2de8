use expect_test::{Expect, expect};

use super::super::{Algorithm, Auth, Config, IntrospectionFormat, Parser, PublishKey, Secret, Strategy};
use super::toml;

/// The same sentences for a configuration that was filled by hand.
#[track_caller]
fn invalid(change: impl FnOnce(&mut Config), expected: Expect) {
    let mut config = Config::default();
    change(&mut config);
    expected.assert_eq(&config.validate().expect_err("must be refused").to_string());
}

#[track_caller]
fn warned(change: impl FnOnce(&mut Config), expected: Expect) {
    let mut config = Config::default();
    change(&mut config);
    let warnings: Vec<_> = config.validate().unwrap().iter().map(ToString::to_string).collect();
    expected.assert_eq(&warnings.join("\n"));
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[test]
fn the_defaults_are_valid() {
    warned(
        |_| {},
        expect!["`auth.strategy` is `none`: everybody who connects is let in and every room is open"],
    );
}

#[test]
fn everybody_may_connect_only_where_nobody_else_is() {
    invalid(
        |config| config.host = "0.0.0.0".to_owned(),
        expect![
            "`auth.strategy` is `none`, so everybody who can reach 0.0.0.0 would be let in: let clients prove who they are (`auth.strategy` = `jwt` or `introspection`), set `host` to 127.0.0.1, or accept it with `auth.insecure` = true (IDAE_SOCKET_AUTH_INSECURE=true)"
        ],
    );
    for host in ["127.0.0.1", "127.8.8.8", "localhost", "::1", "::ffff:127.0.0.1"] {
        let config = Config { host: host.to_owned(), ..Config::default() };
        assert!(config.validate().is_ok(), "{host}");
    }
    for host in ["::", "example.com", "10.0.0.1", "localhost.example.com"] {
        let config = Config { host: host.to_owned(), ..Config::default() };
        assert!(config.validate().is_err(), "{host}");
    }
    warned(
        |config| {
            config.host = "0.0.0.0".to_owned();
            config.auth.insecure = true;
        },
        expect![[r#"
            `auth.strategy` is `none`: everybody who connects is let in and every room is open
            no `publish.key` is set: only programs on the same machine may publish, everybody else gets 403"#]],
    );
}

#[test]
fn the_line_of_the_key_that_was_written() {
    super::refused(
        &toml("port = 1\nhost = \"0.0.0.0\"\n"),
        expect![
            "gateway.toml:2: `auth.strategy` is `none`, so everybody who can reach 0.0.0.0 would be let in: let clients prove who they are (`auth.strategy` = `jwt` or `introspection`), set `host` to 127.0.0.1, or accept it with `auth.insecure` = true (IDAE_SOCKET_AUTH_INSECURE=true)"
        ],
    );
    super::refused(
        &toml("\n\npublish.body_bytes_max = 1000000\n"),
        expect![
            "gateway.toml:3: `socket.outbox_bytes_max` (1048576) must be at least twice `publish.body_bytes_max` (1000000): one event must never fill an outbox"
        ],
    );
}

#[test]
fn addresses() {
    for host in ["", "http://localhost", "localhost:4000", "[::1]"] {
        invalid(
            |config| config.host = host.to_owned(),
            match host {
                "" => expect![[r#"`host` must be an IP address or a name without scheme and port, not """#]],
                "http://localhost" => expect![[
                    r#"`host` must be an IP address or a name without scheme and port, not "http://localhost""#
                ]],
                "localhost:4000" => {
                    expect![[r#"`host` must not hold the port, as "localhost:4000" does: that is `port`"#]]
                }
                _ => expect![[
                    r#"`host` must be an IP address or a name without scheme and port, not "[::1]""#
                ]],
            },
        );
    }
}

#[test]
fn tokens_need_a_key_that_is_one() {
    let jwt = |change: fn(&mut Auth)| {
        move |config: &mut Config| {
            config.auth.strategy = Strategy::Jwt;
            change(&mut config.auth);
        }
    };
    invalid(
        jwt(|_| ()),
        expect![
            "`auth.strategy` = `jwt` needs a key to check tokens with: set `auth.jwt_secret` (IDAE_SOCKET_JWT_SECRET), `auth.jwt_public_key_file` or `auth.jwks_url`"
        ],
    );
    invalid(
        jwt(|auth| auth.jwt_secret = Some("fifteen-bytes-x".into())),
        expect![
            "`auth.jwt_secret` has 15 bytes and must have 16 or more: make one with `openssl rand -base64 32`"
        ],
    );
    invalid(
        jwt(|auth| auth.jwt_secret = Some("change-me-in-production".into())),
        expect![
            "`auth.jwt_secret` is the one of the examples, which everybody knows: make one with `openssl rand -base64 32`"
        ],
    );
    invalid(
        jwt(|auth| {
            auth.jwt_secret = Some("a secret of more than 32 bytes, which is enough".into());
            auth.jwks_url = Some("keys".into());
        }),
        expect![[r#"
            tokens are checked with one kind of key: keep one of `auth.jwt_secret`, `auth.jwt_public_key_file` and `auth.jwks_url`
            `auth.jwks_url` must be an http or https address, such as https://backend.example.com/path"#]],
    );
    invalid(
        jwt(|auth| {
            auth.jwt_secret = Some("a secret of more than 32 bytes, which is enough".into());
            auth.algorithms = Some(vec![Algorithm::HS256, Algorithm::RS256]);
        }),
        expect![
            "`RS256` in `auth.algorithms` needs a public key, but `auth.jwt_secret` is set: use HS256, HS384 or HS512"
        ],
    );
    invalid(
        jwt(|auth| {
            auth.jwks_url = Some("https://id.example.com/keys".into());
            auth.algorithms = Some(vec![Algorithm::HS256]);
        }),
        expect![
            "`HS256` in `auth.algorithms` needs `auth.jwt_secret`; with a public key anybody could sign with it"
        ],
    );
    let short = |algorithms: Option<Vec<Algorithm>>| {
        let mut config = Config::default();
        config.auth.strategy = Strategy::Jwt;
        config.auth.jwt_secret = Some("a secret of 32 bytes and a bit.....".into());
        config.auth.algorithms = algorithms;
        config.validate().unwrap().iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    expect![""].assert_eq(&short(None));
    expect!["`auth.jwt_secret` has 35 bytes; HS512 deserves 64 (RFC 7518, section 3.2)"]
        .assert_eq(&short(Some(vec![Algorithm::HS256, Algorithm::HS512])));
}

#[test]
fn introspection_needs_somebody_to_ask() {
    invalid(
        |config| config.auth.strategy = Strategy::Introspection,
        expect![
            "`auth.strategy` = `introspection` needs to know whom to ask: set `auth.introspection_url` (IDAE_SOCKET_INTROSPECTION_URL)"
        ],
    );
    invalid(
        |config| {
            config.auth.strategy = Strategy::Introspection;
            config.auth.introspection_url = Some("https://id.example.com/introspect".into());
            config.auth.introspection_format = IntrospectionFormat::Rfc7662;
            config.auth.introspection_client_id = Some("gateway".to_owned());
        },
        expect![
            "`auth.introspection_format` = `rfc7662` needs `auth.introspection_client_id` and `auth.introspection_client_secret`"
        ],
    );
}

#[test]
fn rules_and_proxies_can_be_read() {
    invalid(
        |config| {
            config.auth.role_claims = vec![String::new()];
            config.rooms.join = vec!["tenant:{tenant:*".to_owned(), "a{}".to_owned()];
            config.namespaces = vec!["/x{".to_owned()];
            config.trusted_proxies = vec!["10.0.0.0/8".to_owned(), "my-proxy".to_owned()];
        },
        expect![[r#"
            `auth.role_claims` holds an empty name: leave it out
            "tenant:{tenant:*" in `rooms.join` cannot be used: a `{` or `}` stands alone: a claim is written `{name}`
            "a{}" in `rooms.join` cannot be used: `{}` names no claim
            "my-proxy" in `trusted_proxies` is no address or network: write 10.0.0.1 or 10.0.0.0/8
            "/x{" in `namespaces` cannot be used: a `{` or `}` stands alone: a claim is written `{name}`"#]],
    );
}

#[test]
fn ranges_hold_for_hand_filled_values_too() {
    invalid(
        |config| {
            config.socket.ping_timeout_ms = 0;
            config.socket.connections_max = 0;
        },
        expect![[r#"
            `socket.ping_timeout_ms` must be a whole number from 1 to 86400000, not 0
            `socket.connections_max` must be a whole number from 1 to 10000000, not 0"#]],
    );
}

#[test]
fn events_and_namespaces() {
    invalid(
        |config| {
            config.events = Vec::new();
            config.namespaces = Vec::new();
        },
        expect![[r#"
            `events` is empty, so nothing could be published: use ["*"] for all names
            `namespaces` is empty, so nobody could connect: use ["/"]"#]],
    );
    invalid(
        |config| {
            config.events = texts(&["", "/entity", "a b", "a/:b.c", "ok:*"]);
            config.namespaces = texts(&["chat", "", "/a,b", "/:tenant"]);
        },
        expect![[r#"
            "" in `events` cannot be used: a pattern must not be empty
            "/entity" in `events` matches no event: the name is what follows the first `/`, write "entity"
            "a b" in `events` matches no event: a name has letters, digits and `: . _ - /`, but not ' '
            "a/:b.c" in `events` cannot be used: a parameter must fill its segment: `:b.c` has something after the name
            "chat" in `namespaces` must begin with `/`
            "" in `namespaces` cannot be used: a pattern must not be empty
            "/a,b" in `namespaces` must not hold `,` or `?`"#]],
    );
}

#[test]
fn publish_keys() {
    invalid(
        |config| config.publish.key = Some(Secret::new("")),
        expect!["`publish.key` is empty: give it a value, or leave it out"],
    );
    invalid(
        |config| {
            config.publish.key = Some("hunter2-hunter2-hunter2".into());
            config.publish.keys = vec![
                PublishKey::unlimited("default", "a-key-of-sixteen-b"),
                PublishKey::unlimited("b", "hunter2-hunter2-hunter2"),
                PublishKey::unlimited("b", "hunter2 hunter2"),
                PublishKey { events: texts(&["a b"]), rooms: texts(&[""]), ..PublishKey::unlimited(" ", "") },
            ];
        },
        expect![[r#"
            two publish keys are named "default" (it is the name of `publish.key`): give each its own name
            the publish key "b" is the same as another one: it is unclear which limits count
            two publish keys are named "b": give each its own name
            the publish key "b" may only have visible ASCII characters, without spaces
            a publish key has an empty name: logs need one
            the publish key " " is empty: give it a value, or leave it out
            "a b" in the events of the publish key " " matches no event: a name has letters, digits and `: . _ - /`, but not ' '
            "" in the rooms of the publish key " " cannot be used: a pattern must not be empty"#]],
    );
    warned(
        |config| config.publish.key = Some("hunter2".into()),
        expect![[r#"
            `auth.strategy` is `none`: everybody who connects is let in and every room is open
            `publish.key` is shorter than 16 bytes and could be guessed"#]],
    );
}

#[test]
fn paths() {
    for path in ["/", "live/", "/live", "/v1/", "/a//b/", "/a b/", "/a/../b/", "/a?b/", "//"] {
        let mut config = Config::default();
        config.socket.path = path.to_owned();
        assert!(config.validate().is_err(), "{path}");
    }
    invalid(
        |config| config.socket.path = "/".to_owned(),
        expect![[r#"`socket.path` must leave `/` and `/v1/` to the publishers, not "/""#]],
    );
}

#[test]
fn without_the_default_parser_little_can_connect() {
    warned(
        |config| config.socket.parsers = vec![Parser::Msgpack],
        expect![[r#"
            `auth.strategy` is `none`: everybody who connects is let in and every room is open
            `socket.parsers` leaves `json` out, which all clients use unless they are told otherwise: the console, `idae-socket listen` and the Rust client can't connect"#]],
    );
}

#[test]
fn origins() {
    invalid(
        |config| {
            config.socket.transports = Vec::new();
            config.socket.parsers = Vec::new();
            config.socket.cors_origins = Some(texts(&[
                "app.example.com",
                "https://app.example.com/",
                "https://App.example.com:443",
                "https://*.example.com",
                "https://müller.example",
                "https://user@example.com",
                "http://localhost:99999",
                "null",
                "*",
            ]));
        },
        expect![[r#"
            `socket.transports` is empty, so nobody could connect
            `socket.parsers` is empty, so nobody could connect
            "app.example.com" in `socket.cors_origins` must be `scheme://host` or `scheme://host:port`, or `*`
            "https://app.example.com/" in `socket.cors_origins` would never match: browsers send `https://app.example.com`
            "https://App.example.com:443" in `socket.cors_origins` would never match: browsers send `https://app.example.com`
            "https://*.example.com" in `socket.cors_origins` has a `*` in it: only a lone `*` is understood, so name each origin
            "https://müller.example" in `socket.cors_origins` has letters outside ASCII: write the host as browsers send it, beginning with `xn--`
            "https://user@example.com" in `socket.cors_origins` must be `scheme://host` or `scheme://host:port`, or `*`
            "http://localhost:99999" in `socket.cors_origins` must be `scheme://host` or `scheme://host:port`, or `*`
            "null" in `socket.cors_origins` must be `scheme://host` or `scheme://host:port`, or `*`
            `*` in `socket.cors_origins` allows every origin: remove it or the others"#]],
    );
    let mut config = Config::default();
    let good =
        ["http://localhost:5173", "https://app.example.com", "capacitor://localhost", "http://[::1]:80801"];
    config.socket.cors_origins = Some(texts(&good[..3]));
    assert!(config.validate().is_ok());
    config.socket.cors_origins = Some(texts(&good));
    assert!(config.validate().is_err());
}

#[test]
fn one_event_never_fills_a_queue() {
    invalid(
        |config| {
            config.publish.body_bytes_max = 3000;
            config.socket.outbox_bytes_max = 5999;
            config.publish.queue_bytes_max = 2999;
            config.publish.batch_bytes_max = 2999;
        },
        expect![[r#"
            `socket.outbox_bytes_max` (5999) must be at least twice `publish.body_bytes_max` (3000): one event must never fill an outbox
            `publish.queue_bytes_max` (2999) must be at least `publish.body_bytes_max` (3000)
            `publish.batch_bytes_max` (2999) must be at least `publish.body_bytes_max` (3000)"#]],
    );
}

#[test]
fn secrets_of_the_documents_are_for_trying_out() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let mut secrets = 0;
    for name in ["README.md", "docs/guide.md", "docs/configuration.md", "docs/operations.md"] {
        let document = std::fs::read_to_string(format!("{root}/{name}")).unwrap();
        for (setting, rest) in document.lines().filter_map(|line| line.trim().split_once(" = \"")) {
            if !matches!(setting, "key" | "KEY" | "jwt_secret" | "secret") {
                continue;
            }
            secrets += 1;
            let secret = rest.split('"').next().unwrap_or_default();
            let mut config = Config::default();
            config.publish.key = Some(secret.into());
            let warnings = config.validate().unwrap();
            assert!(
                warnings.iter().any(|warning| warning.to_string().contains("everybody knows")),
                "{secret}"
            );
            config.host = "0.0.0.0".to_owned();
            config.auth.insecure = true;
            assert!(config.validate().is_err(), "{secret}");
        }
    }
    assert!(secrets > 8, "{secrets}");
}

#[test]
fn settings_of_another_strategy_are_not_used() {
    warned(
        |config| {
            config.auth.jwt_secret = Some("a secret of more than 32 bytes, which is enough".into());
            config.auth.introspection_url = Some("http://127.0.0.1:3000/".into());
            config.rooms.join = texts(&["public:*"]);
        },
        expect![[r#"
            `auth.strategy` is `none`: everybody who connects is let in and every room is open
            `auth.jwt_secret` is set but not used, because `auth.strategy` is `none`: set it to `jwt`
            `auth.introspection_url` is set but not used, because `auth.strategy` is `none`: set it to `introspection`
            `rooms.join` is set but not used, because `auth.strategy` is `none`: set it to `jwt` or `introspection`"#]],
    );
    warned(
        |config| {
            config.auth.strategy = Strategy::Introspection;
            config.auth.jwt_secret = Some("a secret of more than 32 bytes, which is enough".into());
            config.auth.introspection_url = Some("http://127.0.0.1:3000/".into());
        },
        expect![
            "`auth.jwt_secret` is set but not used, because `auth.strategy` is `introspection`: set it to `jwt`"
        ],
    );
}
