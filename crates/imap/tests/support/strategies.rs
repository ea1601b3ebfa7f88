//! Commands by chance.

use postrider_imap::command::*;
use postrider_imap::set::{MessageSet, SeqNumber, SeqRange, SequenceSet};
use postrider_types::{Flags, Keyword, SystemFlag};
use proptest::prelude::*;

pub fn sequence_set() -> impl Strategy<Value = SequenceSet> {
    let end = || prop_oneof![1 => Just(None), 9 => (1..=u32::MAX).prop_map(std::num::NonZeroU32::new)];
    let number = |end: Option<_>| end.map_or(SeqNumber::Star, SeqNumber::Number);
    let range = (end(), end()).prop_map(move |(a, b)| SeqRange {
        first: number(a),
        last: number(b),
    });
    proptest::collection::vec(range, 1..5).prop_map(|ranges| SequenceSet::new(ranges).expect("a legal value"))
}

pub fn message_set() -> impl Strategy<Value = MessageSet> {
    prop_oneof![5 => sequence_set().prop_map(MessageSet::Numbers), 1 => Just(MessageSet::Saved)]
}

/// Everything a string may hold.
pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[ -~]{0,12}",
        "\\PC{0,8}",
        Just(String::new()),
        Just("NIL".into()),
        "[a\r\n\"{}\\\\]{0,6}"
    ]
}

/// Names a folder can have.
pub fn mailbox() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z][a-z0-9]{0,8}",
        "[a-z&/ \"\\\\%*]{1,10}",
        "\\PC{1,8}",
        Just("INBOX".into()),
        Just("INBOX/x".into())
    ]
    .prop_filter("canonical already", |name| {
        postrider_imap::mailbox::canonical(name.clone()) == *name
    })
}

pub fn keyword() -> impl Strategy<Value = Keyword> {
    "[$a-z][a-z0-9]{0,8}".prop_map(|text| Keyword::new(&text).expect("a legal value"))
}

fn modseq() -> impl Strategy<Value = u64> {
    0..=i64::MAX as u64
}

pub fn search_key() -> impl Strategy<Value = SearchKey> {
    search_key_of(message_set().boxed())
}

fn search_key_of(set: BoxedStrategy<MessageSet>) -> impl Strategy<Value = SearchKey> {
    let which = prop_oneof![
        Just(DateWhich::Received),
        Just(DateWhich::Sent),
        Just(DateWhich::Saved)
    ];
    let relation = prop_oneof![
        Just(DateRelation::Before),
        Just(DateRelation::On),
        Just(DateRelation::Since)
    ];
    let leaf = prop_oneof![
        Just(SearchKey::All),
        Just(SearchKey::Recent),
        Just(SearchKey::SaveDateSupported),
        set.clone().prop_map(SearchKey::Sequence),
        set.prop_map(SearchKey::Uid),
        (0..5usize).prop_map(|at| SearchKey::Flag(SystemFlag::ALL[at])),
        keyword().prop_map(SearchKey::Keyword),
        (which, relation, -700_000..2_900_000).prop_map(|(which, relation, day)| SearchKey::Date {
            which,
            relation,
            day
        }),
        modseq().prop_map(SearchKey::Larger),
        modseq().prop_map(SearchKey::Smaller),
        modseq().prop_map(SearchKey::ModSeq),
        (text(), text()).prop_map(|(name, value)| SearchKey::Header { name, value }),
        text().prop_map(SearchKey::Body),
        text().prop_map(SearchKey::Text),
        (1..=u32::MAX).prop_map(SearchKey::Younger),
        (1..=u32::MAX).prop_map(SearchKey::Older),
        text().prop_map(SearchKey::EmailId),
        text().prop_map(SearchKey::ThreadId),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(SearchKey::And),
            (inner.clone(), inner.clone()).prop_map(|pair| SearchKey::Or(Box::new(pair))),
            inner.prop_map(|key| SearchKey::Not(Box::new(key))),
        ]
    })
}

fn part() -> impl Strategy<Value = PartPath> {
    proptest::collection::vec(1..100u32, 0..4).prop_map(PartPath::from_vec)
}

fn partial() -> impl Strategy<Value = Option<Partial>> {
    proptest::option::of(
        (modseq(), 1..=i64::MAX as u64).prop_map(|(offset, count)| Partial { offset, count }),
    )
}

fn section() -> impl Strategy<Value = Section> {
    let names = || proptest::collection::vec("[A-Z][a-z-]{0,8}", 1..4);
    let text = prop_oneof![
        Just(None),
        Just(Some(SectionText::Header)),
        Just(Some(SectionText::Text)),
        Just(Some(SectionText::Mime)),
        names().prop_map(|names| Some(SectionText::HeaderFields(names))),
        names().prop_map(|names| Some(SectionText::HeaderFieldsNot(names))),
    ];
    let legal = |section: &Section| section.text != Some(SectionText::Mime) || !section.part.is_empty();
    (part(), text)
        .prop_map(|(part, text)| Section { part, text })
        .prop_filter("MIME has a part", legal)
}

