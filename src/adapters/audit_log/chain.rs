//! The hash chain: every record holds its number, the hash of the record before it, and the hash of itself, so that nobody changes,
//! removes or moves a record in the midst of the log unseen.

use aws_lc_rs::digest::{SHA256, digest};
use const_hex::Buffer;

use crate::{
    application::audit::{Record, time},
    domain::time::UnixTime,
};

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
    /// Of the last record, and as it is written: that of the next one is mostly the same.
    time: Option<(UnixTime, String)>,
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

    fn put_time(&mut self, at: UnixTime) {
        if self.time.as_ref().is_none_or(|last| last.0 != at) {
            self.time = Some((at, time(at).to_string()));
        }
        self.text.extend_from_slice(self.time.as_ref().map_or("", |time| &time.1).as_bytes());
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
    /// Puts `record` behind `lines` as the next one.
    pub(super) fn append(&mut self, record: &Record, lines: &mut Lines) {
        let number = self.number + 1;
        let (begin, mut digits) = (lines.text.len(), Buffer::<{ size_of::<Hash>() }>::new());
        lines.text.extend_from_slice(b"{\"time\":\"");
        lines.put_time(record.time);
        let Lines { text, ends, .. } = lines;
        text.extend_from_slice(b"\",");
        let members = record.event.strip_prefix(b"{").and_then(|event| event.strip_suffix(b"}"));
        text.extend_from_slice(members.unwrap_or(b"\"event\":\"unreadable\""));
        text.extend_from_slice(b",\"seq\":");
        // Writing to a Vec does not fail.
        let _ = serde_json::to_writer(&mut *text, &number);
        text.extend_from_slice(b",\"prev\":\"");
        text.extend_from_slice(digits.format(&self.hash).as_bytes());
        text.push(b'"');
        let hash = sha256(&text[begin..]);
        text.extend_from_slice(b",\"hash\":\"");
        text.extend_from_slice(digits.format(&hash).as_bytes());
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

pub(super) fn hex(hash: &Hash) -> String {
    const_hex::encode(hash)
}

fn from_hex(text: &str) -> Option<Hash> {
    const_hex::decode_to_array(text).ok()
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
        let time = UnixTime::from_seconds(1_700_000_000);
        chain.append(&Record { time, event: br#"{"event":"log_opened"}"#.to_vec() }, &mut lines);
        let (read, previous, record) = Chain::read(lines.iter().next().unwrap()).unwrap();
        assert_eq!((read, previous), (chain, [0; 32]));
        assert_eq!((&record["time"], &record["event"]), (&"2023-11-14T22:13:20Z".into(), &"log_opened".into()));
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
