//! The service: what it depends on, and how a reader gets the state of an account.
//!
//! What each rpc does stands in the file of its subject (`delivery`, `folders`, `flags`, …), as methods of [`Service`].

use std::sync::Arc;

use async_trait::async_trait;
use moka::sync::Cache;
use postrider_coordination::Hints;
use postrider_proto::Failure;
use postrider_store::account::Head;
use postrider_store::{AccountEngine, ContentEngine};
use postrider_types::{AccountId, ContentId, Version};
use tokio::time::Instant;

use crate::Config;
use crate::cache::Accounts;
use crate::columns::Sizes;
use crate::commit::{self, Operation};
use crate::content::Described;
use crate::draft::Draft;
use crate::failure::{storage, unavailable};
use crate::state::State;
use crate::watch::Watchers;
use crate::weight::Weight;

/// Everything an rpc works with.
pub(crate) struct Service {
    pub engine: Arc<dyn AccountEngine>,
    pub contents: Arc<dyn ContentEngine>,
    pub hints: Arc<dyn Hints>,
    pub config: Config,
    /// The most of one commit.
    pub most: Weight,
    pub accounts: Accounts,
    pub watchers: Watchers,
    /// Descriptions of contents that were stored or read a moment ago.
    pub descriptions: Cache<ContentId, Arc<Described>>,
    /// Sizes of messages that were listed a moment ago.
    pub sizes: Sizes,
}

impl Service {
    pub fn new(
        engine: Arc<dyn AccountEngine>,
        contents: Arc<dyn ContentEngine>,
        hints: Arc<dyn Hints>,
        config: Config,
    ) -> Self {
        let descriptions = Cache::builder()
            .max_capacity(config.description_cache_bytes)
            .weigher(|_, described: &Arc<Described>| described.memory())
            // Far below the grace period: what is found here has not been swept.
            .time_to_live(config.content_grace / 10)
            .build();
        let accounts = Accounts::new(config.cache_bytes);
        let most = Weight::most(engine.commit_limits());
        let sizes = Sizes::new(config.size_cache_bytes);
        Self {
            engine,
            contents,
            hints,
            config,
            most,
            accounts,
            watchers: Watchers::default(),
            descriptions,
            sizes,
        }
    }

    /// Runs an operation on an account: when this returns `Ok`, it is durable.
    pub async fn run<O: Operation>(
        self: &Arc<Self>,
        account: AccountId,
        operation: O,
    ) -> Result<O::Output, Failure> {
        commit::run(self, account, operation).await
    }

    /// The state of an account as of now; an account that does not exist yet begins with its first folders.
    pub async fn view(self: &Arc<Self>, account: AccountId) -> Result<Arc<State>, Failure> {
        let entry = self.accounts.get(account);
        if let Some(state) = entry.state().filter(|state| state.version() > Version(0)) {
            if self.config.sole_instance {
                return Ok(state);
            }
            let now = Instant::now();
            if commit::is_current(&*self.engine, account, &state).await? {
                entry.confirm(now);
                return Ok(state);
            }
        }
        self.run(account, Touch).await?;
        entry
            .state()
            .ok_or_else(|| unavailable("the account changes hands, try again"))
    }

    /// Head of an account (GetAccount).
    pub async fn account(self: &Arc<Self>, account: AccountId) -> Result<Head, Failure> {
        Ok(self.view(account).await?.head().clone())
    }

    /// Removes everything an account has (RemoveAccount). Idempotent.
    pub async fn remove_account(&self, account: AccountId) -> Result<(), Failure> {
        let entry = self.accounts.get(account);
        let _gate = entry.gate.lock().await;
        let removed = self.engine.remove(account).await;
        // Whatever came of it, what is cached may no longer be so.
        entry.set_state(None);
        self.sizes.forget(account);
        removed.map_err(storage)
    }
}

/// Does nothing, which makes the commit loop check the state against the head, and begin an account that is new.
struct Touch;

#[async_trait]
impl Operation for Touch {
    type Output = ();

    async fn plan(&self, _draft: &mut Draft<'_>) -> Result<(), Failure> {
        Ok(())
    }
}
