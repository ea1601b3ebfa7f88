//! The way to a server, in this process or in another.

use std::convert::Infallible;
use std::task::{Context, Poll};

use tonic::body::Body;
use tonic::codegen::{Service, StdError};
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceExt};

/// A way to one gRPC service; cheap to clone. Clients are made as `MailStoreClient::new(link.clone())`.
#[derive(Clone)]
pub struct Link(BoxCloneSyncService<http::Request<Body>, http::Response<Body>, BoxError>);

impl Link {
    /// To a server in this process (a generated `XServer`): no socket, no HTTP/2, the same encoding.
    pub fn local<S>(server: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        Self(BoxCloneSyncService::new(
            server.map_err(|never: Infallible| -> BoxError { match never {} }),
        ))
    }

    /// Through a channel, or anything that behaves like one.
    pub fn remote<S, E>(channel: S) -> Self
    where
        S: Service<http::Request<Body>, Response = http::Response<Body>, Error = E>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
        E: Into<StdError> + 'static,
    {
        Self(BoxCloneSyncService::new(channel.map_err(Into::into)))
    }
}

impl Service<http::Request<Body>> for Link {
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = futures::future::BoxFuture<'static, Result<http::Response<Body>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.0.call(request)
    }
}
