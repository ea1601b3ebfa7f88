//! A service elsewhere, as its callers see it: one link, however many instances there are and whatever becomes of them.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::TryFutureExt;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use postrider_proto::{Call, Link, Repeat};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::retry::budget::{Budget, TpsBudget};
use tower::{BoxError, Service, ServiceExt};

use crate::deadline::Deadline;
use crate::fault::{Fault, is_given_up, is_late, is_leaving, is_shed, is_unavailable, reason};
use crate::instance::Instance;
use crate::members::{Members, ServiceUrl, choose};
use crate::metrics;
use crate::tls::Mutual;

/// Bytes gRPC puts in front of a message: a flag and its length.
const FRAME_HEADER: usize = 5;

/// Attempts of one call, the first included.
const ATTEMPTS: usize = 4;

/// The pause before an instance is asked a second time, doubled for a third.
const PAUSE: Duration = Duration::from_millis(50);

/// How long a stream waits for any instance to be well: one that has just started says so within half a second.
const ANY: Duration = Duration::from_secs(2);

/// Repetitions for every hundred calls, and those that are always allowed per second.
const REPEATS: f32 = 0.2;
const REPEATS_PER_SECOND: u32 = 10;

/// Which service, and how it is spoken to.
#[derive(Clone)]
pub struct Settings {
    /// Its name, for logs and metrics.
    pub service: &'static str,
    /// Where its instances are.
    pub url: ServiceUrl,
    /// The certificates of both sides; `None`: in the clear.
    pub mutual: Option<Arc<Mutual>>,
}

/// The way to a service that runs in other processes; cheap to clone. `postrider_proto::Link::remote(cluster)` makes it a link.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

struct Shared {
    service: &'static str,
    members: Arc<Members>,
    budget: TpsBudget,
}

/// How an attempt ended.
enum Attempt {
    /// With an answer, good or bad.
    Answered(Response<Body>),
    /// Without one.
    Failed(Fault, String),
    /// Without one, from an instance that does not say that it is well either; there is time for another.
    Gone,
    /// Without one, and no time is left.
    TooLate,
}

impl Cluster {
    /// Begins to look for the instances. Never fails: a service that is not there yet is found when it comes.
    ///
    /// Must be called within a tokio runtime.
    pub fn new(settings: Settings) -> Self {
        let Settings { service, url, mutual } = settings;
        Self(Arc::new(Shared {
            service,
            members: Members::follow(service, url, mutual),
            budget: TpsBudget::new(Duration::from_secs(10), REPEATS_PER_SECOND, REPEATS),
        }))
    }

    /// A way to each instance, whatever its state; for questions to all of them. Nothing is repeated on it, and who asks
    /// bounds the time.
    pub async fn instances(&self) -> Vec<(SocketAddr, Link)> {
        let instances = self.0.members.all().await;
        let links = instances
            .iter()
            .map(|instance| (instance.address, Link::remote(instance.channel.clone())));
        links.collect()
    }

    /// Whether an instance answers.
    pub async fn is_ready(&self) -> bool {
        self.0.members.all().await.iter().any(|instance| instance.is_in())
    }
}

impl Service<Request<Body>> for Cluster {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let shared = self.0.clone();
        Box::pin(async move {
            let call = Call::of(request.uri().path());
            let sent = shared.send(request, call).await;
            let code = sent.as_ref().map_or_else(|status| status.code(), |_| Code::Ok);
            metrics::called(call.path, code);
            Ok(sent.unwrap_or_else(Status::into_http))
        })
    }
}

