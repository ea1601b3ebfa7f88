//! Keys of reads by key.

use crate::{Error, Result};

/// Most keys in one call.
const MOST: usize = 1000;

/// Keys without repetition, ascending; too many are the caller's fault.
pub(crate) fn keys<K: Ord + Copy>(keys: &[K]) -> Result<Vec<K>> {
    if keys.len() > MOST {
        return Err(Error::Invalid(format!(
            "{} keys in one read, at most {MOST} are allowed",
            keys.len()
        )));
    }
    let mut keys = keys.to_vec();
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}
