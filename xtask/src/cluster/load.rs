//! A cluster to be loaded: nothing limits it but the machine, its mail for elsewhere goes to the generator's sink, and a file says
//! to `postrider-loadtest compare` where it is and which processes are its own.

use std::fmt::Write as _;
use std::fs;

use super::member::{Member, PUBLIC};
use super::{Cluster, DOMAIN, PASSWORD, failed};
use crate::run::Failed;

/// Accounts `user0` and so on: as many as `compare` wants.
const ACCOUNTS: u32 = 100;
/// Domains `far0.example` and so on, and where `compare` has its sink unless told otherwise.
const REMOTE: u32 = 100;
const SINK: &str = "127.0.64.2:2525";

/// What stands in the configuration of each process beside the usual.
pub fn configuration() -> String {
    let mut text = String::from(
        "\n[limits]\nconnections_per_address = 0\nconnections_per_account = 0\nmessages_per_connection = 1000000000\n\
         submitted_per_hour = 0\nlogin = \"5m\"\n\n[outbound.routes]\n",
    );
    for number in 0..REMOTE {
        let _ = writeln!(text, "\"far{number}.example\" = \"{SINK}\"");
    }
    text
}

impl Cluster {
    /// Opens the accounts and writes the target file.
    pub(super) fn prepare_load(&self) -> Result<(), Failed> {
        let known = self.postrider(&["account", "list", "--json"], "")?;
        for number in 0..ACCOUNTS {
            let address = format!("user{number}@{DOMAIN}");
            if !known.contains(&format!("\"{address}\"")) {
                self.postrider(&["account", "add", &address, "--password-stdin"], PASSWORD)?;
            }
        }
        let path = self.home.join("target.toml");
        fs::write(&path, self.target()?).map_err(|error| failed(&path, &error))?;
        println!("to load it: postrider-loadtest compare --peer {}", path.display());
        Ok(())
    }

    /// Process ids are those of now: after a restart of one, `up` writes the file again.
    fn target(&self) -> Result<String, Failed> {
        let pid = |member: Member| Some(self.process(member)?.pid.to_string());
        let (balancer, own): (Vec<Member>, Vec<Member>) = Member::all()
            .into_iter()
            .partition(|member| matches!(member, Member::Balancer));
        let own: Vec<String> = own.into_iter().filter_map(pid).collect();
        let engines = self.testbed.status().into_iter().filter_map(|engine| engine.pid);
        let mut engines: Vec<String> = engines.map(|pid| pid.to_string()).collect();
        engines.extend(balancer.into_iter().filter_map(pid));
        let wanted = ["smtp", "submission", "imap", "pop3"];
        let ports: String = Member::public_ports()
            .filter(|port| wanted.contains(&port.name))
            .map(|port| format!("{} = \"{PUBLIC}:{}\"\n", port.name, port.number))
            .collect();
        let domains: Vec<String> = (0..REMOTE)
            .map(|number| format!("\"far{number}.example\""))
            .collect();
        let version = self.postrider(&["--version"], "")?;
        Ok(format!(
            "name = \"Cluster of {}\"\n{ports}tls = \"never\"\nprocesses = [{}]\nengines = [{}]\nremote_domains = [{}]\n\n\
             [accounts]\ndomain = \"{DOMAIN}\"\npattern = \"user{{}}\"\ncount = {ACCOUNTS}\npassword = \"{PASSWORD}\"\n",
            version.trim(),
            own.join(", "),
            engines.join(", "),
            domains.join(", "),
        ))
    }
}
