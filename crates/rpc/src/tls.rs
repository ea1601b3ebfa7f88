//! Mutual TLS between roles: each side shows a certificate of the cluster's own authority.

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::transport::server::{Connected, TcpConnectInfo};

/// How long a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Where the certificates are. They are read at every handshake, which is rare between roles: a renewed certificate is
/// used from the next connection on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mutual {
    /// This side's certificate chain, leaf first, PEM. Servers need the names they are called by in it.
    pub certificate: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The certificates of the authority that the other side's must come from, PEM.
    pub authority: PathBuf,
}

impl Mutual {
    /// Reads everything once, so that what is wrong shows at start.
    pub fn check(&self) -> Result<()> {
        self.server_config()?;
        self.client_config().map(drop)
    }

    /// The client's end, towards a server of this name.
    pub(crate) async fn connect(&self, host: &str, tcp: TcpStream) -> Result<Wire> {
        let name = ServerName::try_from(host.to_owned())
            .with_context(|| format!("`{host}` cannot be a certificate's name"))?;
        let connector = TlsConnector::from(Arc::new(self.client_config()?));
        let stream = tokio::time::timeout(HANDSHAKE, connector.connect(name, tcp)).await??;
        Ok(Wire::Tls(Box::new(stream.into())))
    }

    /// The server's end: a client without a certificate of the authority gets no further than the handshake.
    pub(crate) fn server_config(&self) -> Result<ServerConfig> {
        let provider = postrider_runtime::tls::provider();
        let roots = Arc::new(self.roots()?);
        let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider.clone())
            .build()
            .with_context(|| format!("the authority {} cannot be used", self.authority.display()))?;
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_client_cert_verifier(verifier)
            .with_single_cert(self.chain()?, self.private()?)
            .context("certificate and key do not belong together")?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    fn client_config(&self) -> Result<ClientConfig> {
        let mut config = ClientConfig::builder_with_provider(postrider_runtime::tls::provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(self.roots()?)
            .with_client_auth_cert(self.chain()?, self.private()?)
            .context("certificate and key do not belong together")?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }

    fn roots(&self) -> Result<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authority)? {
            roots
                .add(certificate)
                .with_context(|| format!("{} holds no authority", self.authority.display()))?;
        }
        Ok(roots)
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>> {
        certificates(&self.certificate)
    }

    fn private(&self) -> Result<PrivateKeyDer<'static>> {
        PrivateKeyDer::from_pem_file(&self.key)
            .with_context(|| format!("cannot read the key {}", self.key.display()))
    }
}

/// The server's end of a handshake.
pub(crate) async fn accept(config: ServerConfig, tcp: TcpStream) -> Result<Wire> {
    let accepting = TlsAcceptor::from(Arc::new(config)).accept(tcp);
    let stream = tokio::time::timeout(HANDSHAKE, accepting).await??;
    Ok(Wire::Tls(Box::new(stream.into())))
}

fn certificates(file: &std::path::Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file)
        .and_then(Iterator::collect::<std::result::Result<Vec<_>, _>>)
        .with_context(|| format!("cannot read the certificate {}", file.display()))?;
    ensure!(!read.is_empty(), "{} holds no certificate", file.display());
    Ok(read)
}

/// A connection between roles, in the clear or inside TLS.
pub(crate) enum Wire {
    Plain(TcpStream),
    Tls(Box<tokio_rustls::TlsStream<TcpStream>>),
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_write(cx, data),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, data),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, data),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, data),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        match self.get_mut() {
            Wire::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

impl Connected for Wire {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> TcpConnectInfo {
        match self {
            Wire::Plain(stream) => stream.connect_info(),
            Wire::Tls(stream) => stream.get_ref().0.connect_info(),
        }
    }
}
