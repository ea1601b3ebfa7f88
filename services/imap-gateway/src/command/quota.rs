//! GETQUOTA and GETQUOTAROOT (RFC 9208 §4). An account has one quota root, whose name is empty.

use postrider_imap::command::QuotaResource;
use postrider_imap::response::{self, Code, Usage};

use super::Exec;
use crate::answer::{Answer, Outcome, Stop};

/// The root of everything an account has.
const ROOT: &str = "";
/// STORAGE counts in these.
const KIB: u64 = 1024;

impl Exec<'_> {
    pub(super) async fn get_quota(&mut self, root: String) -> Outcome {
        if root != ROOT {
            return Ok(Answer::no("no such quota root").with(Code::NonExistent));
        }
        self.tell_quota().await?;
        Ok(Answer::ok("GETQUOTA completed"))
    }

    pub(super) async fn get_quota_root(&mut self, name: String) -> Outcome {
        self.shared.store.folder(self.account(), &name).await?;
        response::quota_root(self.port.output(), &name, &[ROOT], self.session.syntax());
        self.tell_quota().await?;
        Ok(Answer::ok("GETQUOTAROOT completed"))
    }

    /// Resources without a limit are left out (RFC 9208 §4.2.1).
    async fn tell_quota(&mut self) -> Result<(), Stop> {
        let mut usages = Vec::new();
        if self.user.quota > 0 {
            let account = self.shared.store.account(self.account()).await?;
            usages.push(Usage {
                resource: QuotaResource::Storage,
                used: account.used_bytes.div_ceil(KIB),
                limit: self.user.quota / KIB,
            });
        }
        response::quota(self.port.output(), ROOT, &usages, self.session.syntax());
        Ok(())
    }
}
