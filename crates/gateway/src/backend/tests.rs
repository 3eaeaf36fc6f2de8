//! Bodies at the boundary, and the documents that promise what the code does.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use serde_yaml_ng::Value;

use super::problem::Code;
use super::submission::{Deliver, FIELDS, ID_CHARS_MAX, Secrets, Submission};
use super::{Settings, text};
use crate::auth::PublishKeys;
use crate::rules::{EVENT_CHARS_MAX, EventNames, Namespaces, OwnPage, Patterns};

fn settings() -> Settings {
    Settings {
        keys: PublishKeys::default(),
        events: EventNames::new(Patterns::parse(["*"]).unwrap(), ["/socket.io/".to_owned()]),
        namespaces: Namespaces::parse(&["/".to_owned(), "/admin".to_owned()]).unwrap(),
        body_bytes_max: 1000,
        batch_items_max: 10,
        batch_bytes_max: 1000,
        room_bytes_max: 20,
        delivers_payload: false,
        sender_redact: Secrets::new(&["token".to_owned(), "cookie".to_owned()]),
        console: None,
        own_page: OwnPage::new(false, "localhost", false),
    }
}

/// A body → whom it reaches and what they get, or what is wrong with it.
#[track_caller]
fn check(body: &str, expected: Expect) {
    let settings = settings();
    let told = match text(body.as_bytes()).and_then(|body| Submission::parse(body, &settings)) {
        Ok(Submission { target, volatile, id, content }) => {
            let mut whom = vec![target.namespace.into_owned()];
            whom.extend(target.rooms.iter().map(|room| format!("room {room}")));
            whom.extend(target.users.iter().map(|user| format!("user {user}")));
            whom.extend(target.everyone.then(|| "everyone".to_owned()));
            whom.extend(target.except.iter().map(|name| format!("not {name}")));
            whom.extend(volatile.then(|| "volatile".to_owned()));
            whom.extend(id.map(|id| format!("id {id}")));
            format!("{}\n{}", whom.join(", "), content.argument(Deliver::Envelope).concat())
        }
        Err(problem) => {
            let problem: serde_json::Value = serde_json::from_str(&problem.to_json()).unwrap();
            let mut lines = vec![format!("{} {}", problem["status"], problem["code"].as_str().unwrap())];
            for error in problem["errors"].as_array().into_iter().flatten() {
                lines.push(format!(
                    "{:?} {}",
                    error["pointer"].as_str().unwrap(),
                    error["detail"].as_str().unwrap()
                ));
            }
            lines.join("\n")
        }
    };
    expected.assert_eq(&told);
}

