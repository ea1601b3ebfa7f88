//! The mail store, asked with deadlines.

use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream;
use postrider_proto::mailstore::mail_store_client::MailStoreClient;
use postrider_proto::mailstore::put_message_request::Part;
use postrider_proto::mailstore::{
    DeliverRequest, DeliverResponse, PutMessageOptions, PutMessageRequest, ReadContentRequest,
};
use postrider_proto::{Failure, Kind, Link, name_account};
use postrider_runtime::Trace;
use postrider_types::{AccountId, ContentId};
use tonic::Request;

/// Octets of one chunk of content.
const CHUNK: usize = 256 * 1024;

#[derive(Clone)]
pub(crate) struct Store {
    link: Link,
}

impl Store {
    pub(crate) fn new(link: Link) -> Self {
        Self { link }
    }

    /// Stores content that is at hand. `account`: in whose mailbox it will be.
    pub(crate) async fn put(
        &self,
        content: Bytes,
        account: Option<AccountId>,
        trace: &Trace,
        deadline: Duration,
    ) -> Result<ContentId, Failure> {
        let size = content.len() as u64;
        let chunks = (0..content.len()).step_by(CHUNK).map(move |at| {
            let end = content.len().min(at + CHUNK);
            content.slice(at..end)
        });
        within(
            deadline,
            self.put_stream(stream::iter(chunks), size, account, *trace),
        )
        .await
    }

    /// Stores content as it comes; the stream's end is the content's. `account`: in whose mailbox it will be.
    pub(crate) async fn put_stream(
        &self,
        chunks: impl Stream<Item = Bytes> + Send + 'static,
        max_size: u64,
        account: Option<AccountId>,
        trace: Trace,
    ) -> Result<ContentId, Failure> {
        use futures::StreamExt;
        let options = PutMessageRequest {
            part: Some(Part::Options(PutMessageOptions { max_size })),
        };
        let chunks = chunks.map(|chunk| PutMessageRequest {
            part: Some(Part::Chunk(chunk)),
        });
        let mut request = traced(stream::iter([options]).chain(chunks), &trace);
        if let Some(account) = account {
            name_account(request.metadata_mut().as_mut(), account);
        }
        let answer = self.client().put_message(request).await?.into_inner();
        ContentId::from_slice(&answer.content_id)
            .ok_or_else(|| Failure::new(Kind::Internal, "the mail store gave no content id"))
    }

    /// Delivers to accounts.
    pub(crate) async fn deliver(
        &self,
        request: DeliverRequest,
        trace: &Trace,
        deadline: Duration,
    ) -> Result<DeliverResponse, Failure> {
        let mut client = self.client();
        within(deadline, async move {
            Ok(client.deliver(traced(request, trace)).await?.into_inner())
        })
        .await
    }

    /// Reads stored content from an offset; the octets and the size of the whole.
    pub(crate) async fn read(
        &self,
        content: ContentId,
        offset: u64,
        deadline: Duration,
    ) -> Result<(Bytes, u64), Failure> {
        let mut client = self.client();
        let request = ReadContentRequest {
            content_id: content.as_bytes().to_vec().into(),
            offset,
            length: CHUNK as u64,
        };
        within(deadline, async move {
            let answer = client.read_content(request).await?.into_inner();
            Ok((answer.data, answer.total_size))
        })
        .await
    }

    fn client(&self) -> MailStoreClient<Link> {
        MailStoreClient::new(self.link.clone())
    }
}

fn traced<T>(message: T, trace: &Trace) -> Request<T> {
    let mut request = Request::new(message);
    trace.tell(request.metadata_mut().as_mut());
    request
}

async fn within<T>(deadline: Duration, call: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    match tokio::time::timeout(deadline, call).await {
        Ok(done) => done,
        Err(_) => Err(Failure::new(Kind::Deadline, "the mail store does not answer")),
    }
}
