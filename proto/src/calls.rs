//! What a caller has to know of every call beyond its messages: how long it may take, whether it may be repeated, and which
//! instance is best asked.
//!
//! A link to another process reads this table; a link within the process needs none of it. A test compares the table with the
//! contracts, so that no call is forgotten.

use std::collections::HashMap;
use std::sync::LazyLock;
use std::time::Duration;

use postrider_types::AccountId;
use prost::Message;

/// What is known of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// The path of its requests: `/package.Service/Method`.
    pub path: &'static str,
    /// How long its answer may take to begin; an edge that has less time says so.
    pub deadline: Duration,
    /// When it may be sent a second time.
    pub repeat: Repeat,
    /// Which instance to ask.
    pub route: Route,
    /// Its answer goes on until one side ends it: a server that goes away ends it, and the caller asks another one.
    pub endless: bool,
}

/// When a call may be sent a second time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Whatever became of the first: it reads, or doing it twice is doing it once.
    Always,
    /// Only when the first cannot have reached a server.
    Unsent,
    /// Never: its request is a stream, which is gone when it has been sent.
    Never,
}

/// Which of several instances is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Route {
    /// The one with the least to do.
    Any,
    /// The one that has the account of field 1 in its cache.
    Account,
    /// The one that has the first recipient's account in its cache (`DeliverRequest`).
    Recipient,
    /// The one that has the account in its cache that the request's metadata name ([`name_account`]): its messages are a stream,
    /// and nobody reads them on their way. None is named: as `Any`.
    Named,
}

const READ: Duration = Duration::from_secs(10);
const WRITE: Duration = Duration::from_secs(20);
/// Work that grows with what is asked for: searches, moves of many messages.
const LONG: Duration = Duration::from_secs(120);
/// A stream in: as long as its sender takes.
const STREAM: Duration = Duration::from_secs(3600);

/// The key of a named account in a request's metadata; its value is in decimal.
const ACCOUNT_KEY: &str = "postrider-account";

use Repeat::{Always, Never, Unsent};
use Route::{Account, Any, Named, Recipient};

const fn call(path: &'static str, deadline: Duration, repeat: Repeat, route: Route) -> Call {
    Call {
        path,
        deadline,
        repeat,
        route,
        endless: false,
    }
}

const fn endless(call: Call) -> Call {
    Call {
        endless: true,
        ..call
    }
}

