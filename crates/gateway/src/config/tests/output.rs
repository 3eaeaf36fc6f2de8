use std::path::Path;

use super::super::reference::EXAMPLE;
use super::super::table::{self, State};
use super::super::value::Given;
use super::super::{Config, PublishKey, Secret, reference};
use super::{errors, resolve, toml};

#[test]
fn no_output_shows_a_secret() {
    let text = "[publish]\nkey = \"hunter2-hunter2-hunter2\"\n[[publish.keys]]\nname = \"a\"\nkey = \"hunter2-hunter2-hunter3\"\n";
    let resolved = resolve(&toml(text));
    let shown = format!("{resolved:?} {:#?} {:?}", resolved.config, resolved.explain());
    assert!(shown.contains("***") && !shown.contains("hunter2"), "{shown}");
    assert_eq!(format!("{:?}", Secret::new("hunter2")), "***");
    assert!(!format!("{:?}", PublishKey::unlimited("a", "hunter2")).contains("hunter2"));
}

#[test]
fn no_output_shows_the_password_of_an_address() {
    const ADDRESS: &str = "https://gw:hunter2@auth.example.com/x";
    let text = format!(
        "auth.strategy = \"introspection\"\nauth.introspection_url = \"{ADDRESS}\"\nauth.jwks_url = \"{ADDRESS}\"\n\
         rooms.authorize_url = \"{ADDRESS}\"\n[[forward]]\nevent = \"x\"\nurl = \"{ADDRESS}\"\n"
    );
    let resolved = resolve(&toml(&text));
    assert_eq!(resolved.config.auth.introspection_url.as_ref().unwrap().expose(), ADDRESS);
    let shown = format!("{resolved:?} {:#?} {:?}", resolved.config, resolved.explain());
    assert!(!shown.contains("hunter2"), "{shown}");
    assert_eq!(shown.matches("https://gw:***@auth.example.com/x").count(), 3 * 4, "{shown}");
    // Nor does it stand in what is wrong with it.
    for wrong in
        ["[\"https://gw:hunter2@host/\"]", "\"ftp://gw:hunter2@host/\"", "\"https://gw:hunter/2@host/\""]
    {
        for key in ["auth.introspection_url", "auth.jwks_url", "rooms.authorize_url"] {
            let sources = toml(&format!("auth.strategy = \"introspection\"\n{key} = {wrong}\n"));
            let told = match Config::resolve(&sources) {
                Ok(resolved) => format!("{resolved:?} {:?}", resolved.explain()),
                Err(errors) => format!("{errors} {errors:?}"),
            };
            assert!(!told.contains("hunter"), "{told}");
        }
        let told = errors(&toml(&format!("[[forward]]\nevnt = \"x\"\nurl = {wrong}\n"))).to_string();
        assert!(!told.contains("hunter"), "{told}");
    }
}

#[test]
fn every_key_is_in_the_reference_and_in_the_explanation() {
    let reference = reference();
    let rows = resolve(&toml("")).explain();
    for setting in table::settings() {
        assert!(reference.contains(&format!("| `{}` |", setting.key)), "{}", setting.key);
        let built = matches!(setting.state, State::Built { .. });
        assert_eq!(rows.iter().any(|row| row.key == setting.key), built, "{}", setting.key);
    }
}

#[test]
fn keys_and_variables_are_unique() {
    let mut names: Vec<_> = table::settings()
        .flat_map(|setting| setting.legacy_variables().map(str::to_owned).chain([setting.variable()]))
        .collect();
    let count = names.len();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), count);
    assert!(
        table::settings()
            .all(|setting| table::find(setting.key).is_some_and(|found| std::ptr::eq(found, setting)))
    );
}

#[test]
fn every_default_lies_in_its_range_and_can_be_read_back() {
    let defaults = Config::default();
    for setting in table::settings() {
        let State::Built { read, show, number } = &setting.state else {
            continue;
        };
        let Some(value) = number(&defaults) else {
            continue;
        };
        let (min, max) =
            setting.range.unwrap_or_else(|| panic!("{} is a number without a range", setting.key));
        assert!((min..=max).contains(&value), "{}", setting.key);
        let mut config = Config::default();
        for bound in [min, max] {
            assert!(read(&mut config, &Given::Text(bound.to_string())), "{}", setting.key);
            assert_eq!(show(&config), bound.to_string(), "{}", setting.key);
        }
    }
}

#[test]
fn the_example_of_the_reference_works() {
    assert!(reference().contains(EXAMPLE));
    resolve(&toml(EXAMPLE));
}

#[test]
fn the_reference_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/configuration.md");
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == reference(), "docs/configuration.md is out of date: run `cargo xtask docs`");
}
