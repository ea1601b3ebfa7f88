//! Who is in the cluster: names, addresses and configuration. The one place that says where a process listens.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use crate::run::Failed;

/// What other parts reach the balancer by.
pub const PUBLIC: Ipv4Addr = Ipv4Addr::new(127, 64, 0, 1);
/// The name of the mail server that the cluster is together.
pub const HOST: &str = "mx.hamburger.edu";
/// Where a member says whether it is ready; the balancer has its page of figures there as well.
pub const OPS: u16 = 9625;
/// Between roles.
const RPC: u16 = 7025;
/// For commands, with the token in the member's data directory.
const ADMIN: u16 = 7026;
/// What the cluster calls its keyspace, topics and keys, so that tests on the same engines are not in its way.
const PREFIX: &str = "postrider_cluster";
/// Processes of each role.
const EACH: u8 = 2;

/// A public port: its name in the configuration, its number, and what a person wants to know about it.
pub struct Port {
    pub name: &'static str,
    pub number: u16,
    pub about: &'static str,
}

/// What a process does.
pub struct Role {
    name: &'static str,
    ports: &'static [Port],
}

/// One process: `mail-store-2`, `balancer`.
#[derive(Clone, Copy)]
pub enum Member {
    /// HAProxy, the one address that clients know.
    Balancer,
    /// A role of Postrider: which one of [`ROLES`], and which process of it, from 1.
    Process(usize, u8),
}

const fn port(name: &'static str, number: u16, about: &'static str) -> Port {
    Port { name, number, about }
}

/// Those that serve the others come first; they end last.
const ROLES: [Role; 6] = [
    Role {
        name: "directory",
        ports: &[],
    },
    Role {
        name: "mail-store",
        ports: &[],
    },
    Role {
        name: "delivery-worker",
        ports: &[],
    },
    Role {
        name: "smtp-ingress",
        ports: &[
            port("smtp", 2525, "SMTP, mail from other servers"),
            port("submission", 2587, "SMTP, mail from users, STARTTLS"),
            port("submissions", 2465, "SMTP, mail from users, TLS"),
        ],
    },
    Role {
        name: "imap-gateway",
        ports: &[
            port("imap", 2143, "IMAP, STARTTLS"),
            port("imaps", 2993, "IMAP, TLS"),
        ],
    },
    Role {
        name: "pop3-gateway",
        ports: &[port("pop3", 2110, "POP3, STLS"), port("pop3s", 2995, "POP3, TLS")],
    },
];

impl Member {
    /// Everybody, in the order of start: who is needed by others comes first, the balancer last.
    pub fn all() -> Vec<Self> {
        let processes =
            (0..ROLES.len()).flat_map(|role| (1..=EACH).map(move |number| Self::Process(role, number)));
        processes.chain([Self::Balancer]).collect()
    }

    /// The member of that name.
    pub fn named(name: &str) -> Result<Self, Failed> {
        let all = Self::all();
        let found = all.iter().find(|member| member.to_string() == name);
        found.copied().ok_or_else(|| {
            let names: Vec<String> = all.iter().map(Self::to_string).collect();
            Failed(format!(
                "cluster: nobody is called `{name}`: {}",
                names.join(", ")
            ))
        })
    }

    /// The process whose listener for commands is used.
    pub fn first_ingress() -> Self {
        let role = ROLES.iter().position(|role| role.name == "smtp-ingress");
        Self::Process(role.unwrap_or_default(), 1)
    }

