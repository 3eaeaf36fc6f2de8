//! Chores of the repository: `cargo xtask docs` writes what is generated from the code.
#![allow(clippy::print_stderr, reason = "a command has a terminal")]

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    match std::env::args().nth(1).as_deref() {
        Some("docs") => match docs(root) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("cannot write the documentation: {error}");
                ExitCode::FAILURE
            }
        },
        _ => {
            eprintln!("usage: cargo xtask docs");
            ExitCode::from(2)
        }
    }
}

fn docs(root: &Path) -> std::io::Result<()> {
    std::fs::write(root.join("docs/configuration.md"), idae_socket::config::reference())
}
