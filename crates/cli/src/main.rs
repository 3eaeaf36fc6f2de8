//! The `idae-socket` command.

mod check;
mod serve;
mod settings;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A gateway that brings a backend's events to every Socket.IO client.
///
/// Without a command it serves, as `idae-socket serve` does.
#[derive(Parser)]
#[command(name = "idae-socket", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    settings: settings::Flags,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the gateway.
    #[command(after_help = "Example:\n  idae-socket serve --port 4000 --set socket.ping_interval_ms=10000")]
    Serve(settings::Flags),
    /// Shows every setting with its value and where that comes from; fails if the gateway would not start.
    #[command(after_help = "Example:\n  idae-socket check --config idae-socket.toml")]
    Check(check::Check),
}

const EXAMPLES: &str = "Examples:
  idae-socket                              # http://127.0.0.1:4000, without authentication
  idae-socket serve --port 8080 --config idae-socket.toml
  idae-socket check";

fn main() -> ExitCode {
    let Arguments { command, settings } = Arguments::parse();
    match command {
        None => serve::serve(&settings),
        Some(Command::Serve(flags)) => serve::serve(&flags.over(settings)),
        Some(Command::Check(check)) => check.run(settings),
    }
}
