//! `idae-socket serve`: the gateway, until it is told to stop.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use idae_socket::config::{Config, Level, LogFormat, Mode, Strategy};
use idae_socket::{Gateway, HttpDriver};
use tracing_subscriber::EnvFilter;

use crate::settings::Flags;
use crate::terminal::Paint;

/// Flags of `serve`.
#[derive(clap::Args, Default)]
pub(crate) struct Serve {
    #[command(flatten)]
    settings: Flags,
    /// Stop when standard input is closed: a gateway that another program starts ends with it, however
    /// that program ends.
    #[arg(long)]
    exit_on_stdin_close: bool,
}

impl Serve {
    /// Runs the gateway with these settings.
    pub(crate) fn run(self, others: Flags) -> ExitCode {
        let resolved = match self.settings.over(others).resolve() {
            Ok(resolved) => resolved,
            Err(refused) => return fail(&refused),
        };
        start_log(&resolved.config);
        // The gateway has threads of its own; this one waits for signals.
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return fail(&error),
        };
        let code = runtime.block_on(run(resolved.config, self.exit_on_stdin_close));
        // A thread that still reads standard input must not keep the process.
        runtime.shutdown_background();
        code
    }
}

async fn run(config: Config, exit_on_stdin_close: bool) -> ExitCode {
    // Before anything is printed: who reads it may already want to stop the gateway.
    let mut signals = match StopSignals::listen() {
        Ok(signals) => signals,
        Err(error) => return fail(&error),
    };
    let port = config.port;
    let gateway = match HttpDriver::with_config(config).start(port).await {
        Ok(gateway) => gateway,
        Err(error) => return fail(&error),
    };
    greet(&gateway);
    let stopping = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "stopping");
            Box::pin(gateway.stop()) as Pin<Box<dyn Future<Output = ()>>>
        }
        // Whoever started us is gone, or wants its port back.
        () = stdin_closed(), if exit_on_stdin_close => {
            tracing::info!("stopping, because standard input was closed");
            Box::pin(gateway.stop_now())
        }
    };
    // Another signal means that somebody does not want to wait.
    tokio::select! {
        () = stopping => {}
        _ = signals.next() => {}
    }
    ExitCode::SUCCESS
}

/// Resolves when whoever started us is gone, or has closed its end.
async fn stdin_closed() {
    let reading = tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
    let _ = reading.await;
}

/// What a newcomer needs next, ready to paste.
fn greet(gateway: &Gateway) {
    let config = gateway.config();
    let url = gateway.url();
    let addresses: Vec<String> =
        gateway.addresses().iter().map(|address| format!("http://{address}")).collect();
    let event = example_event(&config.events);
    let (authentication, publishing) = (authentication(config), publishing(config));
    // On a terminal the log has just said it.
    let authentication = match authentication.starts_with("WARNING") && log_is_seen_here(config) {
        true => String::new(),
        false => format!("{authentication}\n"),
    };
    let key = if config.publish.every_key().is_empty() {
        ""
    } else {
        "-H 'authorization: Bearer <your publish key>' "
    };
    let mut options = Vec::new();
    if config.socket.path != "/socket.io/" {
        options.push(format!("path: '{}'", config.socket.path));
    }
    if config.auth.strategy != Strategy::None {
        options.push("auth: { token: '<a token of yours>' }".to_owned());
    }
    let options = match options.as_slice() {
        [] => String::new(),
        options => format!(", {{ {} }}", options.join(", ")),
    };
    let text = format!(
        "idae-socket {version} listens on {addresses}
{authentication}{publishing}
{console}
Publish an event:

  curl -d '{{\"rooms\":[\"admin\"],\"payload\":{{\"entity\":\"users\",\"action\":\"update\",\"id\":123}}}}' -H 'content-type: application/json' {key}{url}/{event}

Receive it (npm install socket.io-client; save as listen.mjs; node listen.mjs):

  import {{ io }} from 'socket.io-client';
  const socket = io('{url}'{options});
  socket.on('connect', () => socket.emit('subscribe', 'admin', console.log));
  socket.on('connect_error', (error) => console.log(error.message));
  socket.onAny((event, data) => console.log(event, JSON.stringify(data)));

",
        console = match config.console.unwrap_or_else(|| config.is_loopback()) {
            true => format!("\nSee and send events in a browser:\n\n  {url}/\n"),
            false => String::new(),
        },
        version = env!("CARGO_PKG_VERSION"),
        addresses = addresses.join(" and "),
    );
    // Nobody may be reading; that is no reason to stop.
    let _ = std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush());
}

