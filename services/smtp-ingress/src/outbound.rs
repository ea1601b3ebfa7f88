//! The outbound queue, as far as this role needs it.

use async_trait::async_trait;
use bytes::Bytes;
use postrider_queue::{Error, NewUnit, Queue};
use postrider_types::{DeliveryId, UnitId};

/// Where units go.
#[async_trait]
pub trait Outbound: Send + Sync + 'static {
    /// Puts units in.
    /// * All of them or none, durable when it returns `Ok`.
    /// * Idempotent by unit id: after [`Error::Unknown`] the same call may be repeated.
    /// * `body`: the content that all of them share, when it is not stored yet.
    async fn enqueue(&self, units: Vec<NewUnit>, body: Option<Bytes>) -> Result<(), Error>;

    /// Takes recipients out of a local unit whom the caller has delivered to under these ids. If a worker has the unit
    /// already it finds the receipts, so a failure of this call delays nothing and doubles nothing.
    async fn settle_local(&self, unit: UnitId, delivered: &[DeliveryId]) -> Result<(), Error>;
}

#[async_trait]
impl Outbound for Queue {
    async fn enqueue(&self, units: Vec<NewUnit>, body: Option<Bytes>) -> Result<(), Error> {
        match body {
            Some(body) => self.enqueue_with(units, body).await,
            None => Queue::enqueue(self, units).await,
        }
    }

    async fn settle_local(&self, unit: UnitId, delivered: &[DeliveryId]) -> Result<(), Error> {
        Queue::settle_local(self, unit, delivered).await.map(drop)
    }
}
