//! An envelope read where it is stored, without making anything of it: what writes a listing needs each text once.
//!
//! ```text
//! description = FORMAT field*        field = key value; a key is a tag and the kind of value
//! ```
//! Fields come in the order of their tags, as our encoder writes them, so that the addresses of a list stand together.

use crate::description::after_format;
use crate::{Envelope, EnvelopeAddress, Error};

/// Tags of [`crate::Description`].
const ENVELOPE: u32 = 2;
const PREVIEW: u32 = 4;

/// What [`crate::Summary`] has of it that is text: envelope and preview.
#[derive(Debug, Clone, Copy, Default)]
pub struct SummaryView<'a> {
    /// The envelope.
    pub envelope: EnvelopeView<'a>,
    /// See [`crate::Description::preview`].
    pub preview: &'a [u8],
}

impl<'a> SummaryView<'a> {
    /// Over an encoded [`crate::Description`]. Fails on damage or a newer format; texts and addresses are not looked into yet.
    pub fn new(data: &'a [u8]) -> Result<Self, Error> {
        let mut view = Self::default();
        let mut fields = Fields(after_format(data)?);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                ENVELOPE => view.envelope = EnvelopeView::new(value)?,
                PREVIEW => {
                    view.preview = value;
                    break;
                }
                _ => {}
            }
        }
        Ok(view)
    }
}

/// The texts of an [`Envelope`], borrowed; see there for what they mean.
#[derive(Debug, Clone, Copy, Default)]
pub struct EnvelopeView<'a> {
    /// See [`Envelope::date`].
    pub date: Option<&'a [u8]>,
    /// See [`Envelope::subject`].
    pub subject: Option<&'a [u8]>,
    /// From, Sender, Reply-To, To, Cc, Bcc.
    lists: [AddressesView<'a>; 6],
    /// See [`Envelope::in_reply_to`].
    pub in_reply_to: Option<&'a [u8]>,
    /// See [`Envelope::message_id`].
    pub message_id: Option<&'a [u8]>,
    /// See [`Envelope::addresses_whole`].
    pub addresses_whole: bool,
}

impl<'a> EnvelopeView<'a> {
    fn new(data: &'a [u8]) -> Result<Self, Error> {
        let mut view = Self::default();
        let mut fields = Fields(data);
        let mut last = 0;
        loop {
            let from = fields.0;
            let Some((tag, value)) = fields.next()? else {
                return Ok(view);
            };
            if tag < last {
                return Err(Error::Description);
            }
            match tag {
                1 => view.date = Some(value),
                2 => view.subject = Some(value),
                3..=8 if tag != last => {
                    if let Some(list) = view.lists.get_mut(tag as usize - 3) {
                        *list = AddressesView(List::Stored(tag, from));
                    }
                }
                9 => view.in_reply_to = Some(value),
                10 => view.message_id = Some(value),
                // False is left out.
                11 => view.addresses_whole = true,
                _ => {}
            }
            last = tag;
        }
    }

    /// From.
    pub fn from_addresses(&self) -> AddressesView<'a> {
        self.lists[0]
    }

    /// Sender, or From where it is missing, as ENVELOPE has it.
    pub fn sender_or_from(&self) -> AddressesView<'a> {
        self.lists[1].or(self.from_addresses())
    }

    /// Reply-To, or From where it is missing, as ENVELOPE has it.
    pub fn reply_to_or_from(&self) -> AddressesView<'a> {
        self.lists[2].or(self.from_addresses())
    }

    /// To.
    pub fn to(&self) -> AddressesView<'a> {
        self.lists[3]
    }

    /// The addresses of a field; none where it is missing.
    pub fn addresses(&self, field: AddressField) -> AddressesView<'a> {
        self.lists[field as usize]
    }

    /// Cc.
    pub fn cc(&self) -> AddressesView<'a> {
        self.lists[4]
    }

    /// Bcc.
    pub fn bcc(&self) -> AddressesView<'a> {
        self.lists[5]
    }
}

impl<'a> From<&'a Envelope> for EnvelopeView<'a> {
    fn from(envelope: &'a Envelope) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().map(str::as_bytes);
        let list = |list: &'a Vec<EnvelopeAddress>| AddressesView(List::Read(list));
        Self {
            date: text(&envelope.date),
            subject: text(&envelope.subject),
            lists: [
                list(&envelope.from),
                list(&envelope.sender),
                list(&envelope.reply_to),
                list(&envelope.to),
                list(&envelope.cc),
                list(&envelope.bcc),
            ],
            in_reply_to: text(&envelope.in_reply_to),
            message_id: text(&envelope.message_id),
            addresses_whole: envelope.addresses_whole,
        }
    }
}

/// A field of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressField {
    /// From
    From,
    /// Sender
    Sender,
    /// Reply-To
    ReplyTo,
    /// To
    To,
    /// Cc
    Cc,
    /// Bcc
    Bcc,
}

impl AddressField {
    /// By its name; case does not matter.
    pub fn named(name: &str) -> Option<Self> {
        let known = [
            ("From", Self::From),
            ("Sender", Self::Sender),
            ("Reply-To", Self::ReplyTo),
            ("To", Self::To),
            ("Cc", Self::Cc),
            ("Bcc", Self::Bcc),
        ];
        let found = known.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        found.map(|(_, field)| *field)
    }
}

/// A list of addresses.
#[derive(Debug, Clone, Copy, Default)]
pub struct AddressesView<'a>(List<'a>);

#[derive(Debug, Clone, Copy)]
enum List<'a> {
    /// Fields of this tag, from the first on, with whatever stands behind them.
    Stored(u32, &'a [u8]),
    Read(&'a [EnvelopeAddress]),
}

impl Default for List<'_> {
    fn default() -> Self {
        List::Read(&[])
    }
}

