//! What the sockets received, and when.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use hdrhistogram::Histogram;

/// How long a phase waits for what is still on its way after its last POST.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(5);

/// Receives what the sockets hear.
pub(crate) struct Recorder {
    start: Instant,
    /// The phase whose events count; others are late or not meant to be counted.
    phase: AtomicU32,
    received: AtomicU64,
    /// When the phase began and when its last event was received, in microseconds since the start.
    begun_us: AtomicU64,
    last_us: AtomicU64,
    micros: Mutex<Histogram<u64>>,
}

/// What one phase received.
pub(crate) struct Figures {
    pub(crate) received: u64,
    /// From the begin of the phase to the last receipt.
    pub(crate) time: Duration,
    pub(crate) micros: Histogram<u64>,
}

impl Recorder {
    pub(crate) fn new() -> Self {
        Self {
            start: Instant::now(),
            phase: AtomicU32::new(0),
            received: AtomicU64::new(0),
            begun_us: AtomicU64::new(0),
            last_us: AtomicU64::new(0),
            micros: Mutex::new(empty()),
        }
    }

    /// Microseconds since the start, which events carry.
    pub(crate) fn micros(&self) -> u64 {
        self.start.elapsed().as_micros() as u64
    }

    /// A new phase begins. Returns its number, which its events carry.
    pub(crate) fn begin(&self) -> u32 {
        self.received.store(0, Ordering::Relaxed);
        *self.micros.lock() = empty();
        let now = self.micros();
        self.begun_us.store(now, Ordering::Relaxed);
        self.last_us.store(now, Ordering::Relaxed);
        self.phase.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// A socket has received an event.
    pub(crate) fn heard(&self, event: &str) {
        let number = |name: &str| {
            let at = event.find(name)? + name.len();
            let digits = event[at..].split(|c: char| !c.is_ascii_digit()).next()?;
            digits.parse::<u64>().ok()
        };
        let (Some(phase), Some(sent)) = (number("\"p\":"), number("\"t\":")) else { return };
        if phase != u64::from(self.phase.load(Ordering::Relaxed)) {
            return;
        }
        let now = self.micros();
        self.received.fetch_add(1, Ordering::Relaxed);
        self.last_us.store(now, Ordering::Relaxed);
        self.micros.lock().saturating_record(now.saturating_sub(sent).max(1));
    }

    /// Waits until as many have come as are expected, or it takes too long.
    pub(crate) async fn settle(&self, expected: u64) {
        let end = Instant::now() + SETTLE_TIME_MAX;
        while self.received.load(Ordering::Relaxed) < expected && Instant::now() < end {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn end(&self) -> Figures {
        let micros = std::mem::replace(&mut *self.micros.lock(), empty());
        let (begun, last) = (self.begun_us.load(Ordering::Relaxed), self.last_us.load(Ordering::Relaxed));
        let time = Duration::from_micros(last.saturating_sub(begun));
        Figures { received: self.received.load(Ordering::Relaxed), time, micros }
    }
}

/// Three digits, up to a minute.
pub(crate) fn empty() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000, 3).unwrap_or_else(|_| unreachable!("the bounds are good"))
}