#[rustfmt::skip]
const CALLS: [Call; 54] = [
    call("/postrider.directory.v1.Directory/Resolve", READ, Always, Any),
    call("/postrider.directory.v1.Directory/Authenticate", READ, Always, Any),
    call("/postrider.directory.v1.Directory/GetScramVerifier", READ, Always, Any),
    call("/postrider.directory.v1.Directory/MaySendAs", READ, Always, Any),
    call("/postrider.directory.v1.Directory/AddDomain", WRITE, Unsent, Any),
    call("/postrider.directory.v1.Directory/ListDomains", READ, Always, Any),
    call("/postrider.directory.v1.Directory/RemoveDomain", WRITE, Unsent, Any),
    call("/postrider.directory.v1.Directory/AddAccount", WRITE, Unsent, Any),
    call("/postrider.directory.v1.Directory/ListAccounts", READ, Always, Any),
    call("/postrider.directory.v1.Directory/GetAccount", READ, Always, Any),
    call("/postrider.directory.v1.Directory/SetPassword", WRITE, Unsent, Any),
    call("/postrider.directory.v1.Directory/UpdateAccount", WRITE, Unsent, Any),
    call("/postrider.directory.v1.Directory/RemoveAccount", WRITE, Unsent, Any),
    call("/postrider.directory.v1.Directory/AddAppPassword", WRITE, Unsent, Any),
    call("/postrider.directory.v1.Directory/ListAppPasswords", READ, Always, Any),
    call("/postrider.directory.v1.Directory/RemoveAppPassword", WRITE, Unsent, Any),
    call("/postrider.directory.v1.Directory/AddAlias", WRITE, Unsent, Any),
    call("/postrider.directory.v1.Directory/ListAliases", READ, Always, Any),
    call("/postrider.directory.v1.Directory/RemoveAlias", WRITE, Unsent, Any),

    call("/postrider.mailstore.v1.MailStore/PutMessage", STREAM, Never, Named),
    // Each delivery has an id, and a receipt when it has happened.
    call("/postrider.mailstore.v1.MailStore/Deliver", WRITE, Always, Recipient),
    call("/postrider.mailstore.v1.MailStore/ReadContent", READ, Always, Any),
    call("/postrider.mailstore.v1.MailStore/ReadContents", READ, Always, Any),
    call("/postrider.mailstore.v1.MailStore/GetAccount", READ, Always, Account),
    call("/postrider.mailstore.v1.MailStore/RemoveAccount", LONG, Always, Account),
    call("/postrider.mailstore.v1.MailStore/ListFolders", READ, Always, Account),
    call("/postrider.mailstore.v1.MailStore/CreateFolder", WRITE, Unsent, Account),
    call("/postrider.mailstore.v1.MailStore/RenameFolder", LONG, Unsent, Account),
    call("/postrider.mailstore.v1.MailStore/DeleteFolder", LONG, Unsent, Account),
    call("/postrider.mailstore.v1.MailStore/SetSubscription", WRITE, Always, Account),
    call("/postrider.mailstore.v1.MailStore/OpenFolder", LONG, Always, Account),
    call("/postrider.mailstore.v1.MailStore/ListMessages", READ, Always, Account),
    call("/postrider.mailstore.v1.MailStore/AppendMessages", WRITE, Unsent, Account),
    call("/postrider.mailstore.v1.MailStore/StoreFlags", LONG, Unsent, Account),
    call("/postrider.mailstore.v1.MailStore/CopyMessages", LONG, Unsent, Account),
    call("/postrider.mailstore.v1.MailStore/ExpungeMessages", LONG, Unsent, Account),
    call("/postrider.mailstore.v1.MailStore/SearchMessages", LONG, Always, Account),
    call("/postrider.mailstore.v1.MailStore/ListChanges", READ, Always, Account),
    endless(call("/postrider.mailstore.v1.MailStore/Watch", READ, Never, Any)),

    call("/postrider.operations.v1.Operations/Trace", READ, Always, Any),
    call("/postrider.operations.v1.Operations/VerifyStore", LONG, Always, Any),
    call("/postrider.operations.v1.Operations/BackupStore", LONG, Unsent, Any),
    call("/postrider.operations.v1.Operations/GetStoreStatistics", READ, Always, Any),

    call("/postrider.queue.v1.Queue/ListUnits", READ, Always, Any),
    call("/postrider.queue.v1.Queue/GetUnit", READ, Always, Any),
    call("/postrider.queue.v1.Queue/Act", LONG, Unsent, Any),
    call("/postrider.queue.v1.Queue/SuspendDomain", WRITE, Always, Any),
    call("/postrider.queue.v1.Queue/ResumeDomain", WRITE, Always, Any),
    call("/postrider.queue.v1.Queue/ListSuspensions", READ, Always, Any),
    call("/postrider.queue.v1.Queue/GetStatistics", READ, Always, Any),

    call("/postrider.submission.v1.Submission/Submit", STREAM, Never, Any),
    call("/postrider.submission.v1.Submission/KeepIds", READ, Always, Any),

    call("/grpc.health.v1.Health/Check", READ, Always, Any),
    endless(call("/grpc.health.v1.Health/Watch", READ, Always, Any)),
];

impl Call {
    /// What is known of the call with this path; of one that is not in the contracts, what is always safe.
    pub fn of(path: &str) -> Call {
        static TABLE: LazyLock<HashMap<&'static str, Call>> =
            LazyLock::new(|| CALLS.iter().map(|call| (call.path, *call)).collect());
        let unknown = call("", READ, Never, Any);
        TABLE.get(path).copied().unwrap_or(unknown)
    }

    /// The account whose instance is to be asked, as the request's metadata name it. `None`: any instance.
    pub fn named_account(&self, metadata: &http::HeaderMap) -> Option<AccountId> {
        if self.route != Route::Named {
            return None;
        }
        let account = metadata.get(ACCOUNT_KEY)?.to_str().ok()?.parse().ok()?;
        Some(AccountId::new(account))
    }