#[test]
fn the_publishers_text_is_kept() {
    check(
        r#" { "rooms" : ["a", 7] , "payload" : {"b": 1.0, "a":12345678901234567890,"b":"\u00e9\/"} } "#,
        expect![[r#"
            /, room a, room 7
            {"payload":{"b": 1.0, "a":12345678901234567890,"b":"\u00e9\/"},"rooms":["a", 7]}"#]],
    );
    check(
        r#"{"payload":null,"broadcast":true,"namespace":"/admin","volatile":true,"id":"x"}"#,
        expect![[r#"
            /admin, everyone, volatile, id x
            {"payload":null}"#]],
    );
}

#[test]
fn users_are_named_inside_or_outside_the_payload() {
    check(
        r#"{"payload":{"own":["1",2],"x":1},"users":"3","except":["a"]}"#,
        expect![[r#"
            /, user 3, user 1, user 2, not a
            {"payload":{"own":["1",2],"x":1}}"#]],
    );
    check(
        r#"{"payload":{"\u006fwn":"escaped"}}"#,
        expect![[r#"
            /, user escaped
            {"payload":{"\u006fwn":"escaped"}}"#]],
    );
    check(
        r#"{"payload":{"own":null,"deep":{"own":"x"}}}"#,
        expect![[r#"
            422 no_target
            "" name rooms, users, payload.own or broadcast:true; an event without a target reaches nobody"#]],
    );
}

#[test]
fn a_sender_loses_its_secrets_and_nothing_else() {
    check(
        r#"{"payload":1,"rooms":"a","sender":{"id": 7,"token":"x","roles":["token"],"cooki\u0065":1,"deep":{"token":1}}}"#,
        expect![[r#"
            /, room a
            {"payload":1,"rooms":"a","sender":{"id":7,"roles":["token"],"deep":{"token":1}}}"#]],
    );
    check(
        r#"{"payload":1,"rooms":"a","sender":{ "id": 7 }}"#,
        expect![[r#"
            /, room a
            {"payload":1,"rooms":"a","sender":{ "id": 7 }}"#]],
    );
}

#[test]
fn every_wrong_field_is_named_at_once() {
    check(
        r#"{"room":"a","rooms":["ok",null,"",{}],"broadcast":"yes","id":"","sender":1,"namespace":"/admn","rooms":"b"}"#,
        expect![[r#"
            422 unknown_field
            "/room" unknown field `room`; did you mean `rooms`?
            "/rooms" `rooms` is given twice
            "/payload" `payload` is missing: it is what the clients get
            "/broadcast" `broadcast` must be true or false
            "/namespace" there is no namespace `/admn` (setting `namespaces`); the closest one is `/admin`
            "/sender" `sender` must be an object
            "/id" `id` has 1 to 128 characters"#]],
    );
    check(
        r#"{"payload":1,"rooms":["ok",null,"",{},"012345678901234567890"],"users":true}"#,
        expect![[r#"
            422 invalid_type
            "/rooms/1" must be a string, a number, or an array of them
            "/rooms/2" a name must not be empty
            "/rooms/3" must be a string, a number, or an array of them
            "/rooms/4" a name may have 20 bytes
            "/users" must be a string, a number, or an array of them"#]],
    );
}

#[test]
fn what_is_no_object_is_refused() {
    check("", expect!["400 empty_body"]);
    check(" \n", expect!["400 empty_body"]);
    check("{", expect!["400 malformed_json"]);
    check("{}x", expect!["400 malformed_json"]);
    check("\u{feff}{}", expect!["400 malformed_json"]);
    check(
        "[]",
        expect![[r#"
            422 invalid_type
            "" the event must be a JSON object with a `payload`"#]],
    );
    check("{\"rooms\":\"a\",\"payload\":1,\"x\ty\":2}", expect!["400 malformed_json"]);
    check(
        r#"{"rooms":"a","payload":1,"x\u0009y":2}"#,
        expect![[r#"
            422 unknown_field
            "/x\ty" unknown field `x	y`; did you mean `id`?"#]],
    );
    let nested =
        |levels| format!(r#"{{"rooms":"a","payload":{}{}}}"#, "[".repeat(levels), "]".repeat(levels));
    assert!(text(nested(511).as_bytes()).is_ok());
    check(&nested(512), expect!["400 malformed_json"]);
}

fn document(path: &str) -> (PathBuf, String) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    let text = std::fs::read_to_string(&path).unwrap();
    (path, text)
}

fn texts(value: &Value) -> BTreeSet<String> {
    value.as_sequence().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn openapi_promises_what_the_code_does() {
    let (_, text) = document("api/openapi.yaml");
    let api: Value = serde_yaml_ng::from_str(&text).unwrap();
    assert_eq!(api["openapi"].as_str(), Some("3.1.0"));
    let schemas = &api["components"]["schemas"];

    let codes: BTreeSet<String> = Code::ALL.iter().map(|code| code.as_str().to_owned()).collect();
    assert_eq!(texts(&schemas["Code"]["enum"]), codes);

    let fields: BTreeSet<String> = FIELDS.iter().map(|field| (*field).to_owned()).collect();
    let properties = schemas["Publication"]["properties"].as_mapping().unwrap();
    let promised: BTreeSet<String> = properties.keys().map(|key| key.as_str().unwrap().to_owned()).collect();
    assert_eq!(promised, fields);
    assert_eq!(schemas["Publication"]["additionalProperties"].as_bool(), Some(false));

    let id_max = schemas["Publication"]["properties"]["id"]["maxLength"].as_u64();
    assert_eq!(id_max, Some(ID_CHARS_MAX as u64));
    assert_eq!(schemas["EventName"]["maxLength"].as_u64(), Some(EVENT_CHARS_MAX as u64));

    let paths: BTreeSet<&str> =
        api["paths"].as_mapping().unwrap().keys().map(|path| path.as_str().unwrap()).collect();
    assert_eq!(paths, BTreeSet::from(["/v1/events", "/{event}"]));
}

#[test]
fn every_code_is_explained() {
    let (path, text) = document("docs/errors.md");
    let headings: BTreeSet<&str> =
        text.lines().filter_map(|line| line.trim_start_matches('#').strip_prefix(' ')).collect();
    for code in Code::ALL {
        let code = code.as_str();
        assert!(headings.contains(code), "{} has no heading `{code}`", path.display());
    }
}
