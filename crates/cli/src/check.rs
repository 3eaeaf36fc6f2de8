//! `idae-socket check`: what the gateway would do, and whether it would start.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use crate::serve::fail;
use crate::settings::Flags;

/// Flags of `check`.
#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    settings: Flags,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Prints the settings. Secrets are masked.
    pub(crate) fn run(self, others: Flags) -> ExitCode {
        let resolved = match self.settings.over(others).resolve() {
            Ok(resolved) => resolved,
            Err(refused) => return fail(&refused),
        };
        let rows = resolved.explain();
        let mut out = std::io::stdout().lock();
        let written = if self.json {
            let settings: Vec<_> = rows
                .iter()
                .map(|row| json!({ "key": row.key, "value": row.value, "origin": row.origin.to_string() }))
                .collect();
            let warnings: Vec<_> = resolved.warnings.iter().map(ToString::to_string).collect();
            writeln!(out, "{}", json!({ "settings": settings, "warnings": warnings }))
        } else {
            let width = rows.iter().map(|row| row.key.len()).max().unwrap_or(0);
            let lines =
                rows.iter().map(|row| format!("{:width$}  {}  ({})\n", row.key, row.value, row.origin));
            let warnings = resolved.warnings.iter().map(|warning| format!("warning: {warning}\n"));
            lines.chain(warnings).try_for_each(|line| out.write_all(line.as_bytes()))
        };
        match written {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error),
        }
    }
}
