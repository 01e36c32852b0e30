//! Keyed hashes of accounts and people, which only the holder of the key can make.

use std::{fmt, hash::Hasher as _};

use siphasher::sip128::{Hasher128 as _, SipHasher13};
use zeroize::{Zeroize, ZeroizeOnDrop};

use super::SharedSecret;

/// Of all parts, each behind its length in four bytes, so that no two lists of parts are the same text.
type Hash = fn(&[u8; blake3::KEY_LEN], &[&str]) -> [u8; AccountKey::LEN];

/// The key under which it is remembered whose an account is. Wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct AccountKey {
    accounts: [u8; blake3::KEY_LEN],
    people: [u8; blake3::KEY_LEN],
    #[zeroize(skip)]
    hash: Hash,
}

impl AccountKey {
    /// Bytes of a hash: with 2^32 people, two share one in less than one case in 2^64.
    pub const LEN: usize = 16;

    /// For a store that others can read: hashes in BLAKE3's keyed mode (a pseudo-random function: section 2.3 of its specification), which
    /// takes a third of the time of HMAC-SHA256 on texts as short as these, and every token asks for two. The secret has no other use.
    #[must_use]
    pub fn shared(secret: &SharedSecret) -> Self {
        Self::new(secret, blake3)
    }

    /// For the memory of this process, which the hashes do not leave: SipHash-1-3 with 128 bits, as the standard library has it for tables
    /// whose keys an attacker may choose, in a third of the time of BLAKE3. Nobody sees a hash, so that nobody can look for two that are the
    /// same. The secret is the process's own.
    #[must_use]
    pub fn of_process(secret: &SharedSecret) -> Self {
        Self::new(secret, siphash)
    }

    /// Accounts and people have keys of their own, so that no account has the hash of a person.
    fn new(secret: &SharedSecret, hash: Hash) -> Self {
        Self {
            accounts: blake3::derive_key("metabase-token-service 2026-11-29 accounts", &secret.0),
            people: blake3::derive_key("metabase-token-service 2026-11-29 people", &secret.0),
            hash,
        }
    }

    /// Of an account, by what tells it from others.
    #[must_use]
    pub fn account(&self, parts: &[&str]) -> [u8; Self::LEN] {
        (self.hash)(&self.accounts, parts)
    }

    /// Of a person, by what tells them from others.
    #[must_use]
    pub fn person(&self, parts: &[&str]) -> [u8; Self::LEN] {
        (self.hash)(&self.people, parts)
    }
}

/// The first 128 bits.
fn blake3(key: &[u8; blake3::KEY_LEN], parts: &[&str]) -> [u8; AccountKey::LEN] {
    // At once: the hasher of a text that comes in parts takes a third longer.
    let mut text = Vec::with_capacity(parts.iter().map(|part| size_of::<u32>() + part.len()).sum());
    for part in parts {
        text.extend(length(part));
        text.extend(part.as_bytes());
    }
    let mut first = [0; AccountKey::LEN];
    first.copy_from_slice(&blake3::keyed_hash(key, &text).as_bytes()[..AccountKey::LEN]);
    first
}

/// Under the first 128 bits of the key.
fn siphash(key: &[u8; blake3::KEY_LEN], parts: &[&str]) -> [u8; AccountKey::LEN] {
    let mut first = [0; 16];
    first.copy_from_slice(&key[..16]);
    let mut hasher = SipHasher13::new_with_key(&first);
    for part in parts {
        hasher.write(&length(part));
        hasher.write(part.as_bytes());
    }
    hasher.finish128().as_bytes()
}

fn length(part: &str) -> [u8; 4] {
    u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes()
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> AccountKey {
        AccountKey::shared(&SharedSecret::parse((*b"8f2b7c1d9e3a4056b8c7d2e1f0a9b3c4").into()).unwrap())
    }

    /// With another hash nobody would be found in a store. Computed from docs/accounts.md by the library of Python.
    #[test]
    fn the_hashes_are_the_documented_ones() {
        let hex = |hash: [u8; AccountKey::LEN]| const_hex::encode(hash);
        assert_eq!(hex(key().account(&["main", "shop", "ada@example.com"])), "1f7b1bbeb0baf69efbf4bb4bac7a4662");
        assert_eq!(hex(key().person(&["shop", "7"])), "649b433a9cc2c185cdb75dbd9c40977f");
    }

    #[test]
    fn the_key_is_not_printed() {
        assert_eq!(format!("{:?}", key()), "AccountKey([redacted])");
    }
}
