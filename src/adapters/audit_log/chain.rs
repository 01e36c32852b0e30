//! The hash chain: every record holds its number, the hash of the record before it, and the hash of itself, so that nobody changes,
//! removes or moves a record in the midst of the log unseen.

use aws_lc_rs::digest::{SHA256, digest};

/// The last record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// Counted from 1; 0 = there is none yet.
    pub(super) number: u64,
    pub(super) hash: Hash,
}

/// SHA-256, all zero before the first record.
pub(super) type Hash = [u8; 32];

/// A record as it is written, without the line break.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: Vec<u8>,
    /// With this record as the last.
    pub(super) chain: Chain,
}

/// Characters of what closes a line: `,"hash":"`, 64 digits, `"}`.
const SEAL_LEN: usize = 9 + 64 + 2;

impl Chain {
    /// The JSON object `body` as the next record.
    pub(super) fn append(&mut self, body: &[u8]) -> Line {
        let number = self.number + 1;
        let mut text = Vec::with_capacity(body.len() + 200);
        text.extend_from_slice(body.strip_suffix(b"}").unwrap_or(body));
        text.extend_from_slice(format!(",\"seq\":{number},\"prev\":\"{}\"", hex(&self.hash)).as_bytes());
        let hash = sha256(&text);
        text.extend_from_slice(format!(",\"hash\":\"{}\"}}", hex(&hash)).as_bytes());
        *self = Self { number, hash };
        Line { text, chain: *self }
    }

    /// The record's place and hash, if it hashes to what it says, and the hash that it says the record before it has.
    pub(super) fn read(line: &[u8]) -> Result<(Self, Hash, serde_json::Value), &'static str> {
        let split = line.len().checked_sub(SEAL_LEN).ok_or("is too short for a record")?;
        let (sealed, seal) = line.split_at(split);
        let hash = sha256(sealed);
        if seal != format!(",\"hash\":\"{}\"}}", hex(&hash)).as_bytes() {
            return Err("does not have the hash that it says: it was changed");
        }
        let record: serde_json::Value = serde_json::from_slice(line).map_err(|_| "is not JSON")?;
        // The attack: a forged last record whose number none can follow stops the log that goes on from it.
        let number = record["seq"].as_u64().filter(|number| *number < u64::MAX).ok_or("has no number")?;
        let previous = record["prev"].as_str().and_then(from_hex).ok_or("has no hash of the record before it")?;
        Ok((Self { number, hash }, previous, record))
    }
}

/// Whether a line has at least the form of a record, whatever became of its content.
pub(super) fn is_sealed(line: &[u8]) -> bool {
    let has = |member: &[u8]| line.windows(member.len()).any(|window| window == member);
    [&b"\"seq\":"[..], b"\"prev\":\"", b"\"hash\":\""].iter().filter(|member| has(member)).count() > 1
}

fn sha256(bytes: &[u8]) -> Hash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

pub(super) fn hex(hash: &Hash) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = hash.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]);
    digits.map(char::from).collect()
}

fn from_hex(text: &str) -> Option<Hash> {
    let mut hash = [0; 32];
    // Digits only: the parser of numbers below would take a sign.
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text with the hash that closes it.
    fn sealed(text: &str) -> String {
        format!("{text},\"hash\":\"{}\"}}", hex(&sha256(text.as_bytes())))
    }

    #[test]
    fn a_record_is_read_back_and_one_that_none_can_follow_is_none() {
        let mut chain = Chain::default();
        let line = chain.append(br#"{"event":"log_opened"}"#);
        let (read, previous, record) = Chain::read(&line.text).unwrap();
        assert_eq!((read, previous), (line.chain, [0; 32]));
        assert_eq!(record["event"], "log_opened");
        let zeros = "0".repeat(64);
        let last = sealed(&format!("{{\"seq\":{},\"prev\":\"{zeros}\"", u64::MAX));
        assert_eq!(Chain::read(last.as_bytes()).unwrap_err(), "has no number");
        let signs = sealed(&format!("{{\"seq\":1,\"prev\":\"{}\"", "+0".repeat(32)));
        assert_eq!(Chain::read(signs.as_bytes()).unwrap_err(), "has no hash of the record before it");
        assert_eq!(Chain::read(b"{}").unwrap_err(), "is too short for a record");
    }
}
