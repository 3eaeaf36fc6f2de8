//! `idae-socket check`: what the gateway would do, whether it would start, and whether it is ready.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use idae_socket::config::{Config, Resolved, Strategy};
use idae_socket::{HttpDriver, Judgement, Refusal};
use serde_json::json;

use crate::publish::deepest;
use crate::serve::fail;
use crate::settings::Flags;
use crate::terminal::{REFUSED, UNREACHABLE, USAGE, complain, printable};

/// How long a gateway may take to say whether it is ready.
const READY_TIMEOUT: Duration = Duration::from_secs(3);

/// Flags of `check`.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    settings: Flags,
    /// Say what this token would get its bearer, or why it would be refused; `-` reads it from standard input.
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// Ask the gateway that runs here with these settings whether it takes new work, as a container's health check does
    #[arg(long, conflicts_with = "token")]
    ready: bool,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Prints the settings, or what a token is worth, or whether the gateway is ready. Secrets are masked.
    pub(crate) async fn run(self, others: Flags) -> ExitCode {
        let resolved = match self.settings.clone().over(others).resolve() {
            Ok(resolved) => resolved,
            Err(refused) => return self.fail(&refused),
        };
        if self.ready {
            return self.ask(&resolved.config).await;
        }
        if let Some(token) = &self.token {
            return self.judge(resolved.config, token).await;
        }
        if let Err(error) = HttpDriver::with_config(resolved.config.clone()).check() {
            return self.fail(&error);
        }
        self.print(&self.settings_text(&resolved))
    }

    fn settings_text(&self, resolved: &Resolved) -> String {
        let rows = resolved.explain();
        if self.json {
            let settings: Vec<_> = rows
                .iter()
                .map(|row| json!({ "key": row.key, "value": row.value, "origin": row.origin.to_string() }))
                .collect();
            let warnings: Vec<_> = resolved.warnings.iter().map(ToString::to_string).collect();
            return format!("{}\n", json!({ "settings": settings, "warnings": warnings }));
        }
        let width = rows.iter().map(|row| row.key.len()).max().unwrap_or(0);
        let lines = rows.iter().map(|row| format!("{:width$}  {}  ({})\n", row.key, row.value, row.origin));
        let warnings = resolved.warnings.iter().map(|warning| format!("warning: {warning}\n"));
        lines.chain(warnings).collect()
    }

    async fn ask(&self, config: &Config) -> ExitCode {
        let url = format!("http://{}/readyz", own_address(&config.host, config.port));
        let asked = async {
            let client = reqwest::Client::builder().no_proxy().timeout(READY_TIMEOUT).build()?;
            client.get(&url).send().await
        };
        match asked.await {
            Ok(response) if response.status().is_success() => {
                self.print(if self.json { "{\"status\":\"ok\"}\n" } else { "ready\n" })
            }
            Ok(response) => {
                let error = format!("{url} answers {}: it takes no new work", response.status().as_u16());
                complain(REFUSED, error, None)
            }
            Err(error) => {
                let advice =
                    "is the gateway running? `host` and `port` of the settings say where it is asked";
                complain(UNREACHABLE, format_args!("cannot reach {url}: {}", deepest(&error)), Some(advice))
            }
        }
    }

    async fn judge(&self, config: Config, token: &str) -> ExitCode {
        if config.auth.strategy == Strategy::None {
            let advice = "set `auth.strategy` (IDAE_SOCKET_AUTH_STRATEGY) to `jwt` or `introspection`";
            return complain(USAGE, "`auth.strategy` is `none`: no token is looked at", Some(advice));
        }
        let mut token = token.to_owned();
        if token == "-" {
            token.clear();
            if let Err(error) = std::io::stdin().read_to_string(&mut token) {
                return fail(&error);
            }
        }
        match HttpDriver::with_config(config).judge(token.trim()).await {
            Ok(Ok(judgement)) => self.print(&self.good(&judgement)),
            Ok(Err(refusal)) => {
                self.print(&self.bad(&refusal));
                ExitCode::from(REFUSED)
            }
            Err(error) => fail(&error),
        }
    }

    fn good(&self, judgement: &Judgement) -> String {
        let identity = &judgement.identity;
        if self.json {
            let value = json!({
                "status": "ok", "user": identity.user(), "roles": identity.roles(), "rooms": judgement.rooms,
                "expiresAt": identity.valid_until(),
            });
            return format!("{value}\n");
        }
        let list = |texts: &[String]| match texts {
            [] => "none".to_owned(),
            texts => printable(&texts.join(", ")),
        };
        let user = identity.user().map_or_else(|| "none".to_owned(), printable);
        let expiry = identity.valid_until().map_or_else(|| "never".to_owned(), expiry);
        format!(
            "user     {user}\nroles    {}  (a socket is in these rooms from the start)\nrooms    {}  (it may join these)\nexpires  {expiry}\n",
            list(identity.roles()),
            list(&judgement.rooms)
        )
    }

    fn bad(&self, refusal: &Refusal) -> String {
        let code = refusal.code().as_str();
        if self.json {
            return format!("{}\n", json!({ "status": "error", "code": code, "detail": refusal.reason() }));
        }
        format!("refused  {code}: {refusal}\n")
    }

    /// Says why the gateway would not start.
    fn fail(&self, error: &dyn std::fmt::Display) -> ExitCode {
        if self.json {
            self.print(&format!("{}\n", json!({ "status": "error", "detail": error.to_string() })));
        }
        fail(error)
    }

    fn print(&self, text: &str) -> ExitCode {
        match std::io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        }
    }
}

/// Where a program on the same machine reaches a gateway that listens there. What listens on every address has none
/// of its own.
fn own_address(host: &str, port: u16) -> String {
    match host.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(Ipv4Addr::UNSPECIFIED)) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string(),
        Ok(IpAddr::V6(Ipv6Addr::UNSPECIFIED)) => SocketAddr::from((Ipv6Addr::LOCALHOST, port)).to_string(),
        Ok(address) => SocketAddr::from((address, port)).to_string(),
        Err(_) => format!("{host}:{port}"),
    }
}

/// How long something still counts, and its end in seconds since 1970.
fn expiry(end: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let left = match end.saturating_sub(now) {
        left @ ..120 => format!("{left} s"),
        left @ ..7_200 => format!("{} min", left / 60),
        left @ ..172_800 => format!("{} h", left / 3_600),
        left => format!("{} days", left / 86_400),
    };
    format!("in {left}  (exp {end})")
}
