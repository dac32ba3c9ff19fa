//! A mutation loop. Inputs on which a target behaves as on no other are kept and mutated further: the target says what it
//! saw as a number, which stands in for the coverage that compilers can count. (A coverage-guided fuzzer needs a nightly
//! compiler and a runtime in C++.)

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Mutations of a normal test run.
const USUAL: u64 = 1_000;
/// CPU-seconds to go on for instead.
const SECONDS: &str = "WVA_FUZZ_SECONDS";
/// Seed of the mutations; anything else than the usual finds other inputs.
const SEED: &str = "WVA_FUZZ_SEED";
/// Longest input, bytes; some are made longer by repetition.
const LONGEST: usize = 16 << 10;
/// Most inputs that are kept.
const MOST_KEPT: usize = 4096;
/// Bytes that tend to matter.
const TELLING: [u8; 16] = *b"\0\n\r\t \"\\{}[]:,#=\xff";

/// Numbers that repeat for one seed (SplitMix64).
pub struct Draws(u64);

impl Draws {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// A number for what was seen.
pub fn seen(what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// How large a count is, roughly: behaviour differs between none, one, few and many.
pub fn size(count: usize) -> u32 {
    usize::BITS - count.leading_zeros()
}

/// Cuts an input into pieces as the sizes in `cuts` say, over and over.
pub fn pieces<'a>(mut rest: &'a [u8], cuts: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut cuts = cuts.iter().cycle();
    std::iter::from_fn(move || {
        let length = cuts.next().map_or(rest.len(), |c| usize::from(*c));
        let (piece, after) = rest.split_at(length.clamp(1, rest.len().max(1)).min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    })
}

/// Runs `case` over the seeds of `name` and over mutations of them, with words of its language.
pub fn fuzz(name: &str, words: &[&[u8]], case: impl Fn(&[u8]) -> u64) {
    let mut kept = seeds(name);
    assert!(!kept.is_empty(), "no seeds of {name}");
    let seed = std::env::var(SEED).ok().and_then(|s| s.parse().ok());
    let seconds: Option<f64> = std::env::var(SECONDS).ok().and_then(|s| s.parse().ok());
    let mut draws = Draws(seed.unwrap_or(1));
    let (mut known, mut slowest) = (HashSet::new(), (0.0, 0));
    let (mut runs, seeded) = (0_u64, kept.len());
    let began = cpu_seconds();
    let goes_on = |runs: u64| match seconds {
        Some(seconds) => !runs.is_multiple_of(256) || cpu_seconds() - began < seconds,
        None => runs < USUAL,
    };
    while runs < seeded as u64 || goes_on(runs) {
        let input = match kept.get(runs as usize) {
            Some(seed) if (runs as usize) < seeded => seed.clone(),
            _ => mutated(&kept, words, &mut draws),
        };
        let (at, before) = (Instant::now(), cpu_seconds());
        let outcome = catch_unwind(AssertUnwindSafe(|| case(&input)));
        let took = at.elapsed().as_secs_f64();
        // Whether it computed or only waited for a processor is a question to the kernel.
        if took > slowest.0 {
            let took = cpu_seconds() - before;
            if took > slowest.0 {
                slowest = (took, input.len());
            }
        }
        let Ok(behaviour) = outcome else {
            let file = keep(name, &input);
            panic!("{name}: broken by {}; add it to the seeds", file.display());
        };
        if known.insert(behaviour) && runs >= seeded as u64 && kept.len() < MOST_KEPT {
            kept.push(input);
        }
        runs += 1;
    }
    println!(
        "{name}: {runs} inputs in {:.0} CPU-seconds, {} behaviours from {seeded} seeds, the slowest {:.1} ms for {} bytes",
        cpu_seconds() - began,
        known.len(),
        1e3 * slowest.0,
        slowest.1
    );
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/seeds");
    let files = std::fs::read_dir(folder.join(name)).expect("a folder of seeds");
    let mut files: Vec<PathBuf> = files.map(|f| f.expect("a file").path()).collect();
    files.sort();
    let read = |file: &PathBuf| std::fs::read(file).expect("a seed");
    files.iter().map(read).collect()
}

fn keep(name: &str, input: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let file = folder.join(format!("{name}-{:016x}", seen(input)));
    std::fs::write(&file, input).expect("a file for what broke it");
    file
}

/// CPU time of this thread, by the kernel's account.
fn cpu_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let nanoseconds = text.split(' ').next().and_then(|n| n.parse::<f64>().ok());
    nanoseconds.expect("the kernel accounts for threads") * 1e-9
}

fn mutated(kept: &[Vec<u8>], words: &[&[u8]], draws: &mut Draws) -> Vec<u8> {
    let mut input = kept[draws.below(kept.len())].clone();
    for _ in 0..=draws.below(6) {
        let at = draws.below(input.len() + 1);
        let rest = input.len() - at;
        let most = rest.min(1 << draws.below(10));
        let length = draws.below(most + 1);
        match draws.below(10) {
            0 if rest > 0 => input[at] ^= 1 << draws.below(8),
            1 if rest > 0 => input[at] = TELLING[draws.below(TELLING.len())],
            2 => input.insert(at, draws.next() as u8),
            3 => drop(input.drain(at..at + length)),
            4 => {
                let part = input[at..at + length].repeat(1 + draws.below(3));
                input.splice(at..at, part);
            }
            5 => {
                let other = &kept[draws.below(kept.len())];
                let from = draws.below(other.len() + 1);
                let to = from + draws.below(other.len() - from + 1);
                input.splice(at..at + length, other[from..to].iter().copied());
            }
            6 => input.truncate(at),
            7 if draws.below(8) == 0 => {
                let part = input[at..at + length.min(16)].repeat(draws.below(1 << 12));
                input.splice(at..at, part);
                input.truncate(8 * LONGEST);
                return input;
            }
            _ if !words.is_empty() => {
                let word = words[draws.below(words.len())];
                let over = if draws.below(2) == 0 { 0 } else { length };
                input.splice(at..at + over, word.iter().copied());
            }
            _ => {}
        }
    }
    input.truncate(LONGEST);
    input
}
