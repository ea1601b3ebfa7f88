//! The contracts that a listener serves: for the operators (`admin`), or for the other roles (`rpc`).

use std::convert::Infallible;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, Result};
use postrider_proto::directory::directory_server::DirectoryServer;
use postrider_proto::mailstore::mail_store_server::MailStoreServer;
use postrider_proto::operations::operations_server::OperationsServer;
use postrider_proto::queue::queue_server::QueueServer;
use postrider_proto::submission::submission_server::SubmissionServer;
use postrider_proto::{DESCRIPTORS, Link};
use postrider_runtime::ops::Readiness;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::server::NamedService;
use tonic::service::Routes;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

/// How often the health service looks at the node.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The contracts a listener serves. A link may lead to another process: the operators' listener then passes calls on.
#[derive(Clone, Default)]
pub struct Contracts {
    /// Domains and accounts.
    pub directory: Option<Link>,
    /// Mailboxes.
    pub mail_store: Option<Link>,
    /// The outbound queue.
    pub queue: Option<Link>,
    /// Mail in, without SMTP.
    pub submission: Option<Link>,
    /// The node as a whole.
    pub operations: Option<Link>,
}

impl Contracts {
    /// All of them without a socket.
    pub fn local(&self) -> Result<Link> {
        Ok(Link::local(self.routes()?.0))
    }

    /// All of them, with reflection and health. The node is healthy when [`follow`] says so.
    pub fn routes(&self) -> Result<(Routes, HealthReporter)> {
        let (health, health_service) = tonic_health::server::health_reporter();
        let reflection = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTORS)
            .build_v1()
            .context("the contracts cannot be described")?;
        let mut routes = Routes::new(health_service).add_service(reflection);
        routes = add::<DirectoryServer<()>>(routes, self.directory.as_ref());
        routes = add::<MailStoreServer<()>>(routes, self.mail_store.as_ref());
        routes = add::<QueueServer<()>>(routes, self.queue.as_ref());
        routes = add::<SubmissionServer<()>>(routes, self.submission.as_ref());
        routes = add::<OperationsServer<()>>(routes, self.operations.as_ref());
        Ok((routes, health))
    }
}

/// Keeps the health service as the node is: serving when every part is ready.
pub async fn follow(readiness: Readiness, health: HealthReporter, drain: CancellationToken) {
    loop {
        let status = match readiness.check() {
            Ok(()) if !drain.is_cancelled() => ServingStatus::Serving,
            Ok(()) | Err(_) => ServingStatus::NotServing,
        };
        health.set_service_status("", status).await;
        tokio::select! {
            // Callers ask at once whether it is still well.
            () = drain.cancelled(), if status == ServingStatus::Serving => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
}

fn add<N: NamedService + 'static>(routes: Routes, link: Option<&Link>) -> Routes {
    match link {
        Some(link) => routes.add_service(Forward::<N> {
            link: link.clone(),
            name: PhantomData,
        }),
        None => routes,
    }
}

/// A link served under the name of a contract; what goes wrong on the way is UNAVAILABLE.
struct Forward<N> {
    link: Link,
    name: PhantomData<fn() -> N>,
}

impl<N> Clone for Forward<N> {
    fn clone(&self) -> Self {
        Self {
            link: self.link.clone(),
            name: PhantomData,
        }
    }
}

impl<N: NamedService> NamedService for Forward<N> {
    const NAME: &'static str = N::NAME;
}

impl<N> Service<http::Request<Body>> for Forward<N> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        use tower::ServiceExt;
        let link = self.link.clone();
        Box::pin(async move {
            let answered = link.oneshot(request).await;
            Ok(answered.unwrap_or_else(|error| Status::unavailable(error.to_string()).into_http()))
        })
    }
}
