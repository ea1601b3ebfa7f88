//! A report as a run of ten minutes makes one: a morning at an office, the server killed in the middle.
//!
//! Made by a function, not kept as a file: seeded, so every run of the tests sees the same one.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Serializer, V2DeflateSerializer};
use postrider_loadtest::ledger::{Findings, Verdict};
use postrider_loadtest::operation::Operation;
use postrider_loadtest::profile::Profile;
use postrider_loadtest::report::data::{
    Environment, Knee, KneeStep, Mark, Measured, Point, ProcessSeries, Report, Run, Sample, Second,
};
use postrider_loadtest::report::histogram;

/// A small generator of numbers: xorshift.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// How many arrive when so many are to be expected.
    fn arrivals(&mut self, mean: f64) -> u64 {
        let (mut number, mut product) = (0, self.roll());
        let floor = (-mean).exp();
        while product > floor && number < 10_000 {
            product *= self.roll();
            number += 1;
        }
        number
    }

    /// Skewed as latencies are: most near the middle, a few far away.
    fn latency(&mut self, middle: f64) -> u64 {
        let normal: f64 = (0..6).map(|_| self.roll()).sum::<f64>() - 3.0;
        let tail = if self.roll() > 0.985 { 6.0 } else { 1.0 };
        (middle * (normal * 0.6).exp() * tail) as u64 + 40
    }
}

const SECONDS: u32 = 600;
const KILLED: u32 = 300;
const AGAIN: u32 = 303;

/// What an operation looks like: how many per second at most, and its usual latency in microseconds.
const SHAPES: [(Operation, f64, f64); 19] = [
    (Operation::MxConnect, 12.0, 900.0),
    (Operation::MxMessage, 120.0, 4_200.0),
    (Operation::SubmitConnect, 3.0, 22_000.0),
    (Operation::SubmitMessage, 30.0, 5_100.0),
    (Operation::Outbound, 20.0, 41_000.0),
    (Operation::ImapPush, 90.0, 6_000.0),
    (Operation::ImapLogin, 1.5, 24_000.0),
    (Operation::ImapSelect, 1.2, 700.0),
    (Operation::ImapResync, 0.4, 900.0),
    (Operation::ImapFetch, 90.0, 650.0),
    (Operation::ImapBody, 60.0, 800.0),
    (Operation::ImapStore, 8.0, 2_900.0),
    (Operation::ImapMove, 2.0, 4_400.0),
    (Operation::ImapSearch, 0.7, 8_000.0),
    (Operation::ImapAppend, 0.5, 5_000.0),
    (Operation::Pop3Login, 2.0, 23_000.0),
    (Operation::Pop3List, 2.0, 500.0),
    (Operation::Pop3Retrieve, 14.0, 600.0),
    (Operation::Pop3Update, 2.0, 2_000.0),
];

/// The report. `broken` makes the ledger find losses.
pub fn report(broken: bool) -> Report {
    static KEPT: OnceLock<Report> = OnceLock::new();
    Report {
        ledger: Some(verdict(broken)),
        ..KEPT.get_or_init(made).clone()
    }
}

fn made() -> Report {
    let mut dice = Dice(0x1d87_2b41_55aa_93c7);
    let operations = SHAPES
        .into_iter()
        .map(|(operation, rate, middle)| (operation, measured(&mut dice, rate, middle)))
        .collect();
    Report {
        format: 1,
        run: Run {
            system: "Postrider 0.1.0 <embedded>".into(),
            command: "postrider-loadtest run --target target.toml --profile office --seed 20260517".into(),
            started: "2026-05-17T07:30:00+02:00".into(),
            seconds: f64::from(SECONDS),
            seed: 20_260_517,
            part: (1, 1),
            generator: "0.1.0".into(),
        },
        environment: Environment {
            system: "Linux 6.12.30, Debian GNU/Linux 13 (trixie)".into(),
            processor: "AMD EPYC 9354P 32-Core Processor".into(),
            cores: 8,
            memory: 33_400_000_000,
            file_system: Some("ext4 on /var/lib/postrider".into()),
        },
        profile: profile(),
        operations,
        processes: processes(&mut dice),
        gauges: gauges(&mut dice),
        marks: vec![
            mark(300.0, "killed (SIGKILL)"),
            mark(300.4, "started again"),
            mark(450.0, "stopped (SIGSTOP)"),
            mark(452.0, "continued (SIGCONT)"),
        ],
        ledger: None,
        knee: Some(knee()),
    }
}

fn profile() -> Profile {
    toml::from_str(
        r#"
        name = "office"
        about = "A company's morning: mail in, mail out, devices that watch and read."
        duration = "10m"
        [[actor]]
        kind = "mx"
        connections = 20
        rate = [{ for = "2m", from = 10, to = 120 }, { for = "8m", at = 120 }]
        [[actor]]
        kind = "imap-device"
        population = 400
        "#,
    )
    .expect("a profile")
}

