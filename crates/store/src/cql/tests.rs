//! The contract suite and what is this engine's own, on the real database.

use std::ops::Deref;

use postrider_cql::testing::Fresh;

use super::*;

/// An engine whose keyspace is free again when it goes.
struct Opened {
    engine: Cql,
    _fresh: Fresh,
}

impl Deref for Opened {
    type Target = Cql;
    fn deref(&self) -> &Cql {
        &self.engine
    }
}

const TABLES: [&str; 8] = [
    "account",
    "account_snapshot",
    "account_list",
    "content",
    "content_holder",
    "content_candidate",
    "lease",
    "progress",
];

async fn open() -> Opened {
    let fresh = Fresh::open(&TABLES).await.unwrap();
    Opened {
        engine: Cql::new(fresh.session.clone(), Options::default()),
        _fresh: fresh,
    }
}

crate::engine_suite!(open);
