//! A short run of every fuzz target on stable: its seeds, then a fixed number of their mutations.
//!
//! The generator starts from a constant, so a failure comes again on every machine.

use std::{fs, panic, path::Path};

use idae_socket_fuzz::{TARGETS, THROUGH_A_GATEWAY};

/// About half a second per target without optimisation.
const MUTATIONS: usize = 25_000;
const MUTATIONS_THROUGH_A_GATEWAY: usize = 2_000;

/// Longer inputs only repeat what shorter ones reach under the targets' low limits.
const INPUT_BYTES_MAX: usize = 1024;

/// Where decoders change their mind: lengths, masks and opcodes of frames, marks of packets, JSON and
/// MessagePack.
const TELLING_BYTES: &[u8] = b"\x00\x01\x02\x7d\x7e\x7f\x80\x81\x82\x88\x89\x8a\xfd\xfe\xff\x1e\
    \x92\xa1\xc0\xc4\xc7\xcb\xd4\xd7\xd9\xdc\xde0123456b-/,[]{}\":\\&=%\n";

#[test]
fn every_target_holds_for_its_seeds_and_their_mutations() {
    for (name, target) in TARGETS {
        let seeds = seeds(name);
        for seed in &seeds {
            check(name, *target, seed);
        }
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mutations =
            if THROUGH_A_GATEWAY.contains(name) { MUTATIONS_THROUGH_A_GATEWAY } else { MUTATIONS };
        for _ in 0..mutations {
            let mut input = random.pick(&seeds).clone();
            for _ in 0..=random.below(6) {
                mutate(&mut input, &seeds, &mut random);
            }
            input.truncate(INPUT_BYTES_MAX);
            check(name, *target, &input);
        }
    }
}

#[test]
fn every_target_has_seeds_and_every_corpus_a_target() {
    for entry in fs::read_dir(corpus()).expect("the corpus is part of the repository") {
        let name = entry.expect("a listed folder").file_name();
        assert!(TARGETS.iter().any(|(target, _)| name == *target), "{name:?} is no target");
    }
    for (name, _) in TARGETS {
        assert!(!seeds(name).is_empty(), "{name} has no seeds");
    }
}

fn check(name: &str, target: fn(&[u8]), input: &[u8]) {
    if panic::catch_unwind(|| target(input)).is_err() {
        panic!("{name} fails for this input; it belongs into its corpus: {input:02x?}");
    }
}

fn corpus() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/corpus"))
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = fs::read_dir(corpus().join(name)).expect("every target has a folder in the corpus");
    let mut paths: Vec<_> = folder.map(|entry| entry.expect("a listed file").path()).collect();
    // The order of a listing differs between file systems, the run must not.
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a readable seed")).collect()
}

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    if input.is_empty() {
        input.push(random.byte());
    }
    let at = random.below(input.len());
    match random.below(8) {
        0 => input[at] ^= 1 << random.below(8),
        1 => input[at] = random.byte(),
        2 => input[at] = *random.pick(TELLING_BYTES),
        3 => input.insert(at, *random.pick(TELLING_BYTES)),
        4 => {
            let end = (at + 1 + random.below(8)).min(input.len());
            input.drain(at..end);
        }
        5 => input.truncate(at),
        6 => {
            let end = (at + 1 + random.below(64)).min(input.len());
            let again = input[at..end].to_vec();
            input.splice(at..at, again);
        }
        _ => {
            let other = random.pick(seeds);
            let from = random.below(other.len() + 1);
            input.splice(at.., other[from..].iter().copied());
        }
    }
}

/// Xorshift: enough disorder for a walk through inputs, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn byte(&mut self) -> u8 {
        self.next().to_be_bytes()[0]
    }

    fn below(&mut self, bound: usize) -> usize {
        let high = self.next() >> 32;
        usize::try_from(high).unwrap_or(usize::MAX) % bound
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}
