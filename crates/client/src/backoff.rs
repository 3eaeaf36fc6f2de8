//! How long to wait before coming back.

use std::time::Duration;

/// The pauses between attempts to connect: growing, bounded, and different for every client, so
/// that a gateway which restarts is not met by all of them at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    /// The pause before the first attempt, without its jitter.
    pub first: Duration,
    /// No pause is longer, jitter included.
    pub max: Duration,
    /// By how much each pause is longer than the one before.
    pub factor: f64,
    /// How far a pause may be off, up or down, as a share of itself: 0.5 is ± 50 %.
    pub jitter: f64,
    /// How many attempts in a row may fail before the driver gives up; `None` is without end.
    pub attempts: Option<u32>,
}

/// Longer is as good as never, and no date that a clock can hold.
const PAUSE_MAX: Duration = Duration::from_hours(24 * 365);

impl Default for Backoff {
    /// What the JavaScript client does: 1 s, doubled up to 5 s, ± 50 %, without end.
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            max: Duration::from_secs(5),
            factor: 2.0,
            jitter: 0.5,
            attempts: None,
        }
    }
}

impl Backoff {
    /// Never comes back by itself.
    pub fn never() -> Self {
        Self { attempts: Some(0), ..Self::default() }
    }

    /// The pause before attempt `attempt` (the first is 0); `None` when there is none any more.
    /// `random` is even between 0 and 1.
    pub(crate) fn pause(&self, attempt: u32, random: f64) -> Option<Duration> {
        if self.attempts.is_some_and(|attempts| attempt >= attempts) {
            return None;
        }
        let max = self.max.min(PAUSE_MAX).as_secs_f64();
        let grown = self.first.as_secs_f64() * self.factor.powf(f64::from(attempt));
        let jitter = self.jitter.clamp(0.0, 1.0);
        let pause = grown.min(max) * (1.0 + jitter * (2.0 * random - 1.0));
        // Factors that are no sensible numbers end at the longest pause, never in a busy loop.
        let pause = if pause.is_finite() { pause.clamp(0.0, max) } else { max };
        Some(Duration::from_secs_f64(pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(attempt: u32, random: f64, expected_ms: u64) {
        assert_eq!(Backoff::default().pause(attempt, random), Some(Duration::from_millis(expected_ms)));
    }

    #[test]
    fn pauses_grow_up_to_the_longest() {
        check(0, 0.5, 1000);
        check(1, 0.5, 2000);
        check(2, 0.5, 4000);
        check(3, 0.5, 5000);
        check(4_000_000_000, 0.5, 5000);
    }

    #[test]
    fn jitter_goes_both_ways_and_never_past_the_longest() {
        check(0, 0.0, 500);
        check(0, 1.0, 1500);
        check(9, 0.0, 2500);
        check(9, 1.0, 5000);
    }

    #[test]
    fn attempts_run_out() {
        let twice = Backoff { attempts: Some(2), ..Backoff::default() };
        assert!(twice.pause(1, 0.5).is_some());
        assert_eq!(twice.pause(2, 0.5), None);
        assert_eq!(Backoff::never().pause(0, 0.5), None);
    }

    #[test]
    fn senseless_factors_give_the_longest_pause() {
        for factor in [f64::NAN, f64::INFINITY] {
            let odd = Backoff { factor, ..Backoff::default() };
            assert_eq!(odd.pause(3, 0.5), Some(Duration::from_secs(5)), "{factor}");
        }
    }
}
