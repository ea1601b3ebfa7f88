//! Certificates and TLS settings. One provider: aws-lc.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, ensure};
use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ProducesTickets;
use tokio_rustls::TlsAcceptor;

mod client;
mod server;

pub use client::{opportunistic_client, verifying_client};
pub(crate) use server::ServerStream;

/// How often the files are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(30);

/// The node's certificate and key, reloaded when their files change. A session that began keeps what it began with.
pub struct Identity {
    certificate: PathBuf,
    key: PathBuf,
    /// The same over reloads, so that sessions stay resumable.
    tickets: Arc<dyn ProducesTickets>,
    current: ArcSwap<ServerConfig>,
    loaded: Mutex<Stamp>,
}

/// When the files last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp(Option<SystemTime>, Option<SystemTime>);

impl Identity {
    /// Reads a certificate chain (leaf first) and its key, both PEM.
    pub fn open(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self> {
        let (certificate, key) = (certificate.into(), key.into());
        let tickets = aws_lc_rs::Ticketer::new().context("cannot make a key for TLS session tickets")?;
        let loaded = Stamp::of(&certificate, &key);
        let config = load(&certificate, &key, tickets.clone())?;
        Ok(Self {
            certificate,
            key,
            tickets,
            current: ArcSwap::from_pointee(config),
            loaded: Mutex::new(loaded),
        })
    }

    /// Opens the self-signed certificate in `directory`, made now for `hostname` and this machine's loopback names when it
    /// is not there yet. The log says so: clients will ask whether to trust it.
    pub fn self_signed(directory: &Path, hostname: &str) -> Result<Self> {
        let (certificate, key) = (
            directory.join("self-signed.pem"),
            directory.join("self-signed.key"),
        );
        if !certificate.exists() || !key.exists() {
            make_self_signed(directory, hostname, &certificate, &key)
                .with_context(|| format!("cannot make a certificate in {}", directory.display()))?;
            tracing::warn!(
                certificate = %certificate.display(), hostname,
                "made a self-signed certificate; set tls.certificate and tls.key for one that clients trust"
            );
        }
        Self::open(certificate, key)
    }

    /// Accepts handshakes with the certificate of this moment.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.current.load_full())
    }

    /// The settings of this moment.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// The certificate file: what a client may be told to trust.
    pub fn certificate(&self) -> &Path {
        &self.certificate
    }

    /// Loads the files again if they have changed; says whether they had. When they cannot be used, the old certificate
    /// stays, and the next change is tried again.
    pub fn reload(&self) -> Result<bool> {
        let stamp = Stamp::of(&self.certificate, &self.key);
        let mut loaded = self.loaded.lock();
        if *loaded == stamp {
            return Ok(false);
        }
        *loaded = stamp;
        self.current.store(Arc::new(load(
            &self.certificate,
            &self.key,
            self.tickets.clone(),
        )?));
        Ok(true)
    }

    /// Looks at the files every half minute, for ever.
    pub async fn watch(self: Arc<Self>) {
        loop {
            tokio::time::sleep(WATCH_EVERY).await;
            let identity = self.clone();
            match tokio::task::spawn_blocking(move || identity.reload()).await {
                Ok(Ok(true)) => {
                    tracing::info!(certificate = %self.certificate.display(), "certificate reloaded")
                }
                Ok(Ok(false)) | Err(_) => {}
                Ok(Err(error)) => tracing::error!("certificate not reloaded, the old one stays: {error:#}"),
            }
        }
    }
}

impl Stamp {
    fn of(certificate: &Path, key: &Path) -> Self {
        let changed = |path: &Path| path.metadata().and_then(|data| data.modified()).ok();
        Self(changed(certificate), changed(key))
    }
}

/// The one provider of cryptography.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: std::sync::LazyLock<Arc<CryptoProvider>> =
        std::sync::LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));
    PROVIDER.clone()
}

fn load(certificate: &Path, key: &Path, tickets: Arc<dyn ProducesTickets>) -> Result<ServerConfig> {
    let chain = CertificateDer::pem_file_iter(certificate)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the certificate {}", certificate.display()))?;
    ensure!(
        !chain.is_empty(),
        "{} holds no certificate",
        certificate.display()
    );
    let private = PrivateKeyDer::from_pem_file(key)
        .with_context(|| format!("cannot read the key {}", key.display()))?;
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .with_context(|| {
            format!(
                "{} and {} do not belong together",
                certificate.display(),
                key.display()
            )
        })?;
    config.ticketer = tickets;
    Ok(config)
}

fn make_self_signed(directory: &Path, hostname: &str, certificate: &Path, key: &Path) -> Result<()> {
    std::fs::create_dir_all(directory)?;
    let mut names = vec![hostname.to_owned()];
    names.extend(
        ["localhost", "127.0.0.1", "::1"]
            .iter()
            .filter(|name| **name != hostname)
            .map(|name| (*name).to_owned()),
    );
    let made = rcgen::generate_simple_self_signed(names)?;
    write_private(key, made.signing_key.serialize_pem().as_bytes())?;
    std::fs::write(certificate, made.cert.pem())?;
    Ok(())
}

/// Writes a file that only its owner can read.
pub fn write_private(path: &Path, data: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let _ = std::fs::remove_file(path);
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(data)?;
    file.sync_all()
}
