//! How long it takes until a device knows of a message, while many others wait.

use std::net::{Shutdown, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::idle::{idling, room_for};
use crate::compare::imap::Imap;
use crate::compare::letters::Letters;
use crate::compare::rows::{ACCOUNTS, Bench, WATCHERS, Work};
use crate::compare::smtp::Smtp;
use crate::compare::system::{Sample, System};

/// What the row says.
pub const NOTE: &str = "from the final dot on port 25 until the device has `EXISTS`; one message at a time, while the \
                        connections of the row before idle";
/// Messages per round.
const MESSAGES: u64 = 200;
/// A system that needs half a second for each gets fewer, but never under [`FEWEST`].
const LONGEST: Duration = Duration::from_secs(60);
const FEWEST: u64 = 20;
/// How long a device waits; a peer that polls does so every 30 s.
const PATIENCE: Duration = Duration::from_secs(60);

/// Messages to twenty devices in turn.
pub struct Push;

impl Work for Push {
    fn prepare(&mut self, system: &mut System, bench: &Bench) -> Result<()> {
        room_for(bench.idle_on(system))
    }

    fn round(&mut self, system: &mut System, _round: u32, bench: &Bench) -> Result<Sample> {
        let system = &*system;
        // First, so that they are the ones who find the kernel's means of notification free.
        let devices = (WATCHERS..ACCOUNTS)
            .map(|rank| Device::watch(system, rank))
            .collect::<Result<Vec<_>>>()?;
        let others = idling(system, bench.idle_on(system), false)?;
        system.settle();
        let mut latencies = Vec::new();
        let mut sample = system.timed(|| {
            latencies = send(system, &devices)?;
            Ok(latencies.len() as u64)
        })?;
        drop(others);
        latencies.sort_unstable();
        let p99 = latencies.get(latencies.len() * 99 / 100).copied();
        sample.value = p99.unwrap_or_default().as_secs_f64() * 1e3;
        Ok(sample)
    }
}

fn send(system: &System, devices: &[Device]) -> Result<Vec<Duration>> {
    let letters = Letters::new(4 << 10);
    let mut session = Smtp::connect(system.smtp()?)?;
    let (mut latencies, mut content) = (Vec::new(), Vec::new());
    let first = Instant::now();
    for number in 0..MESSAGES {
        if number >= FEWEST && first.elapsed() > LONGEST {
            break;
        }
        let device = &devices[(number % devices.len() as u64) as usize];
        content.clear();
        letters.write(number, &device.address, &mut content);
        content.extend_from_slice(b".\r\n");
        session.begin("alice@crepes.fr", &device.address)?;
        let begin = Instant::now();
        session.content(&content)?;
        session.accepted()?;
        let told = device.told.recv_timeout(PATIENCE);
        let told = told
            .with_context(|| format!("{} was not told of a message within {PATIENCE:?}", device.address))?;
        latencies.push(told.saturating_duration_since(begin));
    }
    session.quit()?;
    Ok(latencies)
}

/// A session in IDLE and the moments when it was told of something.
struct Device {
    address: String,
    told: mpsc::Receiver<Instant>,
    socket: TcpStream,
}

impl Device {
    fn watch(system: &System, rank: u64) -> Result<Self> {
        let mut imap = Imap::login(system, rank)?;
        imap.command("SELECT INBOX")?;
        imap.idle()?;
        let (tell, told) = mpsc::sync_channel(16);
        let socket = imap.breaker()?;
        thread::Builder::new().spawn(move || {
            while imap.wait_for_exists().is_ok() && tell.send(Instant::now()).is_ok() {}
        })?;
        Ok(Self {
            address: system.target.accounts.address(rank),
            told,
            socket,
        })
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        // The thread that reads ends with the connection; one that is closed already is as good.
        let _ = self.socket.shutdown(Shutdown::Both);
    }
}