impl Shared {
    /// Sends a call until it is answered, its time is up, or it may not be sent again.
    async fn send(&self, mut request: Request<Body>, call: Call) -> Result<Response<Body>, Status> {
        let asked = Deadline::of(request.headers());
        let deadline = [asked, Deadline::current()]
            .into_iter()
            .flatten()
            .fold(Deadline::after(call.deadline), Deadline::min);
        deadline.tell(request.headers_mut());
        self.budget.deposit();
        if call.repeat == Repeat::Never {
            return self.send_stream(request, call, deadline).await;
        }

        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let account = body.get(FRAME_HEADER..).and_then(|message| call.account(message));
        let mut tried: Vec<SocketAddr> = Vec::new();
        let mut failure = String::new();
        for attempt in 0..ATTEMPTS {
            let instances = self.members.all().await;
            let Some(instance) = choose(&instances, account, &tried).or_else(|| {
                tried.clear();
                choose(&instances, account, &tried)
            }) else {
                return Err(self.unavailable("no instance is known"));
            };
            tried.push(instance.address);
            let request = Request::from_parts(parts.clone(), Body::new(Full::new(body.clone())));
            // What may be repeated does not wait all of its time for an instance that is not there any more.
            let patience = match call.repeat == Repeat::Always && instances.len() > 1 {
                true => Deadline::after(deadline.left() / 3).min(deadline),
                false => deadline,
            };
            match self.attempt(&instance, request, patience, deadline).await {
                Attempt::Answered(response) => match is_shed(&response) {
                    false => return Ok(response),
                    true => failure = format!("{} has too much to do", instance.address),
                },
                Attempt::Failed(fault, why) => {
                    failure = format!("{}: {why}", instance.address);
                    if fault == Fault::Unclear && call.repeat != Repeat::Always {
                        break;
                    }
                }
                Attempt::Gone => failure = format!("{} does not answer", instance.address),
                Attempt::TooLate => return Err(self.too_late(&instance)),
            }
            if attempt + 1 == ATTEMPTS || !self.may_repeat() {
                break;
            }
            metrics::repeated(call.path);
            if tried.len() >= instances.len() {
                let pause = PAUSE * (attempt as u32 + 1);
                if deadline.left() < pause {
                    break;
                }
                tokio::time::sleep(pause).await;
            }
        }
        Err(self.unavailable(&failure))
    }

    /// Sends a call whose request is a stream, once.
    async fn send_stream(
        &self,
        request: Request<Body>,
        call: Call,
        deadline: Deadline,
    ) -> Result<Response<Body>, Status> {
        let patience = Deadline::after(ANY).min(deadline);
        let account = call.named_account(request.headers());
        let mut instances = self.members.all().await;
        let mut tried = Vec::new();
        // Its request is gone when it has been sent: so it goes to an instance that has just said that it is well.
        let instance = loop {
            let Some(instance) = choose(&instances, account, &tried) else {
                if patience.left().is_zero() {
                    return Err(self.unavailable("no instance answers"));
                }
                tokio::time::sleep(PAUSE).await;
                instances = self.members.all().await;
                tried.clear();
                continue;
            };
            // What is to last is not begun where it would end in a moment.
            let answers = match call.endless {
                true => instance.answers_now("does not answer").await,
                false => instance.answers().await,
            };
            if answers {
                break instance;
            }
            tried.push(instance.address);
        };
        match self.attempt(&instance, request, deadline, deadline).await {
            Attempt::Answered(response) => Ok(response),
            Attempt::Failed(_, why) => Err(self.unavailable(&format!("{}: {why}", instance.address))),
            Attempt::Gone | Attempt::TooLate => Err(self.too_late(&instance)),
        }
    }

    /// Sends a call to one instance. One that has not answered when `patience` ends is asked whether it is well; as long as it is,
    /// the call has until `deadline`: what is slow would be as slow elsewhere.
    async fn attempt(
        &self,
        instance: &Arc<Instance>,
        request: Request<Body>,
        patience: Deadline,
        deadline: Deadline,
    ) -> Attempt {
        let _busy = instance.begin();
        let mut sent = pin!(instance.channel.clone().oneshot(request).err_into::<BoxError>());
        let mut answer = tokio::time::timeout_at(patience.instant(), &mut sent).await;
        if answer.is_err() && patience < deadline {
            if !instance.answers_now("no answer in time").await {
                return Attempt::Gone;
            }
            answer = tokio::time::timeout_at(deadline.instant(), sent).await;
        }
        match answer {
            Ok(Ok(response)) if is_given_up(&response) => {
                instance.has_answered();
                Attempt::TooLate
            }
            Ok(Ok(response)) => {
                if is_leaving(&response) {
                    instance.leaves();
                } else {
                    instance.has_answered();
                    if !is_unavailable(&response) {
                        instance.comes_back();
                    }
                }
                Attempt::Answered(response)
            }
            Ok(Err(error)) if !deadline.left().is_zero() && !is_late(&error) => {
                let why = reason(&error);
                instance.leave_out(&why);
                Attempt::Failed(Fault::of(&error), why)
            }
            Ok(Err(_)) | Err(_) => {
                instance.suspect();
                Attempt::TooLate
            }
        }
    }

    fn may_repeat(&self) -> bool {
        self.budget.withdraw()
    }

    fn unavailable(&self, why: &str) -> Status {
        Status::unavailable(format!("{}: {why}", self.service))
    }

    fn too_late(&self, instance: &Instance) -> Status {
        Status::deadline_exceeded(format!(
            "{}: {} did not answer in time",
            self.service, instance.address
        ))
    }
}
