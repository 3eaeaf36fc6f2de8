//! The command.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

mod listen;
mod publish;
mod terminal;

#[derive(Parser)]
#[command(name = "idae-socket", version, about, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Publish one event
    Publish(publish::Publish),
    /// Print events as they come
    Listen(listen::Listen),
}

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Publish(publish) => publish.run().await,
        Command::Listen(listen) => listen.run().await,
    }
}