/// A name that the gateway accepts.
fn example_event(exposed: &[String]) -> String {
    const USUAL: &str = "db-change";
    if exposed.iter().any(|event| event == "*" || event == USUAL) {
        return USUAL.to_owned();
    }
    let is_plain = |event: &&String| !event.contains(['*', ':']);
    let Some(event) = exposed.iter().find(is_plain).or_else(|| exposed.first()) else {
        return USUAL.to_owned();
    };
    let segments = event.split('/').map(|segment| match segment.strip_prefix(':') {
        Some(parameter) => parameter.to_owned(),
        None => segment.replace('*', "example"),
    });
    segments.collect::<Vec<_>>().join("/")
}

fn authentication(config: &Config) -> &'static str {
    if config.auth.strategy != Strategy::None && config.auth.mode == Mode::Soft {
        return "WARNING: auth.mode is \"soft\": a client whose token is not good is let in without identity, and that is logged.";
    }
    match config.auth.strategy {
        Strategy::None => {
            "WARNING: authentication is off (auth.strategy = \"none\"): everybody who reaches this address is let in, to every room."
        }
        Strategy::Jwt => "Clients show a signed token (auth.strategy = \"jwt\").",
        Strategy::Introspection => {
            "Clients show a token that the backend judges (auth.strategy = \"introspection\")."
        }
    }
}

/// Whether whoever reads the greeting has read the log's warnings above it.
fn log_is_seen_here(config: &Config) -> bool {
    std::io::stdout().is_terminal()
        && std::io::stderr().is_terminal()
        && !matches!(config.log.level, Level::Off | Level::Error)
}

fn publishing(config: &Config) -> &'static str {
    if config.publish.every_key().is_empty() {
        "Publishing needs no key and is open to this machine alone; set IDAE_SOCKET_PUBLISH_KEY to publish from elsewhere."
    } else {
        "Publishing needs a key."
    }
}

fn start_log(config: &Config) {
    let level = match config.log.level {
        Level::Off => "off",
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    };
    // Libraries below the gateway are only heard when something is wrong with them.
    let filter = EnvFilter::new(match config.log.level {
        Level::Off | Level::Error => level.to_owned(),
        _ => format!("warn,idae_socket={level},idae_socket_cli={level}"),
    });
    let is_terminal = std::io::stderr().is_terminal();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(Paint::of(&std::io::stderr()).colours());
    // A second subscriber cannot be set; then the first one is as good.
    let _ = match config.log.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Auto if !is_terminal => builder.json().flatten_event(true).try_init(),
        LogFormat::Auto | LogFormat::Text => builder.with_target(false).try_init(),
    };
}

/// The signals by which a process is asked to stop.
#[cfg(unix)]
struct StopSignals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for one and says which it was.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(windows)]
struct StopSignals {
    interrupt: tokio::signal::windows::CtrlC,
    interrupt_all: tokio::signal::windows::CtrlBreak,
    window_closed: tokio::signal::windows::CtrlClose,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::windows::{ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};
        Ok(Self {
            interrupt: ctrl_c()?,
            interrupt_all: ctrl_break()?,
            window_closed: ctrl_close()?,
            shutdown: ctrl_shutdown()?,
        })
    }

    /// Waits for one and says which it was. After the last two Windows waits some seconds, then kills.
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.interrupt_all.recv() => "Ctrl-Break",
            _ = self.window_closed.recv() => "the console was closed",
            _ = self.shutdown.recv() => "the system shuts down",
        }
    }
}

/// Says why nothing came of it.
pub(crate) fn fail(error: &dyn std::fmt::Display) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "idae-socket: {error}");
    ExitCode::FAILURE
}
