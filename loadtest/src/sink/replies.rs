//! Refusals as large providers word them. What a server does with a refusal must depend on its code, and on nothing in its text;
//! these have what makes that hard: several lines, links, codes inside the text, enhanced codes that contradict.

use postrider_smtp::{Enhanced, Reply};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// With what something is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replies {
    /// One of the temporary ones.
    Temporary,
    /// One of the permanent ones.
    Permanent,
    /// This one.
    Own(Reply),
}

/// 4yz: code, enhanced code and text.
const TEMPORARY: [(u16, Option<Enhanced>, &str); 10] = [
    (
        421,
        Some(Enhanced(4, 7, 28)),
        "Our system has detected an unusual rate of\n\
         unsolicited mail originating from your IP address. To protect our\n\
         users from spam, mail sent from your IP address has been temporarily\n\
         rate limited. For more information, go to\n\
         https://support.example/mail/?p=UnsolicitedRateLimitError",
    ),
    (
        450,
        Some(Enhanced(4, 2, 1)),
        "The user you are trying to contact is receiving mail at a rate that\n\
         prevents additional messages from being delivered. Please resend your\n\
         message at a later time.",
    ),
    (
        451,
        Some(Enhanced(4, 7, 500)),
        "Server busy. Please try again later from [192.0.2.1]. (S77719)",
    ),
    (
        451,
        Some(Enhanced(4, 3, 0)),
        "Temporary local problem - please try later",
    ),
    (
        451,
        Some(Enhanced(4, 7, 651)),
        "The mail server [192.0.2.1] has been temporarily rate limited due to IP reputation.",
    ),
    (
        452,
        Some(Enhanced(4, 2, 2)),
        "The recipient's inbox is out of storage space. 550 will follow in some days",
    ),
    (
        421,
        None,
        "[TSS04] Messages from 192.0.2.1 temporarily deferred due to unexpected volume or user complaints - 4.16.55.1",
    ),
    (
        450,
        Some(Enhanced(4, 7, 25)),
        "Client host rejected: cannot find your hostname",
    ),
    (
        432,
        Some(Enhanced(4, 3, 2)),
        "STOREDRV.ClientSubmit; sender thread limit exceeded [Hostname=x]",
    ),
    (
        454,
        Some(Enhanced(5, 7, 1)),
        "Requested mail action not taken: see 5.7.1 in our policy",
    ),
];

/// 5yz for a recipient or a message.
const PERMANENT: [(u16, Option<Enhanced>, &str); 8] = [
    (
        550,
        Some(Enhanced(5, 1, 1)),
        "The email account that you tried to reach does not exist. Please try\n\
         double-checking the recipient's email address for typos or\n\
         unnecessary spaces. For more information, go to\n\
         https://support.example/mail/?p=NoSuchUser",
    ),
    (
        550,
        Some(Enhanced(5, 4, 1)),
        "Recipient address rejected: Access denied. [AS(201806281)] 2026-05-01T08:00:00.000Z",
    ),
    (
        554,
        None,
        "delivery error: dd This user doesn't have an account [-5]",
    ),
    (
        550,
        Some(Enhanced(5, 7, 26)),
        "Unauthenticated email is not accepted due to domain's DMARC policy. 421 is what others say",
    ),
    (
        552,
        Some(Enhanced(5, 2, 2)),
        "The email account that you tried to reach is over quota",
    ),
    (
        550,
        Some(Enhanced(5, 2, 1)),
        "The email account that you tried to reach is disabled",
    ),
    (
        553,
        Some(Enhanced(5, 1, 2)),
        "sorry, that domain isn't in my list of allowed rcpthosts",
    ),
    (
        554,
        Some(Enhanced(5, 7, 1)),
        "Service unavailable; Client host blocked using a list; to be removed see https://lists.example/ip",
    ),
];

impl Replies {
    /// One of them, by any number. The same number is always the same reply.
    pub fn pick(&self, number: u64) -> Reply {
        let of = |list: &[(u16, Option<Enhanced>, &'static str)]| {
            let index = usize::try_from(number % list.len().max(1) as u64).unwrap_or_default();
            let (code, enhanced, text) = list.get(index).copied().unwrap_or((451, None, ""));
            Reply {
                code,
                enhanced,
                text: text.into(),
            }
        };
        match self {
            Self::Temporary => of(&TEMPORARY),
            Self::Permanent => of(&PERMANENT),
            Self::Own(reply) => reply.clone(),
        }
    }

    /// Whether they say that no later attempt can succeed.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Temporary => false,
            Self::Permanent => true,
            Self::Own(reply) => reply.is_permanent(),
        }
    }

    /// `451 4.7.1 text`
    fn parse(text: &str) -> Option<Reply> {
        let (code, rest) = text.split_once(' ').unwrap_or((text, ""));
        let code: u16 = code.parse().ok().filter(|code| (400..600).contains(code))?;
        let (first, after) = rest.split_once(' ').unwrap_or((rest, ""));
        Some(match Enhanced::parse(first) {
            Some(enhanced) => Reply::new(code, enhanced, after.to_owned()),
            None => Reply::plain(code, rest.to_owned()),
        })
    }
}

impl<'de> Deserialize<'de> for Replies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.as_str() {
            "temporary" => Ok(Self::Temporary),
            "permanent" => Ok(Self::Permanent),
            own => Self::parse(own).map(Self::Own).ok_or_else(|| {
                D::Error::custom(format!(
                    "`{own}` is neither `temporary`, `permanent`, nor a reply such as `451 4.7.1 later`"
                ))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_what_they_say() {
        for number in 0..100 {
            assert!(Replies::Temporary.pick(number).is_temporary());
            assert!(Replies::Permanent.pick(number).is_permanent());
        }
        let own = Replies::parse("452 4.2.2 The mailbox is full").unwrap();
        assert_eq!(own, Reply::new(452, Enhanced(4, 2, 2), "The mailbox is full"));
        assert_eq!(Replies::parse("550 no").unwrap(), Reply::plain(550, "no"));
        for wrong in ["250 yes", "", "no", "4500 x"] {
            assert_eq!(Replies::parse(wrong), None);
        }
    }
}