fn fetch_item() -> impl Strategy<Value = FetchItem> {
    prop_oneof![
        Just(FetchItem::Envelope),
        Just(FetchItem::Flags),
        Just(FetchItem::InternalDate),
        Just(FetchItem::Rfc822Size),
        Just(FetchItem::Uid),
        Just(FetchItem::Body),
        Just(FetchItem::BodyStructure),
        Just(FetchItem::Rfc822),
        Just(FetchItem::Rfc822Header),
        Just(FetchItem::Rfc822Text),
        Just(FetchItem::ModSeq),
        Just(FetchItem::EmailId),
        Just(FetchItem::ThreadId),
        Just(FetchItem::SaveDate),
        any::<bool>().prop_map(|lazy| FetchItem::Preview { lazy }),
        (section(), partial(), any::<bool>()).prop_map(|(section, partial, peek)| FetchItem::Section {
            section,
            partial,
            peek
        }),
        (part(), partial(), any::<bool>()).prop_map(|(part, partial, peek)| FetchItem::Binary {
            part,
            partial,
            peek
        }),
        part().prop_map(FetchItem::BinarySize),
    ]
}

fn fetch(set: BoxedStrategy<MessageSet>) -> impl Strategy<Value = Fetch> {
    let items = proptest::collection::vec(fetch_item(), 1..5).prop_map(|items| {
        let mut once: Vec<FetchItem> = Vec::new();
        for item in items {
            if !once.contains(&item) {
                once.push(item);
            }
        }
        once
    });
    (
        any::<bool>(),
        set,
        items,
        proptest::option::of(1..=i64::MAX as u64),
        any::<bool>(),
    )
        .prop_map(|(uid, set, items, changed_since, vanished)| {
            let vanished = vanished && uid && changed_since.is_some();
            Fetch {
                uid,
                set,
                items,
                changed_since,
                vanished,
            }
        })
}

fn flag_list() -> impl Strategy<Value = FlagList> {
    (0..32u8, proptest::collection::vec(keyword(), 0..3)).prop_map(|(bits, mut keywords)| {
        keywords.sort();
        keywords.dedup();
        FlagList {
            flags: Flags::from_bits(bits),
            keywords,
        }
    })
}

fn store(set: BoxedStrategy<MessageSet>) -> impl Strategy<Value = Store> {
    let operation = prop_oneof![
        Just(StoreOperation::Replace),
        Just(StoreOperation::Add),
        Just(StoreOperation::Remove)
    ];
    (
        any::<bool>(),
        set,
        operation,
        any::<bool>(),
        flag_list(),
        proptest::option::of(modseq()),
    )
        .prop_map(|(uid, set, operation, silent, flags, unchanged_since)| Store {
            uid,
            set,
            operation,
            silent,
            flags,
            unchanged_since,
        })
}

fn status_items() -> impl Strategy<Value = StatusItems> {
    proptest::sample::subsequence(StatusItem::ALL.to_vec(), 1..=StatusItem::ALL.len())
        .prop_map(|items| items.into_iter().collect())
}

fn returns() -> impl Strategy<Value = Option<ReturnOptions>> {
    let any = proptest::array::uniform5(any::<bool>()).prop_filter("one at least", |on| on.contains(&true));
    proptest::option::of(any.prop_map(|[min, max, all, count, save]| ReturnOptions {
        min,
        max,
        all,
        count,
        save,
    }))
}

fn list() -> impl Strategy<Value = List> {
    let select =
        proptest::array::uniform4(any::<bool>()).prop_map(|[subscribed, remote, recursive, special_use]| {
            let recursive_match = recursive && (subscribed || special_use);
            ListSelect {
                subscribed,
                remote,
                recursive_match,
                special_use,
            }
        });
    let returns = (
        proptest::array::uniform3(any::<bool>()),
        proptest::option::of(status_items()),
    )
        .prop_map(|([subscribed, children, special_use], status)| ListReturn {
            subscribed,
            children,
            special_use,
            status,
        });
    let patterns = proptest::collection::vec(mailbox(), 1..4);
    (select, mailbox(), patterns, returns, any::<bool>()).prop_map(
        |(select, reference, patterns, returns, extended)| {
            let extended = extended
                || select != ListSelect::default()
                || returns != ListReturn::default()
                || patterns.len() > 1;
            List {
                select,
                reference,
                patterns,
                returns,
                extended,
            }
        },
    )
}

