//! Submission without SMTP: the same rules for the web gateway.

use std::sync::Arc;

use postrider_message::trace::Protocol;
use postrider_proto::directory::GetAccountRequest;
use postrider_proto::directory::get_account_request::Key;
use postrider_proto::submission::submission_server::Submission;
use postrider_proto::submission::submit_request::Part;
use postrider_proto::submission::{
    KeepIdsRequest, KeepIdsResponse, OpenMessage, SubmitEnvelope, SubmitRequest, SubmitResponse,
};
use postrider_proto::{Failure, Kind};
use postrider_runtime::Trace;
use postrider_smtp::{Mail, Rcpt, Reply};
use postrider_types::{AccountId, Address, ContentId, ReversePath};
use tonic::{Request, Response, Status, Streaming};

use crate::accept::millis;
use crate::authenticate::Account;
use crate::content::Collector;
use crate::conversation::{Incoming, add, completion, submitted_key, take};
use crate::header::{Origin, Stamp};
use crate::identity::Seed;
use crate::listener::Ingress;
use crate::metrics::{METRICS, outcome};
use crate::neighbours::MOST_TOGETHER;
use crate::recipients::Recipients;

const NAME: &str = "web";

/// Serves `postrider.submission.v1.Submission`.
pub struct SubmissionService(Arc<Ingress>);

impl SubmissionService {
    /// Over the role.
    pub fn new(ingress: Arc<Ingress>) -> Self {
        Self(ingress)
    }

    async fn submit(
        &self,
        mut parts: Streaming<SubmitRequest>,
        trace: Trace,
    ) -> Result<SubmitResponse, Failure> {
        let Some(Part::Envelope(envelope)) = parts
            .message()
            .await
            .map_err(Failure::from)?
            .and_then(|it| it.part)
        else {
            return Err(Failure::new(
                Kind::Invalid,
                "the first message must be the envelope",
            ));
        };
        let account = self.sender(&envelope).await?;
        let sender = parse(&envelope.sender)?;
        let ingress = &*self.0;
        if sender != account.address && !ingress.directory.may_send_as(account.id, &sender).await? {
            return Err(Failure::new(
                Kind::Denied,
                "this account may not send with that address",
            ));
        }
        let (recipients, refused) = self.recipients(&envelope).await?;
        if recipients.count() == 0 {
            return Ok(SubmitResponse {
                content_id: Default::default(),
                refused,
            });
        }
        let mail = Mail::from(ReversePath(Some(sender)));
        let seed = Seed::generate();
        let mut content = self
            .collector(&envelope, &account, &mail, &recipients, seed, trace)
            .await;
        let (size, eight_bit) = match ContentId::from_slice(&envelope.content_id) {
            Some(id) => self.copy_stored(&mut content, id).await?,
            None if envelope.content_id.is_empty() => self.copy_chunks(&mut content, parts).await?,
            None => return Err(Failure::new(Kind::Invalid, "a content id has 16 bytes")),
        };
        let incoming = Incoming {
            mail,
            recipients,
            seed,
            eight_bit,
            submitter: Some(&account),
            trace,
            detail: format!("{NAME} from {}", envelope.peer),
        };
        let begun = std::time::Instant::now();
        let taken = Box::pin(take(ingress, content, incoming)).await;
        let code = taken.as_ref().map_or_else(|reply| reply.code, |_| 250);
        METRICS.message(NAME, outcome(code), size, begun.elapsed().as_secs_f64());
        let id: ContentId = taken
            .map_err(|reply| failure(&reply))?
            .parse()
            .unwrap_or_default();
        Ok(SubmitResponse {
            content_id: id.as_bytes().to_vec().into(),
            refused,
        })
    }

    /// The account, and whether it may submit at all now.
    async fn sender(&self, envelope: &SubmitEnvelope) -> Result<Account, Failure> {
        let id = AccountId::new(envelope.account);
        let known = self
            .0
            .directory
            .account(GetAccountRequest {
                key: Some(Key::Id(id.get())),
            })
            .await?;
        if !known.enabled {
            return Err(Failure::new(Kind::Denied, "this account is disabled"));
        }
        let account = Account {
            id,
            address: parse(&known.address)?,
        };
        let most = self.0.config.rates.submitted_per_hour;
        if most > 0
            && self
                .0
                .counters
                .get(&submitted_key(&account))
                .await
                .is_ok_and(|count| count >= most)
        {
            return Err(Failure::new(
                Kind::Exhausted,
                "too many messages, try again later",
            ));
        }
        Ok(account)
    }

    /// The recipients, and for each what was said against it.
    async fn recipients(&self, envelope: &SubmitEnvelope) -> Result<(Recipients, Vec<String>), Failure> {
        if envelope.recipients.is_empty() || envelope.recipients.len() > self.0.config.recipients as usize {
            return Err(Failure::new(Kind::Invalid, "too many recipients, or none"));
        }
        let mut recipients = Recipients::default();
        let mut refused = Vec::with_capacity(envelope.recipients.len());
        for text in &envelope.recipients {
            let added = match text.parse::<Address>() {
                Ok(address) => add(&self.0, &mut recipients, &Rcpt::to(address), true).await,
                Err(error) => {
                    refused.push(error.to_string());
                    continue;
                }
            };
            match added {
                Ok(()) => refused.push(String::new()),
                // Somebody may be asked again; nothing has been done yet.
                Err(reply) if reply.is_temporary() => return Err(failure(&reply)),
                Err(reply) => refused.push(reply.to_string()),
            }
        }
        Ok((recipients, refused))
    }

