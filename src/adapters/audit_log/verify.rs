//! Checks the hash chain of a log.

use std::io::{self, BufRead};

use thiserror::Error;

use super::chain::{self, Chain, Hash, hex};

/// What a whole log says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Records in it.
    pub records: u64,
    /// Number of the first; more than 1 where it continues an earlier file.
    pub first: u64,
    /// Hash of the record before the first, in hexadecimal; none = there is none.
    pub follows: Option<String>,
    /// Number of the last.
    pub last: u64,
    /// Hash of the last, in hexadecimal: whoever keeps it elsewhere sees later whether records were removed from the end.
    pub hash: String,
    /// Whether it ends as a service does that was stopped in order.
    pub is_closed: bool,
    /// Lines at which a service was started although the one before it was not stopped in order: it was killed, or records were
    /// removed from what was then the end.
    pub unclosed: Vec<u64>,
    /// Lines at which a process began a chain of its own, as each does whose log is no file.
    pub begun: Vec<u64>,
    /// Records that were given up, and counted by the log itself.
    pub lost: u64,
}

/// The first thing that is wrong with a log.
#[derive(Debug, Error)]
pub enum Broken {
    /// There is no record.
    #[error("there is no record")]
    Empty,
    /// A line is no record, or not one of this place.
    #[error("line {line} {what}")]
    Line {
        /// Counted from 1.
        line: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The log cannot be read.
    #[error("cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// Reads a log to its end. It has to begin with the record that begins a file, or with record 1.
///
/// # Errors
/// The first record that was changed, removed, added or moved.
pub fn verify(mut log: impl BufRead) -> Result<Verified, Broken> {
    let mut last: Option<Chain> = None;
    let mut verified = Verified {
        records: 0,
        first: 0,
        follows: None,
        last: 0,
        hash: String::new(),
        is_closed: false,
        unclosed: Vec::new(),
        begun: Vec::new(),
        lost: 0,
    };
    let mut text = Vec::new();
    for line in 1.. {
        text.clear();
        if log.read_until(b'\n', &mut text)? == 0 {
            break;
        }
        let broken = |what: &str| Broken::Line { line, what: what.to_owned() };
        if line == 1 && !chain::is_sealed(&text) {
            return Err(broken("is no audit record of this service: is it another file?"));
        }
        let text = text.strip_suffix(b"\n").ok_or_else(|| broken("does not end: it was cut, or is being written"))?;
        let (chain, previous, record) = Chain::read(text).map_err(broken)?;
        let event = record["event"].as_str().unwrap_or_default();
        match last {
            None if !matches!(event, "log_opened" | "log_continued") => {
                return Err(broken("does not begin a log: records before it are missing"));
            }
            None => {
                verified.first = chain.number;
                verified.follows = (previous != Hash::default()).then(|| hex(&previous));
            }
            // A file that goes on from another never holds a first record.
            Some(_) if (verified.first, chain.number, previous) == (1, 1, Hash::default()) && event == "log_opened" => {
                verified.begun.push(line);
            }
            Some(last) if chain.number != last.number + 1 => {
                let what = format!(
                    "has the number {}, not {}: records were removed, added or moved",
                    chain.number,
                    last.number + 1
                );
                return Err(Broken::Line { line, what });
            }
            Some(last) if previous != last.hash => {
                return Err(broken("does not follow the record before it: one of them was exchanged"));
            }
            Some(_) => {}
        }
        if event == "log_opened" && last.is_some() && !verified.is_closed {
            verified.unclosed.push(line);
        }
        verified.is_closed = event == "log_closed";
        if event == "records_lost" {
            // A forged count must not stop the verifier.
            verified.lost = verified.lost.saturating_add(record["count"].as_u64().unwrap_or_default());
        }
        verified.records += 1;
        last = Some(chain);
    }
    let last = last.ok_or(Broken::Empty)?;
    Ok(Verified { last: last.number, hash: hex(&last.hash), ..verified })
}

#[cfg(test)]
mod tests {
    use super::{chain::Lines, *};
    use crate::{application::audit::Record, domain::time::UnixTime};

    #[test]
    fn counts_of_lost_records_that_nobody_can_have_lost_stop_nothing() {
        let (mut chain, mut log) = (Chain::default(), Lines::default());
        let lost = format!("{{\"event\":\"records_lost\",\"count\":{}}}", u64::MAX);
        for event in ["{\"event\":\"log_opened\"}", &lost, &lost, "{\"event\":\"log_closed\"}"] {
            let record = Record { time: UnixTime::from_seconds(0), event: event.into() };
            chain.append(&record, &mut log);
        }
        let verified = verify(log.text()).unwrap();
        assert_eq!((verified.records, verified.lost, verified.is_closed), (4, u64::MAX, true));
    }
}
