//! SHA-256 in hexadecimal: of models, clips, prompts, files and lists.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// Of these parts, one after the other.
#[must_use]
pub fn sha256<T: AsRef<[u8]>>(parts: impl IntoIterator<Item = T>) -> String {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    finish(hasher)
}

/// What a hasher that was fed comes to.
#[must_use]
pub fn finish(hasher: Sha256) -> String {
    hasher.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_hashed_as_one_text() {
        // FIPS 180-2, appendix B.1.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((sha256(["abc"]), sha256(["a", "bc"])), (abc.to_owned(), abc.to_owned()));
    }
}