    /// Every public port.
    pub fn public_ports() -> impl Iterator<Item = &'static Port> {
        ROLES.iter().flat_map(|role| role.ports)
    }

    /// The address that is its own.
    pub fn address(self) -> Ipv4Addr {
        match self {
            Self::Balancer => PUBLIC,
            // There are few roles: the number of one fits.
            Self::Process(role, number) => {
                Ipv4Addr::new(127, 64, u8::try_from(role + 1).unwrap_or(u8::MAX), number)
            }
        }
    }

    /// Everything it listens on.
    pub fn listens(self) -> Vec<SocketAddr> {
        let ports: Vec<u16> = match self {
            Self::Balancer => Self::public_ports()
                .map(|port| port.number)
                .chain([OPS])
                .collect(),
            Self::Process(role, _) => {
                let public = ROLES[role].ports.iter().map(|port| port.number);
                public.chain([RPC, ADMIN, OPS]).collect()
            }
        };
        ports
            .into_iter()
            .map(|port| (self.address(), port).into())
            .collect()
    }

    /// Whether clients of the cluster, not other roles, are who it serves. Those end first.
    pub fn is_front(self) -> bool {
        match self {
            Self::Balancer => true,
            Self::Process(role, _) => !ROLES[role].ports.is_empty(),
        }
    }

    /// What it is called by, its configuration file.
    pub fn file(self) -> &'static str {
        match self {
            Self::Balancer => "haproxy.cfg",
            Self::Process(..) => "postrider.toml",
        }
    }

    /// Its configuration. `home` is the cluster's directory, a path without letters that need quoting.
    pub fn configuration(self, home: &Path, engines: &Engines) -> String {
        match self {
            Self::Balancer => balancer(),
            Self::Process(role, _) => self.process(&ROLES[role], home, engines),
        }
    }

    fn process(self, role: &Role, home: &Path, engines: &Engines) -> String {
        let (address, home) = (self.address(), home.display());
        let mut text = format!(
            "# Written by `cargo xtask cluster up`, and again at every start.\n\
             hostname = \"{HOST}\"\nroles = [\"{}\"]\ndata_dir = \"{home}/{self}/data\"\n\n\
             [tls]\ncertificate = \"{home}/tls.pem\"\nkey = \"{home}/tls.key\"\n\n\
             [storage]\nengine = \"cql\"\n\
             [storage.cql]\ncontact_points = [{}]\nkeyspace = \"{PREFIX}\"\nreplication_factor = 1\n\n\
             [queue]\nengine = \"kafka\"\n\
             [queue.kafka]\nbrokers = [{}]\nprefix = \"{PREFIX}\"\nreplication_factor = 1\n\n\
             [coordination]\nengine = \"redis\"\n\
             [coordination.redis]\nurl = \"redis://{}\"\nprefix = \"{PREFIX}\"\n\n\
             [services]\ndirectory = \"{}\"\nmail_store = \"{}\"\nqueue = \"{}\"\nsubmission = \"{}\"\n",
            role.name,
            quoted(&engines.cassandra),
            quoted(&engines.kafka),
            engines.redis,
            urls("directory"),
            urls("mail-store"),
            urls("delivery-worker"),
            urls("smtp-ingress"),
        );
        for port in role.ports {
            text += &format!(
                "\n[listeners.{}]\nbind = [\"{address}:{}\"]\nproxy_protocol = true\nproxy_trusted = [\"{PUBLIC}/32\"]\n",
                port.name, port.number
            );
        }
        for (name, port) in [("rpc", RPC), ("admin", ADMIN), ("ops", OPS)] {
            text += &format!("\n[listeners.{name}]\nbind = [\"{address}:{port}\"]\n");
        }
        text
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Balancer => f.pad("balancer"),
            Self::Process(role, number) => f.pad(&format!("{}-{number}", ROLES[*role].name)),
        }
    }
}

/// Where the engines are.
pub struct Engines {
    pub cassandra: Vec<SocketAddr>,
    pub kafka: Vec<SocketAddr>,
    pub redis: SocketAddr,
}

