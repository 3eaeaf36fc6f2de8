//! `idae-socket bench`: what a gateway does on this machine, measured with real sockets and real POSTs.
//!
//! One thread makes all the load, so what it cannot do shows as its own share of a core: above 80 % the figures
//! say more about the generator than about the gateway, and the report says so.

mod crowd;
mod gateway;
mod publisher;
mod recorder;
mod report;
mod wire;

use std::io::IsTerminal as _;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use self::crowd::Crowd;
use self::gateway::{Cpu, Gateway};
use self::publisher::Publisher;
use self::recorder::Recorder;
use self::report::{Report, Row};
use self::wire::Wire;
use crate::terminal::{REFUSED, complain, unreachable};

/// Own share of a core above which the generator is the bottleneck.
const BUSY_SHARE_MAX: f64 = 0.8;

/// Publishers that wait for their answers at the same time in the targeted phase.
const PUBLISHERS: usize = 16;

/// Measures a gateway.
///
/// Without `--url` it starts a gateway of its own, with default settings, and stops it at the end.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  idae-socket bench
  idae-socket bench --sockets 10000 --seconds 5     # needs `ulimit -n` above 10,000
  idae-socket bench --url http://127.0.0.1:4000 --key \"$KEY\" --only targeted,mixed --json

What is measured:
  connect    opening sockets, each with CONNECT and a subscription; memory per socket
  paced      5 broadcasts a second to all sockets
  offered    as many broadcasts as make 100 a second
  targeted   16 publishers, each waiting for its answer, to one socket at a time
  mixed      200 targeted events a second, while 4 broadcasts a second go to all
  idle       nothing at all: what sockets cost that only stay

Latency is from the begin of a POST to the receipt by a socket. \
CPU is the gateway's, where the system tells it (Linux, and a gateway on this machine).

Exit codes: 0 measured, 1 refused or failed, 2 wrong usage, 3 gateway not reachable")]
pub(crate) struct Bench {
    /// A gateway that runs already
    #[arg(long, value_name = "URL", env = "IDAE_SOCKET_URL", value_parser = gateway::plain_address)]
    url: Option<String>,
    /// Its publish key
    #[arg(long, value_name = "KEY", env = "IDAE_SOCKET_PUBLISH_KEY", hide_env_values = true)]
    key: Option<String>,
    /// The token that the sockets show; it must let them into the rooms `bench:*`
    #[arg(long, value_name = "TOKEN", env = "IDAE_SOCKET_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The gateway's process, for its CPU and memory
    #[arg(long, value_name = "PID", requires = "url")]
    pid: Option<u32>,
    /// How many sockets
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    sockets: u32,
    /// How long each phase takes
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Bytes of a payload
    #[arg(long, value_name = "BYTES", default_value_t = 200, value_parser = clap::value_parser!(u32).range(64..=100_000))]
    size: u32,
    /// Only these phases, with commas: paced, offered, targeted, mixed, idle
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = PHASES)]
    only: Vec<String>,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    wire: Wire,
}

const PHASES: [&str; 5] = ["paced", "offered", "targeted", "mixed", "idle"];

/// Why there is nothing to report.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Nothing answers where the gateway should be.
#[derive(Debug)]
pub(crate) struct Unreachable(std::io::Error);

impl std::fmt::Display for Unreachable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the gateway cannot be reached: {}", self.0)
    }
}

impl std::error::Error for Unreachable {}

/// Everything that a phase needs.
struct Lab {
    gateway: Gateway,
    recorder: Arc<Recorder>,
    crowd: Crowd,
    publisher: Publisher,
    time: Duration,
}

impl Bench {
    pub(crate) async fn run(self) -> ExitCode {
        match self.measure().await {
            Ok(report) => report.print(self.json),
            Err(error) => match (error.downcast_ref::<Unreachable>(), &self.url) {
                (Some(Unreachable(cause)), Some(url)) => unreachable(url, &cause.to_string()),
                _ => complain(REFUSED, error, None),
            },
        }
    }

    async fn measure(&self) -> Result<Report, Failure> {
        let gateway = match &self.url {
            Some(url) => Gateway::at(url, self.pid)?,
            None => Gateway::start().await?,
        };
        let recorder = Arc::new(Recorder::new());
        self.progress("opening sockets");
        let (memory, cpu, begin) = (gateway.memory(), Cpu::now(&gateway), Instant::now());
        let token = self.token.as_deref();
        let count = self.sockets as usize;
        let crowd = Crowd::open(gateway.address(), count, token, &self.wire, &recorder).await?;
        let mut report = Report::new(self.sockets, self.size);
        report.connect(&crowd, begin.elapsed(), cpu.until_now(&gateway), memory, gateway.memory());
        let (key, size) = (self.key.as_deref(), self.size as usize);
        let publisher = Publisher::new(gateway.address(), key, size, &self.wire, &recorder);
        let time = Duration::from_secs(self.seconds);
        let lab = Lab { gateway, recorder, crowd, publisher, time };
        for phase in PHASES {
            if self.only.is_empty() || self.only.iter().any(|only| only == phase) {
                self.progress(phase);
                report.add(lab.phase(phase).await?);
            }
        }
        self.progress("");
        lab.gateway.stop().await;
        Ok(report)
    }

    fn progress(&self, what: &str) {
        let mut stderr = std::io::stderr();
        if stderr.is_terminal() && !self.json {
            let _ = write!(stderr, "\r\x1b[K{what}").and_then(|()| stderr.flush());
        }
    }
}

impl Lab {
    async fn phase(&self, name: &'static str) -> Result<Row, Failure> {
        let phase = self.recorder.begin();
        let (cpu, begin) = (Cpu::now(&self.gateway), Instant::now());
        let all = self.crowd.len() as u64;
        let (mut posts, mut expected) = (0, 0);
        match name {
            "paced" | "offered" => {
                let rate = if name == "paced" { 5 } else { 100 };
                posts = self.publisher.paced(rate, self.time, "bench:all", phase).await?;
                expected = posts * all;
            }
            "targeted" => {
                posts = self.publisher.closed(PUBLISHERS, self.time, self.crowd.len(), phase).await?;
                expected = posts;
            }
            "mixed" => {
                // What goes to all is not counted: the question is how long the others wait for it.
                let broadcasts = self.publisher.paced(4, self.time, "bench:all", 0);
                let targeted = self.publisher.targeted(200, self.time, self.crowd.len(), phase);
                let (broadcasts, targeted) = tokio::join!(broadcasts, targeted);
                broadcasts?;
                posts = targeted?;
                expected = posts;
            }
            _ => tokio::time::sleep(self.time).await,
        }
        let busy = begin.elapsed();
        self.recorder.settle(expected).await;
        let used = cpu.until_now(&self.gateway);
        let figures = self.recorder.end();
        Ok(Row::new(name, posts, expected, figures, busy, used, self.crowd.len()))
    }
}
