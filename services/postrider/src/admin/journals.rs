//! The journals of all processes of a cluster, read as one.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt, future};
use postrider_proto::Link;
use postrider_proto::operations::operations_client::OperationsClient;
use postrider_proto::operations::{TraceRequest, TraceStep};
use postrider_rpc::{Cluster, Settings};
use postrider_runtime::config::Config;
use tonic::{Response, Status, Streaming};

use crate::node::service_settings;

/// The metadata in which a process says which one it is: a process may be reached under several names, its own included.
pub const PROCESS: &str = "postrider-process";

/// How long a process may take to begin its answer, and to go on with it.
const PATIENCE: Duration = Duration::from_secs(5);

/// What stands in the place of the steps of a process that could not be asked.
const MISSING: &str = "missing";

/// One journal's steps, oldest first.
type Steps = BoxStream<'static, TraceStep>;

/// The other processes, as `[services]` names them.
#[derive(Clone, Default)]
pub struct Others(Vec<Settings>);

impl Others {
    /// Those whose names are configured.
    pub fn new(config: &Config) -> Result<Self> {
        let services = &config.services;
        let named = [
            ("submission", &services.submission),
            ("queue", &services.queue),
            ("mail-store", &services.mail_store),
            ("directory", &services.directory),
        ];
        let settings = named
            .into_iter()
            .filter_map(|(service, url)| service_settings(config, service, url).transpose());
        Ok(Self(settings.collect::<Result<_>>()?))
    }

    /// Whether there are none: everything runs in this process.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What each of them has recorded. One that cannot be asked, or breaks off, gives a step that says so instead.
    pub async fn trace(&self, request: &TraceRequest, this_process: &str) -> Vec<Steps> {
        let clusters = self.0.iter().map(|settings| async {
            let instances = Cluster::new(settings.clone()).instances().await;
            instances
                .into_iter()
                .map(|(address, link)| (settings.service, address, link))
        });
        let instances = future::join_all(clusters).await.into_iter().flatten();
        let asked = instances.map(|(service, address, link)| {
            let request = TraceRequest {
                here: true,
                ..request.clone()
            };
            async move { (service, address, ask(link, request).await) }
        });
        let mut seen = vec![this_process.to_owned()];
        let mut journals = Vec::new();
        for (service, address, answer) in future::join_all(asked).await {
            match answer {
                Ok(answer) => {
                    let process = answer.metadata().get(PROCESS).and_then(|text| text.to_str().ok());
                    let process = process.unwrap_or_default().to_owned();
                    if !seen.contains(&process) {
                        seen.push(process);
                        journals.push(steps(service, address, answer.into_inner()));
                    }
                }
                Err(status) => {
                    journals.push(stream::iter([missing(whose(service, address), &status)]).boxed())
                }
            }
        }
        journals
    }
}

async fn ask(link: Link, request: TraceRequest) -> Result<Response<Streaming<TraceStep>>, Status> {
    let mut operations = OperationsClient::new(link);
    let asked = tokio::time::timeout(PATIENCE, operations.trace(request)).await;
    asked.unwrap_or_else(|_| Err(silent()))
}

fn steps(service: &'static str, address: SocketAddr, answers: Streaming<TraceStep>) -> Steps {
    stream::unfold(Some(answers), move |answers| async move {
        let mut answers = answers?;
        let next = tokio::time::timeout(PATIENCE, answers.message()).await;
        match next.unwrap_or_else(|_| Err(silent())) {
            Ok(step) => step.map(|step| (step, Some(answers))),
            Err(status) => Some((missing(whose(service, address), &status), None)),
        }
    })
    .boxed()
}

fn silent() -> Status {
    Status::deadline_exceeded("it does not answer")
}

fn whose(service: &str, address: SocketAddr) -> String {
    format!("{service} at {address}")
}

/// What stands in the place of the steps of a process.
pub fn missing(whose: impl std::fmt::Display, why: &Status) -> TraceStep {
    TraceStep {
        step: MISSING.into(),
        detail: format!("{whose}: {}", why.message()),
        ..TraceStep::default()
    }
}

/// Puts journals together, oldest step first; those of one moment stay in the journals' order.
pub fn merge(journals: Vec<Steps>) -> impl Stream<Item = TraceStep> {
    let journals = journals
        .into_iter()
        .map(|journal| journal.peekable())
        .collect::<Vec<_>>();
    stream::unfold(journals, |mut journals| async move {
        let mut oldest: Option<(usize, u64)> = None;
        for (at, journal) in journals.iter_mut().enumerate() {
            let Some(step) = std::pin::Pin::new(journal).peek().await else {
                continue;
            };
            if oldest.is_none_or(|(_, time)| step.time < time) {
                oldest = Some((at, step.time));
            }
        }
        let step = journals.get_mut(oldest?.0)?.next().await?;
        Some((step, journals))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn journals_become_one_in_the_order_of_time() {
        let journal = |name: &str, times: &[u64]| {
            let name = name.to_owned();
            let steps = times.iter().map(move |time| TraceStep {
                time: *time,
                detail: name.clone(),
                ..TraceStep::default()
            });
            stream::iter(steps.collect::<Vec<_>>()).boxed()
        };
        let journals = vec![
            journal("a", &[1, 4, 4]),
            journal("b", &[]),
            journal("c", &[2, 4, 9]),
        ];
        let merged = merge(journals).map(|step| format!("{}{}", step.detail, step.time));
        assert_eq!(
            merged.collect::<Vec<_>>().await,
            ["a1", "c2", "a4", "a4", "c4", "c9"]
        );
    }
}
