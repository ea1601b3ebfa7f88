//! The memory engine passes the suite, whole and in steps.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::HashSet;
use std::sync::Arc;

use crate::engine::Holds;
use crate::suite::{Fixture, TestClock};
use crate::{Memory, Result};
use async_trait::async_trait;
use bytes::Bytes;
use parking_lot::Mutex;
use postrider_types::{ContentId, UnitId};

/// Who holds what.
#[derive(Default)]
pub(super) struct Holders(Mutex<HashSet<(ContentId, UnitId)>>);

impl Holders {
    pub(super) fn count(&self) -> usize {
        self.0.lock().len()
    }
}

#[async_trait]
impl Holds for Holders {
    async fn put(&self, _: ContentId, _: Bytes) -> Result<()> {
        Ok(())
    }

    async fn hold(&self, content: ContentId, unit: UnitId) -> Result<()> {
        self.0.lock().insert((content, unit));
        Ok(())
    }

    async fn release(&self, content: ContentId, unit: UnitId) -> Result<()> {
        self.0.lock().remove(&(content, unit));
        Ok(())
    }
}

fn fixture(change: impl FnOnce(Memory) -> Memory) -> Fixture {
    let (clock, holders) = (TestClock::default(), Arc::new(Holders::default()));
    let engine = Arc::new(change(Memory::new(holders.clone(), clock.clock())));
    Fixture {
        units: engine.clone(),
        wake_ups: engine,
        clock,
        put_content: Box::new(|| Box::pin(async { ContentId::generate() })),
        holders: Box::new(move |content| {
            let count = holders
                .0
                .lock()
                .iter()
                .filter(|(held, _)| *held == content)
                .count();
            Box::pin(async move { count })
        }),
        settle: std::time::Duration::ZERO,
        keep: Box::new(()),
    }
}

mod whole {
    async fn make() -> super::Fixture {
        super::fixture(|engine| engine)
    }
    crate::queue_suite!(make);
}

mod in_steps {
    async fn make() -> super::Fixture {
        super::fixture(|engine| engine.with_faults(std::sync::Arc::new(|_| None)))
    }
    crate::queue_suite!(make);
}
