//! What a token looks like, and what is kept of it.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::Rng as _;

use super::store;
use super::types::{JournalError, Token};
use crate::digest::sha256;

const PREFIX: &str = "ahw_";
const BYTES: usize = 32;

/// A new token, as it is shown once, and what is kept of it.
pub(super) fn make() -> (String, String) {
    let mut bytes = [0; BYTES];
    rand::rng().fill_bytes(&mut bytes);
    (format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes)), sha256([bytes]))
}

/// What is kept of a token: the SHA-256 of its bytes, which are random, so that it needs no salt. None: it is no token.
#[must_use]
pub fn hash_of(presented: &str) -> Option<String> {
    let bytes = URL_SAFE_NO_PAD.decode(presented.trim().strip_prefix(PREFIX)?).ok()?;
    (bytes.len() == BYTES).then(|| sha256([bytes]))
}

/// Makes a token in a file that may be in use, and the file where there is none. It is shown once and not kept.
///
/// # Errors
/// There is one of this name, or the file cannot be opened or written.
pub fn create_token(path: &Path, token: &Token) -> Result<String, JournalError> {
    let db = store::open(path)?;
    let (shown, hash) = make();
    store::new_token(&db, &hash, token)?;
    Ok(shown)
}

/// Takes a token away, in a file that may be in use. False: there is none of this name.
///
/// # Errors
/// The file cannot be opened or written.
pub fn revoke_token(path: &Path, name: &str) -> Result<bool, JournalError> {
    drop(store::open_to_read(path)?);
    Ok(store::revoke(&store::open(path)?, name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_known_by_its_hash_and_no_other_text_is_one() {
        let (shown, hash) = make();
        assert_eq!(hash_of(&format!(" {shown}\n")), Some(hash.clone()));
        assert_eq!((shown.len(), hash.len()), (47, 64));
        assert_ne!(make().0, shown);
        for text in ["", "ahw_", &shown[4..], &shown[..46], "ahw_!!!!", &format!("{shown}A")] {
            assert_eq!(hash_of(text), None, "{text}");
        }
    }
}
