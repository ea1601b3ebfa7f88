//! The gRPC `Queue` contract: decode, call, encode.

use futures::StreamExt;
use futures::stream::BoxStream;
use postrider_proto::queue::queue_server::Queue;
use postrider_proto::queue::{
    ActRequest, ActResponse, GetStatisticsRequest, GetStatisticsResponse, GetUnitRequest,
    ListSuspensionsRequest, ListUnitsRequest, Recipient, ResumeDomainRequest, ResumeDomainResponse, State,
    SuspendDomainRequest, SuspendDomainResponse, Suspension, Unit, act_request,
};
use postrider_proto::{Failure, Kind};
use postrider_queue as queue;
use postrider_queue::Verb;
use postrider_runtime::Trace;
use tonic::{Request, Response, Status};

use crate::operate::{Filter, Operator};

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl Queue for Operator {
    type ListUnitsStream = BoxStream<'static, Result<Unit, Status>>;
    type ActStream = BoxStream<'static, Result<ActResponse, Status>>;
    type ListSuspensionsStream = BoxStream<'static, Result<Suspension, Status>>;

    async fn list_units(&self, request: Request<ListUnitsRequest>) -> Answer<Self::ListUnitsStream> {
        let ListUnitsRequest { filter, limit } = request.into_inner();
        let units = self.list(Filter::parse(filter)?);
        let most = if limit == 0 {
            usize::MAX
        } else {
            usize::try_from(limit).unwrap_or(usize::MAX)
        };
        let units = units
            .take(most)
            .map(|unit| unit.map(|unit| encode(&unit)).map_err(Status::from));
        Ok(Response::new(units.boxed()))
    }

    async fn get_unit(&self, request: Request<GetUnitRequest>) -> Answer<Unit> {
        Ok(Response::new(encode(&self.get(&request.into_inner().id).await?)))
    }

    async fn act(&self, request: Request<ActRequest>) -> Answer<Self::ActStream> {
        let request = request.into_inner();
        let verb = match request.action() {
            act_request::Action::Hold => Verb::Hold,
            act_request::Action::Release => Verb::Release,
            act_request::Action::Retry => Verb::Retry,
            act_request::Action::Reroute => Verb::Reroute(request.reroute),
            act_request::Action::Cancel => Verb::Cancel,
            act_request::Action::Unspecified => {
                return Err(Failure::new(Kind::Invalid, "an action is needed").into());
            }
        };
        let acted = self
            .act(verb, request.ids, Filter::parse(request.filter)?, request.all)
            .map(|acted| {
                let (id, refused) = acted?;
                Ok(ActResponse {
                    id,
                    refused: refused.map(|refused| refused.message).unwrap_or_default(),
                })
            });
        Ok(Response::new(acted.boxed()))
    }

    async fn suspend_domain(&self, request: Request<SuspendDomainRequest>) -> Answer<SuspendDomainResponse> {
        let SuspendDomainRequest { domain, reason } = request.into_inner();
        self.suspend(&domain, &reason).await?;
        Ok(Response::new(SuspendDomainResponse {}))
    }

    async fn resume_domain(&self, request: Request<ResumeDomainRequest>) -> Answer<ResumeDomainResponse> {
        self.resume(&request.into_inner().domain).await?;
        Ok(Response::new(ResumeDomainResponse {}))
    }

    async fn list_suspensions(
        &self,
        _: Request<ListSuspensionsRequest>,
    ) -> Answer<Self::ListSuspensionsStream> {
        let all = self.suspensions().await?.into_iter().map(|(domain, suspension)| {
            Ok(Suspension {
                domain: domain.to_string(),
                reason: suspension.reason,
                since: suspension.since,
            })
        });
        Ok(Response::new(
            futures::stream::iter(all.collect::<Vec<_>>()).boxed(),
        ))
    }

    async fn get_statistics(&self, _: Request<GetStatisticsRequest>) -> Answer<GetStatisticsResponse> {
        let counts = self.statistics().await?;
        Ok(Response::new(GetStatisticsResponse {
            queued: counts.queued,
            sending: counts.sending,
            held: counts.held,
            oldest: counts.oldest,
        }))
    }
}

fn encode(unit: &queue::Unit) -> Unit {
    let new = &unit.new;
    let recipient = |recipient: &queue::Recipient| Recipient {
        address: recipient.address.to_string(),
        state: match recipient.state {
            queue::RecipientState::Pending => state(unit.state),
            queue::RecipientState::Delivered => State::Delivered,
            queue::RecipientState::Failed => State::Failed,
        }
        .into(),
        last_reply: recipient.last_reply.clone(),
    };
    Unit {
        id: new.id.to_string(),
        state: state(unit.state).into(),
        destination: new.destination.as_str().to_owned(),
        sender: new.sender.0.as_ref().map(ToString::to_string).unwrap_or_default(),
        recipients: new.recipients.iter().map(recipient).collect(),
        content_id: new.content.to_string(),
        size: new.size.saturating_sub(new.skip),
        attempts: unit.attempts,
        created: unit.created,
        next_attempt: unit.next_attempt,
        last_attempt: unit.last_attempt,
        expires: unit.expires,
        last_reply: unit.last_reply.clone(),
        reroute: unit.reroute.clone(),
        trace_id: new
            .trace
            .parse::<Trace>()
            .map(|trace| trace.id())
            .unwrap_or_default(),
    }
}

fn state(state: queue::State) -> State {
    match state {
        queue::State::Queued => State::Queued,
        queue::State::Sending => State::Sending,
        queue::State::Delivered => State::Delivered,
        queue::State::Failed => State::Failed,
        queue::State::Held => State::Held,
        queue::State::Cancelled => State::Cancelled,
    }
}