/// HAProxy's configuration. It asks `/readyz` of each process every second; one that fails twice gets no connection more, and those
/// it has are closed, so that clients come again and meet another. Clients' addresses travel in the PROXY protocol.
fn balancer() -> String {
    let mut text = format!(
        "# Written by `cargo xtask cluster up`, and again at every start.\n\
         global\n    maxconn 4000\n\n\
         defaults\n    mode tcp\n    balance leastconn\n    source {PUBLIC}\n\
         \x20   option redispatch 1\n    retries 3\n    timeout connect 3s\n    timeout check 2s\n\
         \x20   # Above the 30 minutes that an idle IMAP client is granted.\n\
         \x20   timeout client 35m\n    timeout server 35m\n\
         \x20   option httpchk GET /readyz\n    http-check expect status 200\n\
         \x20   default-server send-proxy-v2 check port {OPS} inter 1s fastinter 250ms fall 2 rise 1 on-marked-down shutdown-sessions\n\n\
         frontend ops\n    mode http\n    bind {PUBLIC}:{OPS}\n    timeout client 10s\n\
         \x20   monitor-uri /readyz\n"
    );
    for port in Member::public_ports() {
        text += &format!("    monitor fail if {{ nbsrv({}) lt 1 }}\n", port.name);
    }
    text += "    stats enable\n    stats uri /\n    stats refresh 2s\n";
    for (index, role) in ROLES.iter().enumerate() {
        for port in role.ports {
            text += &format!("\nlisten {}\n    bind {PUBLIC}:{}\n", port.name, port.number);
            for number in 1..=EACH {
                let member = Member::Process(index, number);
                text += &format!("    server {member} {}:{}\n", member.address(), port.number);
            }
        }
    }
    text
}

/// The URLs of a role, as `[services]` wants them.
fn urls(role: &str) -> String {
    let of = Member::all().into_iter().filter(|member| match member {
        Member::Process(index, _) => ROLES[*index].name == role,
        Member::Balancer => false,
    });
    let urls: Vec<String> = of
        .map(|member| format!("http://{}:{RPC}", member.address()))
        .collect();
    urls.join(",")
}

fn quoted(addresses: &[SocketAddr]) -> String {
    let quoted: Vec<String> = addresses.iter().map(|address| format!("\"{address}\"")).collect();
    quoted.join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_and_addresses_are_of_one_member_each() {
        let all = Member::all();
        assert_eq!(all.len(), 13);
        let mut seen = HashSet::new();
        for member in all {
            assert_eq!(
                Member::named(&member.to_string()).unwrap().address(),
                member.address()
            );
            for address in member.listens() {
                assert!(seen.insert(address), "{member} {address}");
            }
        }
        assert_eq!(Member::first_ingress().to_string(), "smtp-ingress-1");
        for wrong in ["", "mail-store", "mail-store-3", "smtp-ingress-0"] {
            assert!(Member::named(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_process_knows_its_engines_its_peers_and_whom_to_trust() {
        let engines = Engines {
            cassandra: vec![
                "127.0.0.1:19042".parse().unwrap(),
                "127.0.0.2:19042".parse().unwrap(),
            ],
            kafka: vec!["127.0.0.1:19092".parse().unwrap()],
            redis: "127.0.0.1:16379".parse().unwrap(),
        };
        let text = Member::first_ingress().configuration(Path::new("/c"), &engines);
        for line in [
            "roles = [\"smtp-ingress\"]",
            "data_dir = \"/c/smtp-ingress-1/data\"",
            "contact_points = [\"127.0.0.1:19042\", \"127.0.0.2:19042\"]",
            "directory = \"http://127.64.1.1:7025,http://127.64.1.2:7025\"",
            "bind = [\"127.64.4.1:2587\"]",
            "proxy_trusted = [\"127.64.0.1/32\"]",
        ] {
            assert!(
                text.lines().any(|other| other == line),
                "{line} is not in\n{text}"
            );
        }
        assert!(!text.contains("listeners.imap"));
    }

    #[test]
    fn the_balancer_has_every_process_behind_every_port() {
        let text = balancer();
        for line in [
            "server smtp-ingress-2 127.64.4.2:2465",
            "server pop3-gateway-1 127.64.6.1:2110",
        ] {
            assert!(
                text.lines().any(|other| other.trim() == line),
                "{line} is not in\n{text}"
            );
        }
        assert_eq!(text.matches("\n    server ").count(), 14);
    }
}
