//! The gateway that is measured: one of our own, or one that runs already.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{Failure, Unreachable};

const START_TIME_MAX: Duration = Duration::from_secs(10);
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
const PAGE_BYTES: u64 = 4_096;

pub(crate) struct Gateway {
    address: SocketAddr,
    pid: Option<u32>,
    child: Option<Child>,
}

impl Gateway {
    /// A gateway that runs already.
    pub(crate) fn at(url: &str, pid: Option<u32>) -> Result<Self, Failure> {
        use std::net::ToSocketAddrs as _;
        let host = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        let with_port = if host.rsplit_once(':').is_some() { host.to_owned() } else { format!("{host}:80") };
        let address =
            with_port.to_socket_addrs().map_err(Unreachable)?.next().ok_or("the host has no address")?;
        Ok(Self { address, pid, child: None })
    }

    /// A gateway of our own, with default settings whatever is configured here.
    #[allow(clippy::disallowed_methods, reason = "the environment is read to keep it from the gateway")]
    pub(crate) async fn start() -> Result<Self, Failure> {
        let mut command = Command::new(std::env::current_exe()?);
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("IDAE_SOCKET_") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .args(["serve", "--port", "0", "--exit-on-stdin-close", "--set", "log.level=error"])
            .args(["--set", "socket.connections_per_address_max=1000000"])
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("the gateway has no output")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(START_TIME_MAX, lines.next_line()).await??.ok_or("the gateway did not start")?;
        let address = line.split("http://").nth(1).and_then(|rest| rest.split_whitespace().next());
        let address = address.ok_or("the gateway did not say where it listens")?.parse()?;
        // Nobody else reads what it prints.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        let pid = child.id();
        Ok(Self { address, pid, child: Some(child) })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes in memory, if the system tells.
    pub(crate) fn memory(&self) -> Option<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid?)).ok()?;
        Some(statm.split_whitespace().nth(1)?.parse::<u64>().ok()? * PAGE_BYTES)
    }

    /// Stops a gateway of our own.
    pub(crate) async fn stop(mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.stdin.take());
            if timeout(STOP_TIME_MAX, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }
}

/// An address without a path, which is what the sockets can be opened at.
pub(crate) fn plain_address(url: &str) -> Result<String, &'static str> {
    match url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/') {
        host if host.is_empty() || host.contains('/') => Err("write http://host:port"),
        _ => Ok(url.to_owned()),
    }
}

/// Processor time at some moment: the gateway's and our own.
pub(crate) struct Cpu {
    gateway: Option<u64>,
    own: Option<u64>,
}

/// Processor time that was used in between, in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used {
    pub(crate) gateway: Option<u64>,
    pub(crate) own: Option<u64>,
}

impl Cpu {
    pub(crate) fn now(gateway: &Gateway) -> Self {
        Self { gateway: gateway.pid.and_then(nanos), own: nanos(std::process::id()) }
    }

    pub(crate) fn until_now(&self, gateway: &Gateway) -> Used {
        let now = Self::now(gateway);
        let between = |before: Option<u64>, now: Option<u64>| Some(now?.saturating_sub(before?));
        Used { gateway: between(self.gateway, now.gateway), own: between(self.own, now.own) }
    }
}

/// The processor time of all threads of a process, if the system tells.
fn nanos(pid: u32) -> Option<u64> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let mut sum = 0;
    for thread in threads {
        let schedstat = std::fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        sum += schedstat.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(sum)
}