    /// The account whose instance is to be asked, read from an encoded request message (without the five bytes gRPC puts in
    /// front). `None`: any instance.
    pub fn account(&self, message: &[u8]) -> Option<AccountId> {
        #[derive(Clone, PartialEq, Message)]
        struct OfAccount {
            #[prost(uint64, tag = "1")]
            account: u64,
        }
        #[derive(Clone, PartialEq, Message)]
        struct OfRecipients {
            #[prost(message, repeated, tag = "3")]
            recipients: Vec<OfAccount>,
        }
        let account = match self.route {
            Route::Any | Route::Named => None,
            Route::Account => OfAccount::decode(message).ok().map(|of| of.account),
            Route::Recipient => OfRecipients::decode(message)
                .ok()
                .and_then(|of| of.recipients.first().map(|first| first.account)),
        };
        account.map(AccountId::new)
    }
}

/// Names the account in whose mailbox a streamed message will be: the instance that has the account in its cache then describes the message
/// while it comes, and need not read it again when it is delivered or appended.
pub fn name_account(metadata: &mut http::HeaderMap, account: AccountId) {
    metadata.insert(ACCOUNT_KEY, account.get().into());
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::mailstore::{DeliverRecipient, DeliverRequest, OpenFolderRequest, deliver_request};

    #[test]
    fn every_call_of_the_contracts_is_in_the_table_and_streams_are_not_repeated() {
        let contracts = prost_types::FileDescriptorSet::decode(crate::DESCRIPTORS).unwrap();
        let mut paths = BTreeSet::new();
        for file in &contracts.file {
            for service in &file.service {
                for method in &service.method {
                    let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                    let call = Call::of(&path);
                    assert_eq!(call.path, path, "is missing in the table");
                    assert_eq!(
                        call.repeat == Repeat::Never,
                        method.client_streaming(),
                        "{path}: a stream of requests, and nothing else, is gone when sent"
                    );
                    paths.insert(path);
                }
            }
        }
        let gone = CALLS
            .iter()
            .filter(|call| !call.path.starts_with("/grpc.") && !paths.contains(call.path));
        assert_eq!(gone.map(|call| call.path).collect::<Vec<_>>(), [""; 0]);
    }

    #[test]
    fn the_account_of_a_stream_is_named_beside_it() {
        let mut metadata = http::HeaderMap::new();
        let put = Call::of("/postrider.mailstore.v1.MailStore/PutMessage");
        assert_eq!(put.named_account(&metadata), None);
        name_account(&mut metadata, AccountId::new(u64::MAX >> 1));
        assert_eq!(put.named_account(&metadata), Some(AccountId::new(u64::MAX >> 1)));
        let submit = Call::of("/postrider.submission.v1.Submission/Submit");
        assert_eq!(submit.named_account(&metadata), None);
        metadata.insert(ACCOUNT_KEY, "-1".parse().unwrap());
        assert_eq!(put.named_account(&metadata), None);
    }

    #[test]
    fn the_account_is_found_in_the_request() {
        let deliver = DeliverRequest {
            content: Some(deliver_request::Content::Inline(vec![b'x'; 5000].into())),
            recipients: [7, 8]
                .map(|account| DeliverRecipient {
                    account,
                    delivery_id: vec![1; 16].into(),
                    ..DeliverRecipient::default()
                })
                .into(),
            ..DeliverRequest::default()
        };
        let call = Call::of("/postrider.mailstore.v1.MailStore/Deliver");
        assert_eq!(call.account(&deliver.encode_to_vec()), Some(AccountId::new(7)));
        assert_eq!(call.account(&[]), None);
        let open = OpenFolderRequest {
            account: 9,
            known_version: 3,
            ..OpenFolderRequest::default()
        };
        let call = Call::of("/postrider.mailstore.v1.MailStore/OpenFolder");
        assert_eq!(call.account(&open.encode_to_vec()), Some(AccountId::new(9)));
        assert_eq!(call.account(b"\xff\xff\xff"), None);
    }
}
