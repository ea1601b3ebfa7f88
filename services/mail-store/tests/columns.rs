//! Flags and sizes as columns say what the rows say.
#![allow(clippy::unwrap_used, clippy::panic)]

mod harness;

use bytes::Bytes;
use harness::*;
use postrider_index::UidSet;
use postrider_proto::mailstore::list_messages_request::Brief;
use postrider_proto::mailstore::*;
use postrider_types::SystemFlag;

const SEEN: u32 = SystemFlag::Seen as u32;

/// UID, flags and size of every message; and whether all of them came as columns.
async fn brief(client: &mut Client, uids: Bytes, brief: Brief) -> (Vec<(u32, u32, u64)>, bool) {
    let request = ListMessagesRequest {
        account: 7,
        folder: INBOX,
        uids,
        brief: brief.into(),
        ..Default::default()
    };
    let mut stream = client.list_messages(request).await.unwrap().into_inner();
    let (mut told, mut only_columns) = (Vec::new(), true);
    while let Some(piece) = stream.message().await.unwrap() {
        only_columns &= piece.messages.is_empty();
        told.extend(piece.messages.iter().map(|row| (row.uid, row.flags, row.size)));
        let Some(columns) = piece.columns else { continue };
        let uids = UidSet::from_bytes(&columns.uids).unwrap();
        assert!((1..=4096).contains(&uids.len()));
        assert_eq!(columns.flags.len(), uids.len() as usize);
        let sizes = columns.sizes.iter().copied().chain(std::iter::repeat(0));
        told.extend(
            uids.iter()
                .zip(&columns.flags)
                .zip(sizes)
                .map(|((uid, flags), size)| (uid.0, u32::from(*flags), size)),
        );
    }
    (told, only_columns)
}

async fn append(client: &mut Client, count: usize, body: &str, keywords: Vec<String>) {
    let message = |at: usize| AppendMessage {
        content: Some(append_message::Content::Inline(letter(
            "1@a",
            "s",
            "",
            &body.repeat(at % 7 + 1),
        ))),
        keywords: keywords.clone(),
        ..Default::default()
    };
    for from in (0..count).step_by(1000) {
        let request = AppendMessagesRequest {
            account: 7,
            folder: INBOX,
            quota: 0,
            messages: (from..count.min(from + 1000)).map(message).collect(),
        };
        client.append_messages(request).await.unwrap();
    }
}

/// Whole folder and a part of it, both as the rows are; whether it came as columns.
async fn check(client: &mut Client) -> bool {
    let rows = list(client, 7, INBOX).await;
    let truth: Vec<_> = rows.iter().map(|row| (row.uid, row.flags, row.size)).collect();
    let (all, columns) = brief(client, Bytes::new(), Brief::Sizes).await;
    assert_eq!(all, truth);
    let (again, _) = brief(client, Bytes::new(), Brief::Sizes).await;
    assert_eq!(again, truth, "once more, from memory");
    let part = uids(&(300..4300).collect::<Vec<_>>());
    let in_part = |told: &(u32, u32, u64)| (300..4300).contains(&told.0);
    let wanted: Vec<_> = truth.iter().filter(|told| in_part(told)).copied().collect();
    assert_eq!(brief(client, part.clone(), Brief::Sizes).await.0, wanted);
    let flags: Vec<_> = brief(client, part.clone(), Brief::Flags).await.0;
    let of = |told: &[(u32, u32, u64)]| told.iter().map(|it| (it.0, it.1)).collect::<Vec<_>>();
    assert_eq!(of(&flags), of(&wanted));
    columns
}

#[tokio::test]
async fn columns_follow_what_happens_to_a_folder() {
    let (_, mut client) = fresh();
    append(&mut client, 4200, "body ", Vec::new()).await;
    assert!(check(&mut client).await);
    store(&mut client, 7, INBOX, uids(&[2, 4095, 4096, 4200]), SEEN).await;
    assert!(check(&mut client).await);
    client
        .expunge_messages(ExpungeMessagesRequest {
            account: 7,
            folder: INBOX,
            uids: uids(&[1, 500, 4096, 4200]),
            force: true,
        })
        .await
        .unwrap();
    assert!(check(&mut client).await);
    append(&mut client, 300, "more ", Vec::new()).await;
    assert!(check(&mut client).await);
    append(&mut client, 1, "marked", vec!["work".into()]).await;
    assert!(!check(&mut client).await, "keywords stand in rows");
    // The same UIDs with other sizes.
    client
        .remove_account(RemoveAccountRequest { account: 7 })
        .await
        .unwrap();
    append(&mut client, 1000, "anew anew", Vec::new()).await;
    assert!(check(&mut client).await);
}
