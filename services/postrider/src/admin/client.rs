//! The commands' side of the administration listener.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Args;
use http::HeaderValue;
use http::header::AUTHORIZATION;
use hyper_util::rt::TokioIo;
use postrider_proto::directory::directory_client::DirectoryClient;
use postrider_proto::mailstore::mail_store_client::MailStoreClient;
use postrider_proto::operations::operations_client::OperationsClient;
use postrider_proto::queue::queue_client::QueueClient;
use postrider_proto::{Failure, Link};
use postrider_runtime::config::Config;
use postrider_runtime::tls::verifying_client;
use rustls::pki_types::ServerName;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint, Uri};
use tonic::{Code, Status};
use tower::ServiceExt;

use super::{Token, token_file, url_file};
use crate::command::{NODE, Place};
use crate::output::Output;

/// How long reaching the node may take.
const CONNECT: Duration = Duration::from_secs(5);

/// Which node to administer, and how to print.
#[derive(Args, Clone)]
pub struct AdminArgs {
    #[command(flatten)]
    place: Place,
    /// The node's admin listener, as in https://mx.hamburger.edu:7026 [default: as configured, on this machine]
    #[arg(long, value_name = "URL", global = true, help_heading = NODE)]
    admin: Option<String>,
    /// The file with its token [default: admin.token in the data directory]
    #[arg(long, value_name = "FILE", global = true, help_heading = NODE)]
    token_file: Option<PathBuf>,
    /// Certificates (PEM) to trust beside the system's, for https
    #[arg(long, value_name = "FILE", global = true, help_heading = NODE)]
    admin_ca: Option<PathBuf>,
    /// Print JSON: one object per line
    #[arg(long, global = true, help_heading = NODE)]
    json: bool,
}

impl AdminArgs {
    /// Connects to the node.
    pub async fn connect(&self) -> Result<Client> {
        let config = self.place.load()?;
        let url = self.url(&config)?;
        let token = self
            .token_file
            .clone()
            .unwrap_or_else(|| token_file(&config.data_dir));
        let token = Token::read(&token)?;
        let channel = self.channel(&url).await.with_context(|| {
            format!("cannot reach the node at {url}; is it running? (`postrider run`, or say --admin URL)")
        })?;
        let mut header = HeaderValue::try_from(token.header()).context("the token is not text")?;
        header.set_sensitive(true);
        let authorized = channel.map_request(move |mut request: http::Request<Body>| {
            request.headers_mut().insert(AUTHORIZATION, header.clone());
            request
        });
        Ok(Client(Link::remote(authorized)))
    }

    /// Standard output in the form that was asked for.
    pub fn output(&self) -> Output {
        Output::new(self.json)
    }

    fn url(&self, config: &Config) -> Result<String> {
        if let Some(url) = &self.admin {
            return Ok(url.clone());
        }
        if let Ok(url) = std::fs::read_to_string(url_file(&config.data_dir)) {
            return Ok(url.trim().to_owned());
        }
        let address = config.listeners.admin.bind.first();
        let address = address.ok_or_else(|| anyhow!("listeners.admin.bind is empty; say --admin URL"))?;
        let scheme = if address.ip().is_loopback() {
            "http"
        } else {
            "https"
        };
        Ok(format!("{scheme}://{address}"))
    }

    async fn channel(&self, url: &str) -> Result<Channel> {
        let encrypted = url.starts_with("https://");
        // With a connector of our own, tonic must not add TLS itself.
        let endpoint =
            Endpoint::from_shared(url.replacen("https://", "http://", 1))?.connect_timeout(CONNECT);
        if !encrypted {
            return Ok(endpoint.connect().await?);
        }
        let connector =
            tokio_rustls::TlsConnector::from(with_http2(verifying_client(self.admin_ca.as_deref())?));
        let connect = tower::service_fn(move |uri: Uri| {
            let connector = connector.clone();
            async move {
                let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
                let tcp =
                    tokio::net::TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await?;
                let name = ServerName::try_from(host).map_err(std::io::Error::other)?;
                std::io::Result::Ok(TokioIo::new(connector.connect(name, tcp).await?))
            }
        });
        Ok(endpoint.connect_with_connector(connect).await?)
    }
}

fn with_http2(config: Arc<rustls::ClientConfig>) -> Arc<rustls::ClientConfig> {
    let mut config = Arc::unwrap_or_clone(config);
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

/// A connection to the node.
pub struct Client(Link);

impl Client {
    /// Over a link that is there already.
    pub fn over(link: Link) -> Self {
        Self(link)
    }

    /// Domains and accounts.
    pub fn directory(&self) -> DirectoryClient<Link> {
        DirectoryClient::new(self.0.clone())
    }

    /// Mailboxes.
    pub fn mail_store(&self) -> MailStoreClient<Link> {
        MailStoreClient::new(self.0.clone())
    }

    /// The outbound queue.
    pub fn queue(&self) -> QueueClient<Link> {
        QueueClient::new(self.0.clone())
    }

    /// The node as a whole.
    pub fn operations(&self) -> OperationsClient<Link> {
        OperationsClient::new(self.0.clone())
    }
}

/// The one line that an operator reads of a status.
pub fn failure(status: Status) -> anyhow::Error {
    match status.code() {
        Code::Unimplemented => {
            anyhow!("this node does not serve that; ask one with the role, or say --admin URL")
        }
        code if status.message().is_empty() => anyhow!("{code}"),
        _ => Failure::from(status).into(),
    }
}
