use std::collections::HashSet;
use std::time::Instant;

use postrider_message::describe;

use super::*;

fn letters(traffic: Traffic, count: u64) -> Letters {
    let accounts = toml::from_str(&format!(
        "domain = \"b.example\"\npattern = \"u{{}}\"\ncount = {count}\npassword = \"p\"\n"
    ))
    .unwrap();
    Letters::new(42, 0x1f, traffic, accounts)
}

fn fixed(size: u64) -> Traffic {
    Traffic {
        sizes: Sizes::Fixed(size),
        recipients: Recipients::Even,
    }
}

#[test]
fn the_same_number_is_the_same_message() {
    let (one, other) = (letters(Traffic::default(), 100), letters(Traffic::default(), 100));
    for number in [0, 1, 999, 3 << ACTOR_SHIFT, (3 << ACTOR_SHIFT) + 7] {
        let (a, b) = (one.letter(number), other.letter(number));
        assert_eq!((a.content, a.recipients), (b.content, b.recipients));
        assert_ne!(one.letter(number).digest, one.letter(number + 1).digest);
    }
    let (a, b) = (letters(Traffic::default(), 100), letters(fixed(1000), 100));
    assert_ne!(a.letter(5).content, b.letter(5).content);
}

#[test]
fn sizes_and_mean_are_those_of_the_field() {
    let letters = letters(Traffic::default(), 100);
    let count = 3000;
    let sizes: Vec<u64> = (0..count)
        .map(|number| letters.letter(number).content.len() as u64)
        .collect();
    for (size, share) in FIELD_SIZES {
        let below = sizes.iter().filter(|made| **made < size).count() as f64 / count as f64;
        assert!((below - share).abs() < 0.03, "{below} below {size}, not {share}");
    }
    let mean = sizes.iter().sum::<u64>() as f64 / count as f64;
    // The few that are large decide the mean: the standard error is 10 %. That of the sizes drawn is tested beside them.
    assert!((mean / FIELD_MEAN - 1.0).abs() < 0.25, "mean {mean}");
}

#[test]
fn every_message_is_well_formed() {
    let letters = letters(Traffic::default(), 1000);
    let domains = ["c.example".to_owned()];
    let elsewhere = Elsewhere {
        share: 0.5,
        domains: &domains,
    };
    let (mut kinds, mut charsets, mut lists) = (HashSet::new(), HashSet::new(), 0);
    for number in 0..3000 {
        let letter = match number % 2 {
            0 => letters.letter(number),
            _ => letters.submission(number, number % 7, elsewhere),
        };
        let content = &letter.content[..];
        assert!(content.ends_with(b"\r\n"));
        for line in content.split(|octet| *octet == b'\n') {
            assert!(line.len() <= 999 && (line.is_empty() || line.ends_with(b"\r")));
        }
        assert_eq!(letter.eight_bit, !content.is_ascii());
        assert_eq!(MessageId::in_header(content), Some(letter.id));
        let described = describe(content);
        for part in described.structure.walk() {
            kinds.insert(format!("{}/{}", part.media_type, part.subtype).to_lowercase());
            let charset = part
                .params
                .iter()
                .find(|it| it.name.eq_ignore_ascii_case("charset"));
            charsets.extend(charset.map(|it| it.value.to_lowercase()));
        }
        let header = String::from_utf8_lossy(content.split(|octet| *octet == 0).next().unwrap());
        lists += u32::from(header.contains("\r\nList-Id: "));
    }
    for kind in [
        "text/plain",
        "text/html",
        "multipart/alternative",
        "multipart/mixed",
        "application/pdf",
    ] {
        assert!(kinds.contains(kind), "{kind} in {kinds:?}");
    }
    for charset in ["us-ascii", "utf-8", "iso-2022-jp", "koi8-r"] {
        assert!(charsets.contains(charset), "{charset} in {charsets:?}");
    }
    assert!((200..600).contains(&lists), "{lists}");
}

#[test]
fn plain_text_has_exactly_the_size_wanted_and_others_nearly() {
    let letters = letters(fixed(4096), 10);
    let sizes: Vec<usize> = (0..1000)
        .map(|number| letters.letter(number).content.len())
        .collect();
    assert!(sizes.iter().filter(|size| **size == 4096).count() > 100);
    assert!(sizes.iter().all(|size| (3500..=4500).contains(size)), "{sizes:?}");
}

#[test]
fn conversations_answer_earlier_messages_of_the_same_actor() {
    let letters = letters(fixed(100), 100);
    let base = 5 << ACTOR_SHIFT;
    let mut answers = 0;
    for number in base..base + 2000 {
        let letter = letters.letter(number);
        let text = String::from_utf8_lossy(&letter.content).into_owned();
        let answered = text
            .split("In-Reply-To: <1f-")
            .nth(1)
            .map(|rest| rest.split('@').next().unwrap());
        let Some(answered) = answered else { continue };
        let answered = u64::from_str_radix(answered, 16).unwrap();
        assert!((base..number).contains(&answered));
        assert_eq!(letters.letter(answered).recipients, letter.recipients);
        assert!(text.contains("Subject: Re: ") && text.contains(&format!(" <1f-{answered:x}@")));
        answers += 1;
    }
    assert!((450..700).contains(&answers), "{answers}");
}

#[test]
fn recipients_follow_the_profile() {
    let traffic = |recipients| Traffic {
        sizes: Sizes::Fixed(100),
        recipients,
    };
    let first = |recipients, count| {
        let letters = letters(traffic(recipients), count);
        let all = (0..5000).flat_map(|number| letters.letter(number).recipients);
        let (first, all) = all.fold((0, 0), |(first, all), rank| {
            (first + u32::from(rank == 0), all + 1)
        });
        f64::from(first) / f64::from(all)
    };
    assert!(first(Recipients::Zipf, 100) > 0.12);
    assert!((0.003..0.02).contains(&first(Recipients::Even, 100)));
    let letters = letters(traffic(Recipients::Zipf), 3);
    for number in 0..2000 {
        let recipients = letters.letter(number).recipients;
        let different: HashSet<_> = recipients.iter().collect();
        assert!((1..=3).contains(&recipients.len()) && different.len() == recipients.len());
    }
}

#[test]
fn as_many_are_elsewhere_as_wanted() {
    let letters = letters(fixed(100), 1000);
    let domains = ["c.example".to_owned(), "d.example".to_owned()];
    let elsewhere = Elsewhere {
        share: 0.25,
        domains: &domains,
    };
    let (mut local, mut remote) = (0, 0);
    for number in 0..3000 {
        let letter = letters.submission(number, 3, elsewhere);
        assert_eq!(letter.sender, "u3@b.example");
        assert!(
            letter
                .remote
                .iter()
                .all(|to| to.ends_with("@c.example") || to.ends_with("@d.example"))
        );
        local += letter.recipients.len();
        remote += letter.remote.len();
    }
    let share = remote as f64 / (local + remote) as f64;
    assert!((share - 0.25).abs() < 0.03, "{share}");
}

/// Not a time that a loaded machine would miss by chance: a debug build is ten times slower than what is shipped.
#[test]
fn a_message_costs_little() {
    let letters = letters(fixed(4096), 1000);
    letters.letter(0);
    let begin = Instant::now();
    let octets: usize = (0..2000).map(|number| letters.letter(number).content.len()).sum();
    let each = begin.elapsed() / 2000;
    println!("{each:?} for {} octets", octets / 2000);
    assert!(each.as_micros() < 1000, "{each:?}");
}
