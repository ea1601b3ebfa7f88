//! Looking at processes from outside: are their addresses free, are they ready, have they ended.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use postrider_testbed::{Process, Signal};

use super::VANISH;
use super::member::{Member, OPS};
use crate::run::Failed;

/// How long processes may take to end: a node drains for 30 s.
const STOP: Duration = Duration::from_secs(45);
/// How long connecting, asking and each part of an answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes.
const LONGEST: u64 = 1 << 20;

/// Ends processes together, in good order, and kills those that do not.
pub fn end(group: &[(Member, Process)]) -> Result<(), Failed> {
    let begin = Instant::now();
    for (_, process) in group {
        process.signal(Signal::TERM)?;
        process.signal(Signal::CONT)?;
    }
    for (member, process) in group {
        if process.has_ended(STOP.saturating_sub(begin.elapsed())) {
            println!(
                "cluster: {member} ended after {:.1} s",
                begin.elapsed().as_secs_f64()
            );
            continue;
        }
        process.signal(Signal::KILL)?;
        if !process.has_ended(VANISH) {
            return Err(Failed(format!("{member} was killed and does not vanish")));
        }
        println!("cluster: {member} did not end within {STOP:?}: killed");
    }
    Ok(())
}

/// Is every address free that these, none of which runs, will listen on?
pub fn free(members: &[Member]) -> Result<(), Failed> {
    for member in members {
        for address in member.listens() {
            TcpListener::bind(address).map_err(|error| {
                let why = match error.kind() {
                    ErrorKind::AddrInUse => {
                        "somebody else listens there, perhaps a cluster of another directory \
                                             (`ss -ltnp` says who)"
                            .into()
                    }
                    _ => error.to_string(),
                };
                Failed(format!("{member} cannot have {address}: {why}"))
            })?;
        }
    }
    Ok(())
}

/// Asks `/readyz`; why it is not ready.
pub fn ready(member: Member) -> Result<(), String> {
    ask(member, "/readyz").map(drop)
}

/// Asks the balancer whether it sends connections to a process; where it does not.
pub fn in_use(member: Member) -> Result<(), String> {
    let table = ask(Member::Balancer, "/;csv")?;
    let name = member.to_string();
    for line in table.lines() {
        let fields: Vec<&str> = line.split(',').collect();
        if fields.get(1) == Some(&name.as_str()) && !fields.contains(&"UP") {
            return Err(format!("the balancer does not use it for {}", fields[0]));
        }
    }
    Ok(())
}

/// Asks a member's page for operators: the answer, which is an error unless its status is 200.
fn ask(member: Member, path: &str) -> Result<String, String> {
    let said = |error: std::io::Error| error.to_string();
    let address = SocketAddr::from((member.address(), OPS));
    let mut stream = TcpStream::connect_timeout(&address, ANSWER).map_err(said)?;
    stream.set_read_timeout(Some(ANSWER)).map_err(said)?;
    stream.set_write_timeout(Some(ANSWER)).map_err(said)?;
    let question = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    stream.write_all(question.as_bytes()).map_err(said)?;
    let mut answer = Vec::new();
    stream.take(LONGEST).read_to_end(&mut answer).map_err(said)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    if answer.split(' ').nth(1) == Some("200") {
        return Ok(answer);
    }
    Err(answer.lines().last().unwrap_or("no answer").to_owned())
}