fn select() -> impl Strategy<Value = Select> {
    let known = || {
        let range = (1..1000u32, 1..1000u32).prop_map(|(a, b)| SeqRange {
            first: SeqNumber::Number(std::num::NonZeroU32::new(a).expect("a legal value")),
            last: SeqNumber::Number(std::num::NonZeroU32::new(b).expect("a legal value")),
        });
        proptest::collection::vec(range, 1..4)
            .prop_map(|ranges| SequenceSet::new(ranges).expect("a legal value"))
    };
    let qresync = (
        1..=u32::MAX,
        1..=i64::MAX as u64,
        proptest::option::of(known()),
        proptest::option::of((known(), known())),
    )
        .prop_map(|(uid_validity, modseq, known_uids, seq_match)| QResync {
            uid_validity,
            modseq,
            known_uids,
            seq_match,
        });
    (
        mailbox(),
        any::<bool>(),
        any::<bool>(),
        proptest::option::of(qresync),
    )
        .prop_map(|(mailbox, read_only, condstore, qresync)| Select {
            mailbox,
            read_only,
            condstore,
            qresync,
        })
}

fn sort_keys() -> impl Strategy<Value = Vec<SortKey>> {
    let field = prop_oneof![
        Just(SortField::Arrival),
        Just(SortField::Cc),
        Just(SortField::Date),
        Just(SortField::From),
        Just(SortField::Size),
        Just(SortField::Subject),
        Just(SortField::To),
    ];
    proptest::collection::vec(
        (any::<bool>(), field).prop_map(|(reverse, field)| SortKey { reverse, field }),
        1..4,
    )
}

pub fn command() -> impl Strategy<Value = Command> {
    command_of(message_set().boxed())
}

/// With sequence sets of one ascending range.
pub fn simple_command() -> impl Strategy<Value = Command> {
    let numbers = (1..1000u32, 0..1000u32)
        .prop_map(|(first, more)| SequenceSet::of_numbers(first..=first + more).expect("a legal value"));
    command_of(numbers.prop_map(MessageSet::Numbers).boxed())
}

fn command_of(set: BoxedStrategy<MessageSet>) -> impl Strategy<Value = Command> {
    let copy =
        || (any::<bool>(), set.clone(), mailbox()).prop_map(|(uid, set, mailbox)| Copy { uid, set, mailbox });
    let special_use = proptest::sample::subsequence(SpecialUse::ALL.to_vec(), 0..3);
    let algorithm = prop_oneof![
        Just(ThreadAlgorithm::References),
        Just(ThreadAlgorithm::OrderedSubject)
    ];
    prop_oneof![
        prop_oneof![
            Just(Command::Capability),
            Just(Command::Noop),
            Just(Command::Logout),
            Just(Command::StartTls),
            Just(Command::Namespace),
            Just(Command::Idle),
            Just(Command::Check),
            Just(Command::Close),
            Just(Command::Unselect),
        ],
        (text(), text()).prop_map(|(user, password)| Command::Login(Login {
            user,
            password: postrider_types::Secret::new(password)
        })),
        proptest::collection::vec((text(), proptest::option::of(text())), 0..3)
            .prop_map(|fields| Command::Id(Id(fields))),
        proptest::sample::subsequence(Extension::ALL.to_vec(), 1..=4)
            .prop_map(|list| Command::Enable(Enable(list))),
        select().prop_map(Command::Select),
        (
            mailbox().prop_filter("no trailing delimiter", |name| !name.ends_with('/')),
            special_use
        )
            .prop_map(|(mailbox, special_use)| Command::Create(Create { mailbox, special_use })),
        mailbox().prop_map(Command::Delete),
        mailbox().prop_map(Command::Subscribe),
        mailbox().prop_map(Command::GetQuotaRoot),
        text().prop_map(Command::GetQuota),
        (mailbox(), mailbox()).prop_map(|(from, to)| Command::Rename(Rename { from, to })),
        list().prop_map(Command::List),
        (mailbox(), mailbox()).prop_map(|(reference, pattern)| Command::Lsub { reference, pattern }),
        (mailbox(), status_items()).prop_map(|(mailbox, items)| Command::Status(Status { mailbox, items })),
        (text(), modseq()).prop_map(|(root, limit)| {
            Command::SetQuota(SetQuota {
                root,
                limits: vec![(QuotaResource::Storage, limit), (QuotaResource::Message, 1)],
            })
        }),
        proptest::option::of(set.clone()).prop_map(Command::Expunge),
        (any::<bool>(), returns(), search_key_of(set.clone()))
            .prop_map(|(uid, returns, key)| Command::Search(Search { uid, returns, key })),
        (any::<bool>(), returns(), sort_keys(), search_key_of(set.clone())).prop_map(
            |(uid, returns, keys, search)| Command::Sort(Sort {
                uid,
                returns,
                keys,
                search
            })
        ),
        (any::<bool>(), algorithm, search_key_of(set.clone())).prop_map(|(uid, algorithm, search)| {
            Command::Thread(Thread {
                uid,
                algorithm,
                search,
            })
        }),
        fetch(set.clone()).prop_map(Command::Fetch),
        store(set.clone()).prop_map(Command::Store),
        copy().prop_map(Command::Copy),
        copy().prop_map(Command::Move),
    ]
}
