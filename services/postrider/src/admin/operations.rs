//! The `Operations` contract: the journal, and the embedded engine as a whole.

use std::path::PathBuf;

use futures::StreamExt;
use futures::stream::BoxStream;
use postrider_embedded::{Database, Report};
use postrider_proto::operations::operations_server::Operations;
use postrider_proto::operations::{
    BackupStoreRequest, BackupStoreResponse, GetStoreStatisticsRequest, GetStoreStatisticsResponse,
    TraceRequest, TraceStep, VerifyStoreRequest, VerifyStoreResponse,
};
use postrider_runtime::journal::{self, Filter, Step};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::journals::{Others, PROCESS, merge, missing};

/// Answers that may wait for a slow reader.
const WAITING: usize = 64;

/// What the engines over the database hold, by the tables their crates document. Reads a row per account.
const TOTALS: &str = "SELECT count(*), coalesce(sum(messages), 0), (SELECT count(*) FROM unit) FROM account";

type Answers<T> = BoxStream<'static, Result<T, Status>>;

/// What an operator asks of a node as a whole.
pub struct OperationsService {
    journal: Option<PathBuf>,
    database: Option<Database>,
    others: Others,
    /// Which process this is, by a number nobody else has.
    process: String,
}

impl OperationsService {
    /// Over the journal's directory and the embedded database, where there are such, and the processes elsewhere.
    pub fn new(journal: Option<PathBuf>, database: Option<Database>, others: Others) -> Self {
        Self {
            journal,
            database,
            others,
            process: format!("{:032x}", rand::random::<u128>()),
        }
    }

    /// The steps in this process's own journal.
    fn own_steps(&self, request: TraceRequest) -> Result<Answers<TraceStep>, Status> {
        let missing = || Status::failed_precondition("this node keeps no journal; set journal.kept");
        let directory = self.journal.clone().ok_or_else(missing)?;
        let TraceRequest {
            id, from, to, since, ..
        } = request;
        let filter = Filter { id, from, to, since };
        Ok(stream(move |answer| {
            let steps = journal::read(&directory, filter).map_err(|error| {
                Status::unavailable(format!(
                    "cannot read the journal {}: {error}",
                    directory.display()
                ))
            })?;
            for step in steps {
                answer(to_proto(step))?;
            }
            Ok(())
        }))
    }

    fn database(&self) -> Result<Database, Status> {
        let missing = || Status::failed_precondition("this node has no embedded store");
        self.database.clone().ok_or_else(missing)
    }
}

#[tonic::async_trait]
impl Operations for OperationsService {
    type TraceStream = Answers<TraceStep>;
    type VerifyStoreStream = Answers<VerifyStoreResponse>;
    type BackupStoreStream = Answers<BackupStoreResponse>;

    async fn trace(&self, request: Request<TraceRequest>) -> Result<Response<Self::TraceStream>, Status> {
        let request = request.into_inner();
        if request.here || self.others.is_empty() {
            let mut response = Response::new(self.own_steps(request)?);
            let process = self
                .process
                .parse()
                .map_err(|_| Status::internal("the process has no number"))?;
            response.metadata_mut().insert(PROCESS, process);
            return Ok(response);
        }
        let mut journals = self.others.trace(&request, &self.process).await;
        if self.journal.is_some() {
            // A line that cannot be read ends this process's part, as it would end another's.
            let own = self
                .own_steps(request)?
                .map(|step| step.unwrap_or_else(|why| missing("this process", &why)));
            journals.push(own.boxed());
        }
        Ok(Response::new(merge(journals).map(Ok).boxed()))
    }

    async fn verify_store(
        &self,
        _: Request<VerifyStoreRequest>,
    ) -> Result<Response<Self::VerifyStoreStream>, Status> {
        let database = self.database()?;
        Ok(Response::new(stream(move |answer| {
            let mut last = (0, 0);
            let mut gone = None;
            let verified = database.verify(|report| {
                let response = match report {
                    Report::Progress { done, total } => {
                        last = (done, total);
                        VerifyStoreResponse {
                            checked: done,
                            total,
                            finding: String::new(),
                        }
                    }
                    Report::Finding(finding) => VerifyStoreResponse {
                        checked: last.0,
                        total: last.1,
                        finding,
                    },
                };
                if gone.is_none() {
                    gone = answer(response).err();
                }
            });
            verified.map(drop).map_err(failed)
        })))
    }

    async fn backup_store(
        &self,
        request: Request<BackupStoreRequest>,
    ) -> Result<Response<Self::BackupStoreStream>, Status> {
        let database = self.database()?;
        let directory = PathBuf::from(request.into_inner().directory);
        if !directory.is_absolute() {
            return Err(Status::invalid_argument(
                "name the backup's directory by its absolute path on the node",
            ));
        }
        Ok(Response::new(stream(move |answer| {
            let mut gone = None;
            let copied = database.backup(&directory, |copied_bytes, total_bytes| {
                if gone.is_none() {
                    gone = answer(BackupStoreResponse {
                        copied_bytes,
                        total_bytes,
                    })
                    .err();
                }
            });
            copied.map_err(failed)
        })))
    }

    async fn get_store_statistics(
        &self,
        _: Request<GetStoreStatisticsRequest>,
    ) -> Result<Response<GetStoreStatisticsResponse>, Status> {
        let database = self.database()?;
        let substrate = database.statistics().await.map_err(failed)?;
        let [accounts, messages, queue_units] = database
            .read(|rows| Ok(rows.query_row(TOTALS, [], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]))?))
            .await
            .map_err(failed)?;
        Ok(Response::new(GetStoreStatisticsResponse {
            accounts,
            messages,
            contents: substrate.contents,
            content_bytes: substrate.content_bytes,
            dead_bytes: substrate.segment_bytes.saturating_sub(substrate.content_bytes),
            segments: substrate.segments,
            database_bytes: substrate.database_bytes + substrate.log_bytes,
            queue_units,
        }))
    }
}

/// Runs blocking work on a thread of its own and streams its answers; the work ends when nobody reads any more.
fn stream<T: Send + 'static>(
    work: impl FnOnce(&mut dyn FnMut(T) -> Result<(), Status>) -> Result<(), Status> + Send + 'static,
) -> Answers<T> {
    let (sender, answers) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        let mut answer = |item| {
            let gone = |_| Status::cancelled("the caller has gone");
            sender.blocking_send(Ok(item)).map_err(gone)
        };
        if let Err(status) = work(&mut answer) {
            // If the reader has gone, so has the one who would read this.
            let _ = sender.blocking_send(Err(status));
        }
    });
    Box::pin(ReceiverStream::new(answers))
}

fn to_proto(step: Step) -> TraceStep {
    let Step {
        time,
        step,
        content,
        message_id,
        unit,
        from,
        to,
        detail,
        trace,
    } = step;
    TraceStep {
        time,
        step,
        content_id: content,
        message_id,
        sender: from,
        recipient: to,
        detail,
        unit_id: unit,
        trace_id: trace,
    }
}

fn failed(error: postrider_embedded::Error) -> Status {
    match error {
        postrider_embedded::Error::Invalid(what) => Status::invalid_argument(what),
        error => Status::unavailable(error.to_string()),
    }
}
