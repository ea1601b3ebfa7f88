//! Dovecot: IMAP, POP3, LMTP, and passwords for Postfix. Mail is kept as sdbox, one file per message beside an index.

use super::{ADDRESS, PASSWORD, PORTS, Peers, addresses, ids, output};
use crate::run::Failed;

/// Whom mail belongs to: a user that every Debian has.
pub const MAIL_USER: &str = "mail";

/// Writes `dovecot.conf` and the users.
pub fn configure(peers: &Peers) -> Result<(), Failed> {
    let users: Vec<String> = addresses()
        .map(|address| format!("{address}:{{PLAIN}}{PASSWORD}\n"))
        .collect();
    peers.write("users", &users.concat())?;
    peers.write("dovecot.conf", &configuration(peers)?)
}

/// Starts the master process, which goes to the background.
pub fn start(peers: &Peers) -> Result<(), Failed> {
    peers.launch("dovecot", &["-c", &peers.text("dovecot.conf")])
}

/// Its version, without the build's name.
pub fn version() -> Result<String, Failed> {
    let text = output("dovecot", &["--version"])?;
    Ok(text.split_whitespace().next().unwrap_or_default().to_owned())
}

fn configuration(peers: &Peers) -> Result<String, Failed> {
    let (uid, gid) = ids(MAIL_USER)?;
    let text = |name: &str| peers.text(name);
    let (run, state, queue, mail) = (text("run"), text("state"), text("queue"), text("mail"));
    let (key, certificate, users, logs) = (text("tls.key"), text("tls.pem"), text("users"), text("log"));
    let port = |wanted: &str| {
        PORTS
            .iter()
            .find(|(name, _)| *name == wanted)
            .map_or(0, |(_, port)| *port)
    };
    let (imap, imaps, pop3) = (port("imap"), port("imaps"), port("pop3"));
    Ok(format!(
        "\
protocols = imap pop3 lmtp
listen = {ADDRESS}
base_dir = {run}
state_dir = {state}
instance_name = postrider-peers
log_path = {logs}/dovecot.log

mail_location = sdbox:{mail}/%n
first_valid_uid = {uid}
first_valid_gid = {gid}
namespace inbox {{
  inbox = yes
}}
auth_mechanisms = plain login
disable_plaintext_auth = no
passdb {{
  driver = passwd-file
  args = scheme=PLAIN username_format=%u {users}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={mail}/%n
}}
ssl = yes
ssl_cert = <{certificate}
ssl_key = <{key}

# No throttle but the machine: processes, connections, memory.
default_process_limit = 200
default_client_limit = 15000
default_vsz_limit = 4G
mail_max_userip_connections = 0
service imap-login {{
  # Many connections in each process (\"high-performance mode\"), as the documentation advises for busy servers.
  service_count = 0
  process_limit = 4
  process_min_avail = 2
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
  }}
}}
service pop3-login {{
  service_count = 0
  process_limit = 4
  process_min_avail = 2
  inet_listener pop3 {{
    port = {pop3}
  }}
  inet_listener pop3s {{
    port = 0
  }}
}}
service imap {{
  # One connection at a time, but a process serves many one after the other.
  service_count = 1000
  process_limit = 10000
}}
service pop3 {{
  service_count = 1000
  process_limit = 1000
}}
service lmtp {{
  unix_listener {queue}/private/dovecot-lmtp {{
    user = postfix
    mode = 0600
  }}
}}
service auth {{
  unix_listener {queue}/private/auth {{
    user = postfix
    mode = 0600
  }}
}}
"
    ))
}