impl<'a> AddressesView<'a> {
    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        matches!(self.0, List::Read([]))
    }

    fn or(self, other: Self) -> Self {
        if self.is_empty() { other } else { self }
    }
}

impl<'a> Iterator for AddressesView<'a> {
    type Item = AddressView<'a>;

    /// The next one; one that is damaged is empty.
    fn next(&mut self) -> Option<AddressView<'a>> {
        match &mut self.0 {
            List::Read(list) => {
                let (first, rest) = list.split_first()?;
                *list = rest;
                Some(AddressView::from(first))
            }
            List::Stored(tag, data) => {
                let mut fields = Fields(data);
                let (found, value) = fields.next().ok()??;
                if found != *tag {
                    return None;
                }
                *data = fields.0;
                Some(AddressView::new(value).unwrap_or_default())
            }
        }
    }
}

/// An [`EnvelopeAddress`], borrowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AddressView<'a> {
    /// See [`EnvelopeAddress::name`].
    pub name: Option<&'a [u8]>,
    /// See [`EnvelopeAddress::route`].
    pub route: Option<&'a [u8]>,
    /// See [`EnvelopeAddress::mailbox`].
    pub mailbox: Option<&'a [u8]>,
    /// See [`EnvelopeAddress::host`].
    pub host: Option<&'a [u8]>,
}

impl<'a> AddressView<'a> {
    fn new(data: &'a [u8]) -> Result<Self, Error> {
        let mut view = Self::default();
        let mut fields = Fields(data);
        while let Some((tag, value)) = fields.next()? {
            match tag {
                1 => view.name = Some(value),
                2 => view.route = Some(value),
                3 => view.mailbox = Some(value),
                4 => view.host = Some(value),
                _ => {}
            }
        }
        Ok(view)
    }
}

impl<'a> From<&'a EnvelopeAddress> for AddressView<'a> {
    fn from(address: &'a EnvelopeAddress) -> Self {
        let text = |text: &'a Option<String>| text.as_deref().map(str::as_bytes);
        Self {
            name: text(&address.name),
            route: text(&address.route),
            mailbox: text(&address.mailbox),
            host: text(&address.host),
        }
    }
}

/// Fields of an encoded message, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// The next field's tag and its bytes; none for one that is a number.
    fn next(&mut self) -> Result<Option<(u32, &'a [u8])>, Error> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = self.number()?;
        let tag = u32::try_from(key >> 3).map_err(|_| Error::Description)?;
        match key & 7 {
            0 => self.number().map(|_| Some((tag, &[][..]))),
            2 => {
                let length = usize::try_from(self.number()?).map_err(|_| Error::Description)?;
                let (value, rest) = self.0.split_at_checked(length).ok_or(Error::Description)?;
                self.0 = rest;
                Ok(Some((tag, value)))
            }
            _ => Err(Error::Description),
        }
    }

    /// A number: seven bits a byte, the lowest first.
    fn number(&mut self) -> Result<u64, Error> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(Error::Description)?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(Error::Description)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Description, Summary, describe};

    /// All there is to see, in words.
    fn seen(view: EnvelopeView<'_>) -> String {
        let lists = [
            view.from_addresses(),
            view.sender_or_from(),
            view.reply_to_or_from(),
            view.to(),
            view.cc(),
            view.bcc(),
        ];
        let lists: Vec<Vec<AddressView<'_>>> = lists.map(Iterator::collect).into();
        format!(
            "{:?}",
            (view.date, view.subject, lists, view.in_reply_to, view.message_id)
        )
    }

    fn check(description: &Description) {
        let data = description.encode();
        let (view, summary) = (SummaryView::new(&data).unwrap(), Summary::decode(&data).unwrap());
        assert_eq!(seen(view.envelope), seen(EnvelopeView::from(&summary.envelope)));
        assert_eq!(view.preview, summary.preview.as_bytes());
    }

    fn text() -> impl Strategy<Value = Option<String>> {
        proptest::option::of(".{0,200}")
    }

    fn addresses() -> impl Strategy<Value = Vec<EnvelopeAddress>> {
        let address =
            (text(), text(), text(), text()).prop_map(|(name, route, mailbox, host)| EnvelopeAddress {
                name,
                route,
                mailbox,
                host,
            });
        proptest::collection::vec(address, 0..4)
    }

    proptest! {
        #[test]
        fn what_is_stored_is_what_is_seen(
            texts in [text(), text(), text(), text()],
            lists in [addresses(), addresses(), addresses(), addresses(), addresses(), addresses()],
            preview in ".{0,20}",
            addresses_whole: bool,
        ) {
            let [date, subject, in_reply_to, message_id] = texts;
            let [from, sender, reply_to, to, cc, bcc] = lists;
            let envelope = Envelope { date, subject, from, sender, reply_to, to, cc, bcc, in_reply_to, message_id, addresses_whole };
            check(&Description { envelope, preview, ..Description::default() });
        }

        #[test]
        fn foreign_bytes_are_an_error_or_a_view(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let mut data = vec![1];
            data.extend_from_slice(&bytes);
            if let Ok(view) = SummaryView::new(&data) {
                seen(view.envelope);
            }
        }
    }

    #[test]
    fn a_real_message_looks_the_same_both_ways() {
        check(&describe(
            b"From: \"A. Lice\" <alice@crepes.fr>\r\nTo: bob@hamburger.edu, friends: carol@hamburger.edu;\r\n\
              Subject: =?utf-8?q?ketchup?=\r\nMessage-ID: <1@crepes.fr>\r\n\r\nText.\r\n",
        ));
        check(&describe(b""));
    }
}