    async fn collector(
        &self,
        envelope: &SubmitEnvelope,
        account: &Account,
        mail: &Mail,
        recipients: &Recipients,
        seed: Seed,
        trace: Trace,
    ) -> Collector {
        let seconds = i64::try_from(millis() / 1000).unwrap_or_default();
        let origin = Origin {
            helo: NAME.into(),
            ip: envelope.peer.parse().ok(),
            protocol: Protocol {
                extended: true,
                tls: false,
                authenticated: true,
                utf8: false,
            },
            tls: None,
        };
        let stamp = Stamp {
            origin: &origin,
            by: &self.0.config.hostname,
            id: &seed.content().to_string(),
            sender: &mail.reverse_path,
            recipient: recipients.only(),
            seconds,
        };
        let completion = Some(completion(account, seconds));
        Collector::begin(
            self.0.tools(),
            trace,
            &mail.reverse_path,
            recipients,
            stamp.top(),
            completion,
            None,
        )
        .await
    }

    /// Reads content that is stored already. It is stored anew with the fields on top; equal content costs no quota twice,
    /// since the first copy belongs to no account.
    async fn copy_stored(&self, content: &mut Collector, id: ContentId) -> Result<(u64, bool), Failure> {
        let (mut offset, mut eight_bit) = (0, false);
        loop {
            let (piece, total) = self
                .0
                .store
                .read(id, offset, self.0.config.timeouts.storage)
                .await?;
            if total > self.0.config.message_size {
                return Err(too_large());
            }
            offset += piece.len() as u64;
            if piece.is_empty() || offset >= total {
                eight_bit |= !piece.is_ascii();
                content.push(piece).await;
                return Ok((offset, eight_bit));
            }
            eight_bit |= !piece.is_ascii();
            content.push(piece).await;
        }
    }

    async fn copy_chunks(
        &self,
        content: &mut Collector,
        mut parts: Streaming<SubmitRequest>,
    ) -> Result<(u64, bool), Failure> {
        let (mut size, mut eight_bit) = (0, false);
        while let Some(part) = parts.message().await.map_err(Failure::from)? {
            let Some(Part::Chunk(piece)) = part.part else {
                return Err(Failure::new(Kind::Invalid, "only chunks may follow the envelope"));
            };
            size += piece.len() as u64;
            if size > self.0.config.message_size {
                return Err(too_large());
            }
            eight_bit |= !piece.is_ascii();
            content.push(piece).await;
        }
        Ok((size, eight_bit))
    }
}

#[tonic::async_trait]
impl Submission for SubmissionService {
    async fn submit(
        &self,
        request: Request<Streaming<SubmitRequest>>,
    ) -> Result<Response<SubmitResponse>, Status> {
        let trace = Trace::of(request.metadata().as_ref()).unwrap_or_else(Trace::begin);
        let answer = Box::pin(self.submit(request.into_inner(), trace)).await?;
        Ok(Response::new(answer))
    }

    async fn keep_ids(&self, request: Request<KeepIdsRequest>) -> Result<Response<KeepIdsResponse>, Status> {
        let messages = request.into_inner().messages;
        if messages.len() > MOST_TOGETHER {
            return Err(Status::invalid_argument("too many messages at a time"));
        }
        for message in &messages {
            let (fingerprint, seed) = open_message(message)?;
            self.0.acceptor.unresolved.heard(fingerprint, seed);
        }
        Ok(Response::new(KeepIdsResponse {}))
    }
}

fn open_message(message: &OpenMessage) -> Result<(u128, Option<Seed>), Status> {
    let wrong = || Status::invalid_argument("a fingerprint has 16 bytes, and a seed 16 or none");
    let fingerprint = <[u8; 16]>::try_from(&message.fingerprint[..]).map_err(|_| wrong())?;
    let seed = match &message.seed[..] {
        [] => None,
        bytes => Some(Seed::from_bytes(bytes.try_into().map_err(|_| wrong())?)),
    };
    Ok((u128::from_be_bytes(fingerprint), seed))
}

fn parse(address: &str) -> Result<Address, Failure> {
    address
        .parse()
        .map_err(|error: postrider_types::AddressError| Failure::new(Kind::Invalid, error.to_string()))
}

fn too_large() -> Failure {
    Failure::new(Kind::Invalid, "the message is larger than this server takes")
}

/// What SMTP would have said, as a failure of the contract.
fn failure(reply: &Reply) -> Failure {
    let kind = match (reply.code, reply.enhanced) {
        (450 | 452, _) => Kind::Exhausted,
        (_, Some(postrider_smtp::Enhanced(5, 7, _))) => Kind::Denied,
        _ if reply.is_temporary() => Kind::Unavailable,
        _ => Kind::Invalid,
    };
    Failure::new(kind, reply.lines().collect::<Vec<_>>().join(" "))
}
