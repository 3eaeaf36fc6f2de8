//! Figures for people and for programs.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;

use super::BUSY_SHARE_MAX;
use super::crowd::Crowd;
use super::gateway::Used;
use super::recorder::Figures;
use crate::serve::fail;
use crate::terminal::{Paint, YELLOW};

/// Everything that was measured.
#[derive(Serialize)]
pub(crate) struct Report {
    version: &'static str,
    cores: usize,
    sockets: u32,
    payload_bytes: u32,
    connect: Option<Connect>,
    phases: Vec<Row>,
    warnings: Vec<String>,
}

#[derive(Serialize)]
struct Connect {
    per_s: f64,
    p50_us: u64,
    p99_us: u64,
    /// The gateway's processor time for each socket.
    cpu_us_per_socket: Option<f64>,
    /// The gateway's memory for each socket.
    bytes_per_socket: Option<u64>,
    own_cpu_share: Option<f64>,
}

/// One phase.
#[derive(Serialize)]
pub(crate) struct Row {
    name: &'static str,
    posts: u64,
    posts_per_s: f64,
    expected: u64,
    received: u64,
    received_per_s: f64,
    /// From the begin to the last receipt, which is later than the last POST where a server lags behind.
    received_in_s: f64,
    p50_us: u64,
    p99_us: u64,
    max_us: u64,
    /// The gateway's processor time: for each delivery (paced, offered), for each POST (targeted, mixed), or for
    /// each socket and second (idle). None for mixed.
    cpu_us_per_unit: Option<f64>,
    unit: &'static str,
    gateway_cpu_share: Option<f64>,
    own_cpu_share: Option<f64>,
}

impl Row {
    pub(crate) fn new(
        name: &'static str,
        posts: u64,
        expected: u64,
        figures: Figures,
        busy: Duration,
        used: Used,
        sockets: usize,
    ) -> Self {
        let Figures { received, time, micros } = figures;
        let seconds = busy.as_secs_f64();
        let (unit, units) = match name {
            "paced" | "offered" => ("delivery", received as f64),
            "idle" => ("socket and second", sockets as f64 * seconds),
            "targeted" => ("POST", posts as f64),
            // Most of it is the broadcasts'.
            _ => ("", 0.0),
        };
        Self {
            name,
            posts,
            posts_per_s: posts as f64 / seconds,
            expected,
            received,
            received_per_s: received as f64 / seconds,
            received_in_s: time.as_secs_f64(),
            p50_us: micros.value_at_quantile(0.5),
            p99_us: micros.value_at_quantile(0.99),
            max_us: micros.max(),
            cpu_us_per_unit: used.gateway.filter(|_| units > 0.0).map(|nanos| nanos as f64 / 1e3 / units),
            unit,
            gateway_cpu_share: share(used.gateway, busy),
            own_cpu_share: share(used.own, busy),
        }
    }
}

impl Report {
    pub(crate) fn new(sockets: u32, payload_bytes: u32) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            sockets,
            payload_bytes,
            connect: None,
            phases: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub(crate) fn connect(
        &mut self,
        crowd: &Crowd,
        time: Duration,
        used: Used,
        before: Option<u64>,
        after: Option<u64>,
    ) {
        let count = crowd.len() as f64;
        let own_cpu_share = share(used.own, time);
        self.warn_if_busy("connect", own_cpu_share);
        self.connect = Some(Connect {
            per_s: count / time.as_secs_f64(),
            p50_us: crowd.micros.value_at_quantile(0.5),
            p99_us: crowd.micros.value_at_quantile(0.99),
            cpu_us_per_socket: used.gateway.map(|nanos| nanos as f64 / 1e3 / count),
            bytes_per_socket: before
                .zip(after)
                .map(|(before, after)| after.saturating_sub(before) / crowd.len() as u64),
            own_cpu_share,
        });
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.warn_if_busy(row.name, row.own_cpu_share);
        if row.received < row.expected {
            self.warnings.push(format!(
                "{}: {} of {} deliveries did not come in time",
                row.name,
                row.expected - row.received,
                row.expected
            ));
        }
        self.phases.push(row);
    }

    fn warn_if_busy(&mut self, phase: &str, share: Option<f64>) {
        if let Some(share) = share.filter(|share| *share > BUSY_SHARE_MAX) {
            self.warnings.push(format!(
                "{phase}: the load generator itself used {:.0} % of a core, so the gateway may be able to do more",
                share * 100.0
            ));
        }
    }

    /// Prints it: a table, or one JSON object.
    pub(crate) fn print(&self, as_json: bool) -> ExitCode {
        let text = if as_json {
            // Numbers and strings alone: this cannot fail.
            format!("{}\n", serde_json::to_string(self).unwrap_or_default())
        } else {
            self.table()
        };
        match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        }
    }

    fn table(&self) -> String {
        let mut text = format!(
            "idae-socket {}, {} cores, {} sockets, payloads of {} bytes\n\n",
            self.version, self.cores, self.sockets, self.payload_bytes
        );
        if let Some(connect) = &self.connect {
            text.push_str(&format!(
                "connect   {:.0} sockets/s, p50 {}, p99 {}, {} each, {} each\n\n",
                connect.per_s,
                time(connect.p50_us),
                time(connect.p99_us),
                optional(connect.cpu_us_per_socket, |us| format!("{us:.0} µs of CPU")),
                optional(connect.bytes_per_socket, |bytes| format!("{bytes} bytes")),
            ));
        }
        text.push_str("phase      POST/s   received/s    p50        p99        max        gateway's CPU            cores: gateway, bench\n");
        for row in &self.phases {
            let latency = |us| if row.received == 0 { "-".to_owned() } else { time(us) };
            text.push_str(&format!(
                "{:<9} {:>7.0} {:>12.0}    {:<10} {:<10} {:<10} {:<24} {}, {}\n",
                row.name,
                row.posts_per_s,
                row.received_per_s,
                latency(row.p50_us),
                latency(row.p99_us),
                latency(row.max_us),
                optional(row.cpu_us_per_unit, |us| format!("{us:.2} µs/{}", row.unit)),
                optional(row.gateway_cpu_share, |share| format!("{share:.2}")),
                optional(row.own_cpu_share, |share| format!("{share:.2}")),
            ));
        }
        let paint = Paint::of(&std::io::stdout());
        for warning in &self.warnings {
            text.push_str(&format!("\n{} {warning}\n", paint.paint(YELLOW, "note:")));
        }
        text
    }
}

fn share(nanos: Option<u64>, time: Duration) -> Option<f64> {
    nanos.map(|nanos| nanos as f64 / time.as_nanos().max(1) as f64)
}

fn time(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} µs"),
        1_000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.2} s", us as f64 / 1e6),
    }
}

fn optional<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}
