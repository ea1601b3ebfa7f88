//! What can be known to go wrong before a run begins: told at once, in words that say what to do.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, bail};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::profile::{Actor, Profile};
use crate::target::Target;

const PATIENCE: Duration = Duration::from_secs(5);

/// Files that are open beside clients' connections.
const OTHER_FILES: u64 = 64;

/// Leaves out actors that the target has no address for, raises the limit of open files, and tries the addresses that
/// are left. Returns what a person should know although the run can begin.
pub async fn check(profile: &mut Profile, target: &Target, part: (u32, u32)) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if target.accounts.count == 0 {
        bail!("the target has no accounts: accounts.count is 0");
    }
    profile.actors.retain(|actor| {
        let (key, address) = address(actor, target);
        if address.is_none() {
            warnings.push(format!(
                "the target names no address for {key}: {} is left out",
                actor.kind()
            ));
        }
        address.is_some()
    });
    if profile.actors.is_empty() {
        bail!("nobody is left to act: the target names none of the addresses that the profile needs");
    }
    let outbound = |actor: &Actor| matches!(actor, Actor::Submission(sender) if sender.remote_share > 0.0);
    if target.remote_domains.is_empty() && profile.actors.iter().any(outbound) {
        warnings.push("the target names no remote_domains: no mail goes out".to_owned());
    }
    warnings.extend(open_files(profile, part));
    for actor in &profile.actors {
        if let (key, Some(address)) = address(actor, target) {
            reach(key, address).await?;
        }
    }
    Ok(warnings)
}

fn address(actor: &Actor, target: &Target) -> (&'static str, Option<SocketAddr>) {
    match actor {
        Actor::Mx(_) => ("smtp", target.smtp),
        Actor::Submission(_) => ("submission", target.submission),
        Actor::ImapDevice(_) => ("imap", target.imap),
        Actor::Pop3Poller(_) => ("pop3", target.pop3),
    }
}

async fn reach(key: &str, address: SocketAddr) -> Result<()> {
    match timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
            bail!("nobody listens at {address} ({key} in the target): is the server running?")
        }
        Ok(Err(error)) => bail!("{address} ({key} in the target) cannot be reached: {error}"),
        Err(_) => bail!("{address} ({key} in the target) does not answer within 5 s"),
    }
}

/// Raises the soft limit of open files to the hard one; warns when the profile's clients do not fit.
fn open_files(profile: &Profile, (_, parts): (u32, u32)) -> Option<String> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let allowed = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let clients: u64 = profile.actors.iter().map(clients).sum();
    let needed = clients / u64::from(parts.max(1)) + OTHER_FILES;
    let allowed = allowed.filter(|allowed| *allowed < needed)?;
    Some(format!(
        "at most {allowed} files may be open here, and the profile may need {needed}: raise it with `ulimit -n {needed}`"
    ))
}

fn clients(actor: &Actor) -> u64 {
    u64::from(match actor {
        Actor::Mx(sender) | Actor::Submission(sender) => sender.connections,
        Actor::ImapDevice(devices) => devices.population,
        Actor::Pop3Poller(pollers) => pollers.connections,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(addresses: &str) -> Target {
        let text = format!(
            "name = \"a\"\n{addresses}\n[accounts]\ndomain = \"a.test\"\npattern = \"u{{}}\"\ncount = 1\npassword = \"x\"\n"
        );
        toml::from_str(&text).expect("a target")
    }

    #[tokio::test]
    async fn actors_without_an_address_are_left_out() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("bound");
        let mut profile = Profile::load("smoke").expect("shipped");
        let target = target(&format!("smtp = \"{address}\""));
        let warnings = check(&mut profile, &target, (1, 1)).await.expect("one is left");
        assert_eq!(profile.actors.len(), 1);
        assert_eq!(warnings.len(), 3, "{warnings:?}");
        assert!(warnings[0].contains("submission is left out"), "{warnings:?}");
    }

    #[tokio::test]
    async fn nobody_listening_is_said() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("bound");
        drop(listener);
        let mut profile = Profile::load("smoke").expect("shipped");
        let target = target(&format!("smtp = \"{address}\""));
        let error = check(&mut profile, &target, (1, 1)).await.expect_err("nobody");
        assert!(error.to_string().contains("is the server running?"), "{error}");
    }
}
