//! The hash chain: every record holds its number, the hash of the record before it, and the hash of itself, so that nobody changes,
//! removes or moves a record in the midst of the log unseen.

use std::io::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};

/// The last record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain {
    /// Counted from 1; 0 = there is none yet.
    pub(super) number: u64,
    pub(super) hash: Hash,
}

/// Far above what any log comes to, and as far below where counting ends.
const MAX_NUMBER: u64 = 1 << 62;

/// SHA-256, all zero before the first record.
pub(super) type Hash = [u8; 32];

/// Records as they are written, each with a line break behind it.
#[derive(Debug, Default)]
pub(super) struct Lines {
    text: Vec<u8>,
    ends: Vec<End>,
}

#[derive(Clone, Copy, Debug)]
struct End {
    /// Of the text, with the line break.
    len: usize,
    /// With this record as the last.
    chain: Chain,
}

impl Lines {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.ends.clear();
    }

    pub(super) const fn len(&self) -> usize {
        self.ends.len()
    }

    /// All of them.
    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Each by itself, without its line break.
    pub(super) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| &self.text[self.bytes(index)..self.bytes(index + 1) - 1])
    }

    /// Of the first `count` lines.
    pub(super) fn bytes(&self, count: usize) -> usize {
        count.checked_sub(1).and_then(|last| self.ends.get(last)).map_or(0, |end| end.len)
    }

    /// With the first `count` lines written; none without any.
    pub(super) fn chain(&self, count: usize) -> Option<Chain> {
        Some(self.ends.get(count.checked_sub(1)?)?.chain)
    }
}

/// Characters of what closes a line: `,"hash":"`, 64 digits, `"}`.
const SEAL_LEN: usize = 9 + 64 + 2;

impl Chain {
    /// Puts the JSON object `body` behind `lines` as the next record.
    pub(super) fn append(&mut self, body: &[u8], lines: &mut Lines) {
        let number = self.number + 1;
        let Lines { text, ends } = lines;
        let begin = text.len();
        text.extend_from_slice(body.strip_suffix(b"}").unwrap_or(body));
        // Writing to a Vec does not fail.
        let _ = write!(text, ",\"seq\":{number},\"prev\":\"");
        text.extend_from_slice(&digits(&self.hash));
        text.push(b'"');
        let hash = sha256(&text[begin..]);
        text.extend_from_slice(b",\"hash\":\"");
        text.extend_from_slice(&digits(&hash));
        text.extend_from_slice(b"\"}\n");
        *self = Self { number, hash };
        ends.push(End { len: text.len(), chain: *self });
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
        let number = record["seq"].as_u64().filter(|number| *number <= MAX_NUMBER).ok_or("has no number")?;
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

/// In hexadecimal.
fn digits(hash: &Hash) -> [u8; 64] {
    let mut digits = [0; 64];
    HEXLOWER.encode_mut(hash, &mut digits);
    digits
}

pub(super) fn hex(hash: &Hash) -> String {
    HEXLOWER.encode(hash)
}

fn from_hex(text: &str) -> Option<Hash> {
    HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok()?.try_into().ok()
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
        let mut lines = Lines::default();
        chain.append(br#"{"event":"log_opened"}"#, &mut lines);
        let (read, previous, record) = Chain::read(lines.iter().next().unwrap()).unwrap();
        assert_eq!((read, previous), (chain, [0; 32]));
        assert_eq!(record["event"], "log_opened");
        let zeros = "0".repeat(64);
        for number in [MAX_NUMBER + 1, u64::MAX - 1, u64::MAX] {
            let last = sealed(&format!("{{\"seq\":{number},\"prev\":\"{zeros}\""));
            assert_eq!(Chain::read(last.as_bytes()).unwrap_err(), "has no number");
        }
        let signs = sealed(&format!("{{\"seq\":1,\"prev\":\"{}\"", "+0".repeat(32)));
        assert_eq!(Chain::read(signs.as_bytes()).unwrap_err(), "has no hash of the record before it");
        assert_eq!(Chain::read(b"{}").unwrap_err(), "is too short for a record");
    }
}
