//! What the subcommands have in common towards a terminal: exit codes, colours, one way to complain.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;

/// The gateway refused.
pub(crate) const REFUSED: u8 = 1;
/// The command line, or what it names, cannot be used. clap's own number.
pub(crate) const USAGE: u8 = 2;
/// The gateway could not be reached.
pub(crate) const UNREACHABLE: u8 = 3;

pub(crate) const RED: &str = "31";
pub(crate) const GREEN: &str = "32";
pub(crate) const YELLOW: &str = "33";
pub(crate) const CYAN: &str = "36";
pub(crate) const DIM: &str = "2";

/// Colours one stream's text, if the stream is a terminal that wants it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paint {
    colours: bool,
}

impl Paint {
    pub(crate) fn of(stream: &impl IsTerminal) -> Self {
        // https://no-color.org: any value but the empty one.
        let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { colours: stream.is_terminal() && !unwanted }
    }

    pub(crate) const fn colours(self) -> bool {
        self.colours
    }

    pub(crate) fn paint(self, colour: &str, text: impl Display) -> String {
        if self.colours { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// Writes a line to stderr. Nobody can be told when that fails.
pub(crate) fn note(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Writes an error, and what to do about it, to stderr.
pub(crate) fn complain(code: u8, error: impl Display, advice: Option<&str>) -> ExitCode {
    let paint = Paint::of(&std::io::stderr());
    note(format_args!("{} {error}", paint.paint(RED, "error:")));
    if let Some(advice) = advice {
        note(format_args!("{} {advice}", paint.paint(CYAN, "help:")));
    }
    ExitCode::from(code)
}

/// Says that nothing that could be understood answered at this address.
pub(crate) fn unreachable(url: &str, cause: &str) -> ExitCode {
    // rustls's words for an answer that is no TLS.
    let (cause, advice) = if cause.contains("InvalidContentType") {
        (
            "no TLS is spoken there",
            "the gateway itself speaks plain HTTP: write http://, or give the address of its proxy",
        )
    } else {
        (cause, "is the gateway running? --url, or IDAE_SOCKET_URL, says where")
    };
    complain(UNREACHABLE, format_args!("cannot reach {}: {}", printable(url), printable(cause)), Some(advice))
}

/// Text of a peer for a terminal: control characters could move the cursor or hide what was printed.
pub(crate) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}
