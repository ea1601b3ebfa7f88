//! Users who are logged in, and how many connections each has.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use postrider_types::AccountId;

/// Counts connections by account.
#[derive(Default)]
pub(crate) struct Users(Mutex<HashMap<AccountId, usize>>);

/// A user of one connection, until it is dropped.
pub(crate) struct User {
    users: Arc<Users>,
    /// Whose mail it is.
    pub account: AccountId,
    /// Bytes the account may have; 0: no limit.
    pub quota: u64,
}

impl Users {
    /// Lets a connection in; `None`: the account has as many as it may have. `most` 0: no limit.
    pub fn enter(self: &Arc<Self>, account: AccountId, quota: u64, most: usize) -> Option<User> {
        let mut counts = self.0.lock();
        let count = counts.entry(account).or_default();
        if most > 0 && *count >= most {
            return None;
        }
        *count += 1;
        Some(User {
            users: self.clone(),
            account,
            quota,
        })
    }
}

impl Drop for User {
    fn drop(&mut self) {
        let mut counts = self.users.0.lock();
        if let Some(count) = counts.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_so_many_connections_and_no_more() {
        let users = Arc::<Users>::default();
        let (one, two) = (AccountId::new(1), AccountId::new(2));
        let first = users.enter(one, 0, 2);
        let second = users.enter(one, 0, 2);
        assert!(first.is_some() && second.is_some());
        assert!(users.enter(one, 0, 2).is_none());
        assert!(users.enter(two, 0, 2).is_some());
        drop(second);
        assert!(users.enter(one, 0, 2).is_some());
        drop(first);
        assert!(users.0.lock().is_empty());
    }
}
