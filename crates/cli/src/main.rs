//! The `idae-socket` command.

mod bench;
mod check;
mod listen;
mod publish;
mod serve;
mod settings;
mod terminal;
mod token;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

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
    Serve(serve::Serve),
    /// Publishes one event.
    Publish(publish::Publish),
    /// Prints events as they come.
    Listen(listen::Listen),
    // Where a gateway would listen is nothing to a token.
    #[command(mut_arg("host", |host| host.hide(true)), mut_arg("port", |port| port.hide(true)))]
    Token(token::Token),
    /// Measures a gateway on this machine, with real sockets and real POSTs.
    Bench(bench::Bench),
    /// Prints the completions of a shell.
    #[command(after_help = "Example:\n  idae-socket completions bash > /etc/bash_completion.d/idae-socket")]
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Shows every setting with its value and where that comes from; fails if the gateway would not start.
    ///
    /// With --token it says what a token is worth, with --ready how the running gateway is.
    #[command(
        after_help = "Examples:\n  idae-socket check --config idae-socket.toml\n  idae-socket check --token \"$TOKEN\"    # what it would get, or why it would be refused\n  idae-socket check --ready              # does the gateway that runs here take new work?\n\nExit codes: 0 it is so, 1 it is not, 2 wrong usage, 3 gateway not reachable (--ready)"
    )]
    Check(check::Check),
}

const EXAMPLES: &str = "Examples:
  idae-socket                              # http://127.0.0.1:4000, without authentication
  idae-socket serve --port 8080 --config idae-socket.toml
  idae-socket listen --room admin
  idae-socket publish db-change --room admin '{\"id\":123}'
  idae-socket check
  idae-socket bench --sockets 5000";

fn main() -> ExitCode {
    let Arguments { command, settings } = Arguments::parse();
    match command {
        None => serve::Serve::default().run(settings),
        Some(Command::Serve(serve)) => serve.run(settings),
        Some(Command::Check(check)) => block_on(check.run(settings)),
        Some(Command::Token(token)) => token.run(settings),
        Some(Command::Bench(bench)) => block_on(bench.run()),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Arguments::command(), "idae-socket", &mut std::io::stdout());
            ExitCode::SUCCESS
        }
        Some(Command::Publish(publish)) => block_on(publish.run()),
        Some(Command::Listen(listen)) => block_on(listen.run()),
    }
}

/// Runs what needs no threads of its own.
fn block_on(command: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(command),
        Err(error) => serve::fail(&error),
    }
}
