//! Queue units as holders of content, where the queue's engine has no content of its own.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_queue::engine::Holds;
use postrider_queue::{Error, Result};
use postrider_store::ContentEngine;
use postrider_types::{ContentId, UnitId};

/// Passes holds on to the content engine.
pub struct ContentHolds(pub Arc<dyn ContentEngine>);

#[async_trait]
impl Holds for ContentHolds {
    async fn put(&self, content: ContentId, body: Bytes) -> Result<()> {
        self.0.put(content, body).await.map_err(failed)
    }

    async fn hold(&self, content: ContentId, unit: UnitId) -> Result<()> {
        self.0.hold(content, unit).await.map_err(failed)
    }

    async fn release(&self, content: ContentId, unit: UnitId) -> Result<()> {
        self.0.release(content, unit).await.map_err(failed)
    }
}

fn failed(error: postrider_store::Error) -> Error {
    use postrider_store::Error as Store;
    match error {
        Store::Unknown(what) => Error::Unknown(what),
        Store::Damaged(what) => Error::Damaged(what),
        Store::Invalid(_) | Store::NotFound(_) => Error::Invalid(error.to_string()),
        Store::Unavailable(what) | Store::Full(what) => Error::Unavailable(what),
    }
}