fn measured(dice: &mut Dice, rate: f64, middle: f64) -> Measured {
    let mut all = Histogram::<u64>::new(2).expect("two digits");
    let mut measured = Measured::default();
    for at in 0..SECONDS {
        let ramp = (f64::from(at) / 120.0).clamp(0.1, 1.0);
        let offered = dice.arrivals(rate * ramp);
        let down = (KILLED..AGAIN).contains(&at);
        let slow = if (AGAIN..AGAIN + 6).contains(&at) || (450..453).contains(&at) {
            30.0
        } else {
            1.0
        };
        let mut histogram = Histogram::<u64>::new(2).expect("two digits");
        let (mut done, mut failed) = (0, 0);
        for _ in 0..offered {
            if down || dice.roll() > 0.9996 {
                failed += 1;
                continue;
            }
            done += 1;
            histogram.record(dice.latency(middle * slow)).expect("it resizes");
        }
        measured.offered += offered;
        measured.done += done;
        measured.broken += if down { failed } else { 0 };
        measured.deferred += if down { 0 } else { failed };
        all.add(&histogram).expect("it resizes");
        measured.seconds.push(Second {
            at,
            offered,
            done,
            failed,
            latency: if done > 0 {
                histogram::latency(&histogram)
            } else {
                Default::default()
            },
            histogram: encoded(&histogram),
        });
    }
    measured.latency = histogram::latency(&all);
    measured.histogram = encoded(&all);
    measured
}

fn encoded(histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a vector takes it");
    STANDARD.encode(bytes)
}

fn processes(dice: &mut Dice) -> Vec<ProcessSeries> {
    let mut series = |name: &str, cpu: f64, resident: f64, threads: u32| {
        let samples: Vec<Sample> = (0..SECONDS)
            .map(|at| {
                let ramp = (f64::from(at) / 120.0).clamp(0.1, 1.0);
                let up = name == "generator" || !(KILLED..AGAIN).contains(&at);
                Sample {
                    at: f64::from(at),
                    cpu: if up {
                        cpu * ramp * (0.85 + 0.3 * dice.roll())
                    } else {
                        0.0
                    },
                    resident: if up {
                        (resident * (0.6 + 0.4 * ramp) * (0.98 + 0.04 * dice.roll())) as u64
                    } else {
                        0
                    },
                    threads: if up { threads } else { 0 },
                    files: if up { 480 + (dice.roll() * 30.0) as u32 } else { 0 },
                }
            })
            .collect();
        ProcessSeries {
            name: name.into(),
            cpu_seconds: samples.iter().map(|sample| sample.cpu).sum(),
            samples,
        }
    };
    vec![
        series("server", 1.4, 180e6, 14),
        series("generator", 0.25, 60e6, 9),
    ]
}

fn gauges(dice: &mut Dice) -> BTreeMap<String, Vec<Point>> {
    let mut gauge = |base: f64, peak: f64| -> Vec<Point> {
        (0..SECONDS)
            .map(|at| {
                let since = (f64::from(at) - f64::from(KILLED)).max(0.0);
                let wave = if since > 0.0 {
                    peak * (-since / 25.0).exp()
                } else {
                    0.0
                };
                Point {
                    at: f64::from(at),
                    value: (base * dice.roll() + wave).round(),
                }
            })
            .collect()
    };
    let gauges = [
        ("postrider_queue_depth{state=\"ready\"}", 12.0, 900.0),
        ("postrider_imap_sessions", 400.0, 0.0),
    ];
    gauges
        .into_iter()
        .map(|(name, base, peak)| (name.to_owned(), gauge(base, peak)))
        .collect()
}

fn knee() -> Knee {
    let step = |factor: f64, achieved: f64, p99: u64, errors: f64| KneeStep {
        factor,
        offered: 380.0 * factor,
        achieved,
        p99,
        errors,
        cpu: (0.35 * factor).min(7.8),
        held: p99 <= 250_000 && errors <= 0.001,
    };
    Knee {
        p99_bound: 250_000,
        error_bound: 0.001,
        steps: vec![
            step(1.0, 380.0, 9_100, 0.0),
            step(2.0, 760.0, 11_400, 0.0),
            step(4.0, 1_520.0, 19_000, 0.0),
            step(8.0, 3_020.0, 61_000, 0.0001),
            step(16.0, 4_280.0, 4_900_000, 0.021),
            step(12.0, 4_210.0, 820_000, 0.003),
            step(10.0, 3_790.0, 140_000, 0.0004),
            step(11.0, 4_090.0, 330_000, 0.0006),
        ],
        messages_per_second: 1_480.0,
        users: 46_000,
    }
}

fn mark(at: f64, what: &str) -> Mark {
    Mark {
        at,
        what: what.into(),
    }
}

fn verdict(broken: bool) -> Verdict {
    let lost = Findings {
        count: 1_003,
        examples: (0..1_000)
            .map(|number| format!("3fa91c02-{number:x} user{}@hamburger.edu: nowhere", number % 400))
            .collect(),
    };
    Verdict {
        promised: 96_401,
        found: if broken { 95_398 } else { 96_401 },
        unpromised: 17,
        returned: 3,
        lost: if broken { lost } else { Findings::default() },
        ..Verdict::default()
    }
}
