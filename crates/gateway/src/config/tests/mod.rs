//! What a person writes, and what the gateway makes of it.
#![allow(clippy::needless_pass_by_value, reason = "`expect![…]` stands at the call as it is")]

mod environment;
mod file;
mod output;
mod validate;

use std::io;

use expect_test::Expect;

use super::{Config, ConfigErrors, Resolved, Sources};

const FILE: &str = "gateway.toml";

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn toml(text: &str) -> Sources<'static> {
    Sources { file: Some((FILE.to_owned(), text.to_owned())), ..Sources::default() }
}

fn environment(variables: &[(&str, &str)]) -> Sources<'static> {
    Sources { environment: pairs(variables), secret_files: Some(&secret_file), ..Sources::default() }
}

/// The files of the tests.
fn secret_file(path: &str) -> io::Result<String> {
    match path {
        "/run/key" => Ok("the-key-in-the-file\n".to_owned()),
        "/run/windows" => Ok("the-key-in-the-file\r\n".to_owned()),
        _ => Err(io::Error::new(io::ErrorKind::NotFound, "no such file")),
    }
}

#[track_caller]
fn resolve(sources: &Sources<'_>) -> Resolved {
    Config::resolve(sources).unwrap_or_else(|errors| panic!("must resolve:\n{errors}"))
}

#[track_caller]
fn errors(sources: &Sources<'_>) -> ConfigErrors {
    Config::resolve(sources).expect_err("must not resolve")
}

#[track_caller]
fn refused(sources: &Sources<'_>, expected: Expect) {
    expected.assert_eq(&errors(sources).to_string());
}

/// The rows that are not defaults.
#[track_caller]
fn accepted(sources: &Sources<'_>, expected: Expect) {
    let rows = resolve(sources).explain().into_iter();
    let rows = rows.filter(|row| row.origin != super::Origin::Default);
    let lines: Vec<_> = rows.map(|row| format!("{} = {} ({})", row.key, row.value, row.origin)).collect();
    expected.assert_eq(&lines.join("\n"));
}
