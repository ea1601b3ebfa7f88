//! The payload of a hint: any number of pairs of account and version, both eight bytes, big-endian.

use postrider_types::{AccountId, Version};

use super::link::Heard;

/// Bytes of one pair.
const PAIR: usize = 16;

/// Writes hints.
pub fn encode(hints: &[(AccountId, Version)]) -> Vec<u8> {
    let pair = |(account, version): &(AccountId, Version)| {
        [account.get().to_be_bytes(), version.0.to_be_bytes()].concat()
    };
    hints.iter().flat_map(pair).collect()
}

/// Says that hints were not sent: "look at everything".
pub fn missed() -> Vec<u8> {
    Vec::new()
}

/// Reads hints. What makes no sense, as from a version of the program to come, is none: "look at everything".
pub fn decode(payload: &[u8], mut hint: impl FnMut(Heard)) {
    let (pairs, rest) = payload.as_chunks::<PAIR>();
    if !rest.is_empty() || pairs.is_empty() {
        return hint(None);
    }
    for pair in pairs {
        let bits = u128::from_be_bytes(*pair);
        let (account, version) = ((bits >> 64) as u64, bits as u64);
        hint(Some((AccountId::new(account), Version(version))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(payload: &[u8]) -> Vec<Heard> {
        let mut hints = Vec::new();
        decode(payload, |hint| hints.push(hint));
        hints
    }

    #[test]
    fn what_is_written_is_read() {
        let hints = [
            (AccountId::new(1), Version(2)),
            (AccountId::new(i64::MAX as u64), Version(u64::MAX)),
        ];
        assert_eq!(decoded(&encode(&hints)), hints.map(Some));
    }

    #[test]
    fn nonsense_is_a_reason_to_look_at_everything() {
        for nonsense in [missed().as_slice(), b"hello", &[0; 17]] {
            assert_eq!(decoded(nonsense), [None]);
        }
    }
}
