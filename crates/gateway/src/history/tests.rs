use std::time::{Duration, Instant};

use idae_socket_protocol::Sid;
use proptest::prelude::*;

use super::{History, OFFSET_BYTES, Settings};

const SECOND: Duration = Duration::from_secs(1);

fn history(bytes_max: usize) -> History<u64, &'static str> {
    History::new(Settings { window: 120 * SECOND, notice_time: 45 * SECOND, bytes_max })
}

fn push(history: &History<u64, &'static str>, now: Instant) -> u64 {
    history.push(72, now, |position| position).0
}

#[test]
fn offsets_are_read_back_and_those_of_others_are_not() {
    let (history, now) = (history(1 << 20), Instant::now());
    assert_eq!(history.offset(0).len(), OFFSET_BYTES);
    for expected in 1..200 {
        assert_eq!(push(&history, now), expected);
        let offset = String::from_utf8(history.offset(expected).to_vec()).unwrap();
        assert_eq!(history.parse_offset(&offset), Some(expected));
        assert_eq!(history.parse_offset(&offset[1..]), None);
        assert_eq!(history.parse_offset(&format!("{offset}A")), None);
    }
    let ahead = String::from_utf8(history.offset(200).to_vec()).unwrap();
    assert_eq!(history.parse_offset(&ahead), None, "a position that was never given out");
    let other = String::from_utf8(super::tests::history(1).offset(5).to_vec()).unwrap();
    assert_eq!(history.parse_offset(&other), Some(0), "another life, so nothing of this");
    for text in ["", "x", "Q89DCc6", "ö", "AAAAAAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAA.", ".AAAAAAAAAAAAAAA"]
    {
        assert_eq!(history.parse_offset(text), None, "{text}");
    }
}

#[test]
fn only_what_goes_before_its_time_is_told() {
    let (history, now) = (history(1000), Instant::now());
    let push = |now| history.push(72, now, |position| position).1;
    // 200 bytes each.
    assert_eq!([push(now), push(now), push(now), push(now), push(now)], [false; 5]);
    assert!(push(now), "the oldest had to go");
    assert!(!push(now + 1000 * SECOND), "all were old");
}

#[test]
fn pids_cannot_be_made_up() {
    let history = history(1);
    let sid = Sid::from_bytes(rand::random());
    let pid = history.pid(&sid);
    assert_eq!(history.sid_of(&pid), Some(sid));
    assert_eq!(super::tests::history(1).sid_of(&pid), None, "another gateway's");
    let other = history.pid(&Sid::from_bytes(rand::random()));
    let mixed = format!("{sid}.{}", other.split_once('.').unwrap().1);
    for forged in
        [&mixed, &pid[..pid.len() - 1], &format!("{pid}A"), &sid.to_string(), "", ".", &format!("{sid}.")]
    {
        assert_eq!(history.sid_of(forged), None, "{forged}");
    }
}

#[test]
fn who_is_away_comes_back_once_and_in_time() {
    let (history, now) = (history(1 << 20), Instant::now());
    let sid = Sid::from_bytes(rand::random());
    let leave = |what, now| history.leave(sid, what, 100, history.doubt(now), now);
    leave("first", now);
    assert_eq!(history.come_back(&sid, now + 119 * SECOND).map(|away| away.what), Some("first"));
    assert!(history.come_back(&sid, now).is_none());
    leave("second", now);
    assert!(history.come_back(&sid, now + 120 * SECOND).is_none());
    assert!(history.claim(sid, now));
    assert!(!history.claim(sid, now + Duration::from_millis(299)));
    assert!(history.claim(sid, now + Duration::from_millis(300)));
}

#[test]
fn what_had_to_go_is_missed_only_by_those_who_may_not_have_it() {
    let start = Instant::now();
    // Room for ten entries of 72 + 128 bytes.
    let history = history(2_000);
    for step in 0..20 {
        push(&history, start + step * SECOND);
    }
    assert_eq!(history.size(), (10, 2_000));
    // The events 1 to 10 are gone; the last of them was sent at second 9.
    let soon = history.doubt(start + 20 * SECOND);
    assert!(history.reaches(10, soon), "everything behind its position is here");
    assert!(!history.reaches(9, soon), "event 10 may be missing");
    // A connection that lived on for longer than a dead one is noticed has received all of them.
    let late = history.doubt(start + 55 * SECOND);
    assert!(history.reaches(3, late));
}

#[test]
fn age_alone_makes_nobody_a_stranger() {
    let (history, start) = (history(1 << 20), Instant::now());
    push(&history, start);
    let later = start + 1_000 * SECOND;
    push(&history, later);
    assert_eq!(history.size().0, 1, "the first has grown too old");
    // Idle for long, and away for ten seconds.
    let doubt = history.doubt(later - 10 * SECOND);
    assert!(history.reaches(1, doubt) && history.reaches(0, doubt));
    // Somebody whose doubts are older than what is kept has perhaps missed the first.
    assert!(!history.reaches(0, history.doubt(start + 40 * SECOND)));
    assert_eq!(history.after(0, doubt, 10).unwrap().events, [2]);
}

proptest! {
    /// However it is read, what is here comes once and in order.
    #[test]
    fn chunks_are_the_whole(events in 0_u64..60, position in 0_u64..70, max in 1_usize..9, room in 1_usize..80) {
        let (history, now) = (history(room * 200), Instant::now());
        for _ in 0..events {
            push(&history, now);
        }
        let kept = events.min(room as u64);
        let expected: Vec<u64> = (events - kept + 1..=events).filter(|event| *event > position).collect();
        let (mut read, mut at) = (Vec::new(), position);
        loop {
            let chunk = history.after(at, history.doubt(now + 100 * SECOND), max).unwrap();
            read.extend_from_slice(&chunk.events);
            prop_assert!(chunk.events.len() <= max && chunk.position >= at);
            at = chunk.position;
            if at >= history.position() {
                break;
            }
        }
        prop_assert_eq!(read, expected);
    }
}
