//! Every target over its seeds, and over mutations of them for a bounded time.

use std::path::Path;
use std::time::{Duration, Instant};

use postrider_fuzz::TARGETS;

/// How long each target is fed mutations.
const TIME: Duration = Duration::from_secs(5);

/// What means something to one protocol or another.
const SPECIAL: [&[u8]; 8] = [b"\r\n", b"\n", b"\r", b"\0", b".", b"(", b"\"", b"{9+}\r\n"];

#[test]
fn seeds_and_their_mutations_break_no_rule() {
    for target in &TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target.name);
        let mut seeds: Vec<Vec<u8>> = std::fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| std::fs::read(entry.unwrap().path()).unwrap())
            .collect();
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        // The order of a directory is chance; the same run everywhere is worth more.
        seeds.sort_unstable();
        seeds.iter().for_each(|seed| run(target.name, target.run, seed));
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        let (begin, mut count) = (Instant::now(), 0u32);
        while begin.elapsed() < TIME {
            run(target.name, target.run, &mutate(&seeds, &mut random));
            count += 1;
        }
        println!("{}: {} seeds, {count} mutations", target.name, seeds.len());
        assert!(
            count > 100,
            "{}: only {count} runs in {TIME:?}: an input hangs",
            target.name
        );
    }
}

/// A broken rule shows the input that broke it, ready to become a seed.
fn run(name: &str, target: fn(&[u8]), data: &[u8]) {
    if let Err(panic) = std::panic::catch_unwind(|| target(data)) {
        eprintln!("{name} failed over {:?}", String::from_utf8_lossy(data));
        std::panic::resume_unwind(panic);
    }
}

fn mutate(seeds: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut data = random.pick(seeds).clone();
    for _ in 0..1 + random.below(8) {
        let at = random.below(data.len() + 1);
        match random.below(7) {
            0 => drop(data.splice(at..at, [random.below(256) as u8])),
            1 => data.truncate(at),
            2 => {
                let special = random.pick(&SPECIAL);
                data.splice(at..at, special.iter().copied());
            }
            3 if at < data.len() => data[at] ^= 1 << random.below(8),
            4 if at < data.len() => drop(data.remove(at)),
            5 => {
                // A piece of one seed, somewhere in another.
                let other = random.pick(seeds);
                let from = random.below(other.len() + 1);
                let to = from + random.below(other.len() - from + 1);
                data.splice(at..at, other[from..to].iter().copied());
            }
            _ => {
                let end = at + random.below(data.len() - at + 1);
                let piece = data[at..end].repeat(1 + random.below(20));
                data.splice(at..end, piece);
            }
        }
        data.truncate(20_000);
    }
    data
}

/// Xorshift: the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    fn pick<'a, T>(&mut self, list: &'a [T]) -> &'a T {
        &list[self.below(list.len())]
    }
}
