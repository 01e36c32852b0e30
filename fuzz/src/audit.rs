//! `audit verify`: every single change to a whole log is found, and any text at all is judged as a second verifier judges it.
//!
//! The first byte of the input is the manner:
//! - `R`: the rest is a log as it stands;
//! - `S`: each line of the rest is a record without its hash, which is put on; `$N` stands for its number, and `$P` for the hash of
//!   the record before it;
//! - otherwise it is the change that is made to a good log: two bytes where, one byte what; each line of the rest is one record.

use aws_lc_rs::digest::{SHA256, digest};
use metabase_token_service::adapters::audit_log::{Broken, Verified, verify};
use serde_json::{Value, json};

pub fn check(input: &[u8]) {
    match input.split_first() {
        None => assert!(matches!(verify(input), Err(Broken::Empty))),
        Some((b'R', log)) => compare(log),
        Some((b'S', records)) => compare(&seal(records)),
        Some((change, rest)) => change_a_log(*change, rest),
    }
}

fn compare(log: &[u8]) {
    let verified = verify(log);
    let expected = expected(log);
    assert_eq!(verified.as_ref().ok(), expected.as_ref(), "{:?}\n{}", verified, String::from_utf8_lossy(log));
}

/// The log with these records, each followed by its hash.
fn seal(records: &[u8]) -> Vec<u8> {
    let (mut log, mut previous) = (Vec::new(), "0".repeat(64));
    for (record, number) in records.split(|byte| *byte == b'\n').zip(1_u64..) {
        let text = String::from_utf8_lossy(record).replace("$N", &number.to_string()).replace("$P", &previous);
        previous = hash(text.as_bytes());
        log.extend_from_slice(format!("{text},\"hash\":\"{previous}\"}}\n").as_bytes());
    }
    log
}

fn hash(text: &[u8]) -> String {
    digest(&SHA256, text).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a verifier has to say about a log that is whole; none if it is not.
fn expected(log: &[u8]) -> Option<Verified> {
    let text = log.strip_suffix(b"\n")?;
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
    for (line, at) in text.split(|byte| *byte == b'\n').zip(1_u64..) {
        let sealed = &line[..line.len().checked_sub(75)?];
        let own = hash(sealed);
        if &line[sealed.len()..] != format!(",\"hash\":\"{own}\"}}").as_bytes() {
            return None;
        }
        let record: Value = serde_json::from_slice(line).ok()?;
        let (number, previous) = (record["seq"].as_u64()?, record["prev"].as_str()?);
        // Nothing could follow it.
        number.checked_add(1)?;
        if previous.len() != 64 || !previous.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let event = record["event"].as_str().unwrap_or_default();
        if at == 1 {
            if !["log_opened", "log_continued"].contains(&event) {
                return None;
            }
            verified.first = number;
            let is_first = previous.bytes().all(|digit| digit == b'0');
            verified.follows = (!is_first).then(|| previous.to_ascii_lowercase());
        } else if verified.first == 1
            && number == 1
            && event == "log_opened"
            && previous.bytes().all(|digit| digit == b'0')
        {
            verified.begun.push(at);
            if !verified.is_closed {
                verified.unclosed.push(at);
            }
        } else if number.checked_sub(1) != Some(verified.last) || previous.to_ascii_lowercase() != verified.hash {
            return None;
        } else if event == "log_opened" && !verified.is_closed {
            verified.unclosed.push(at);
        }
        verified.is_closed = event == "log_closed";
        if event == "records_lost" {
            verified.lost = verified.lost.saturating_add(record["count"].as_u64().unwrap_or_default());
        }
        (verified.records, verified.last, verified.hash) = (at, number, own);
    }
    Some(verified)
}

fn change_a_log(change: u8, rest: &[u8]) {
    let [high, low, what, descriptions @ ..] = rest else { return };
    let lines = good_log(descriptions);
    let whole: String = lines.concat();
    let verified = verify(whole.as_bytes()).unwrap_or_else(|error| panic!("{error}\n{whole}"));
    assert_eq!(Some(&verified), expected(whole.as_bytes()).as_ref());
    assert_eq!((verified.records, verified.last), (lines.len() as u64, lines.len() as u64));

    let at = usize::from(*high) << 8 | usize::from(*low);
    let line = at % lines.len();
    let mut changed = lines.clone();
    let mut bytes = whole.clone().into_bytes();
    match change % 8 {
        // A byte is another.
        0 => {
            let at = at % bytes.len();
            if bytes[at] == *what {
                return;
            }
            bytes[at] = *what;
            return assert_found(&bytes);
        }
        1 => {
            bytes.insert(at % (bytes.len() + 1), *what);
            return assert_found(&bytes);
        }
        2 => {
            bytes.remove(at % bytes.len());
            return assert_found(&bytes);
        }
        // Cut off in the midst of a record. At its end, docs/operations.md says, nothing can be seen.
        3 => {
            bytes.truncate(at % bytes.len());
            if bytes.is_empty() || bytes.ends_with(b"\n") {
                return;
            }
            return assert_found(&bytes);
        }
        // A record is missing. What is removed from the end leaves a log; what is removed before the beginning of a file, too.
        4 => {
            changed.remove(line);
            let begins_a_file = changed.first().is_some_and(|first| {
                ["log_opened", "log_continued"].iter().any(|event| first.contains(&format!("\"event\":\"{event}\"")))
            });
            if line == changed.len() || line == 0 && begins_a_file {
                return;
            }
        }
        // The first one, in its own place, is a process that began and came to nothing: `begun` names it.
        5 => {
            let copied = usize::from(*what) % lines.len();
            if copied == 0 && line <= 1 {
                return;
            }
            changed.insert(line, lines[copied].clone());
        }
        6 => {
            let other = usize::from(*what) % lines.len();
            if line == other {
                return;
            }
            changed.swap(line, other);
        }
        // Another record in its place, well formed and with a good hash of its own.
        _ => {
            let mut record: Value = serde_json::from_str(&lines[line]).expect("it is JSON");
            let members = record.as_object_mut().expect("it is an object");
            members.remove("hash");
            members.insert("groups".to_owned(), json!([what]));
            let text = serde_json::to_string(&record).expect("it is JSON");
            let text = text.strip_suffix('}').expect("it is an object");
            changed[line] = format!("{text},\"hash\":\"{}\"}}\n", hash(text.as_bytes()));
            // The last record has none behind it that knows its hash.
            if line + 1 == lines.len() {
                return;
            }
        }
    }
    assert_found(changed.concat().as_bytes());
}

fn assert_found(log: &[u8]) {
    assert!(verify(log).is_err(), "{}", String::from_utf8_lossy(log));
}

/// Lines of a good log: one that opens it, and one for each line of the input.
fn good_log(descriptions: &[u8]) -> Vec<String> {
    let (mut lines, mut previous) = (Vec::new(), "0".repeat(64));
    let descriptions = descriptions.split(|byte| *byte == b'\n').take(20).map(String::from_utf8_lossy);
    let events = descriptions.map(|text| match text.chars().next() {
        Some('o') => json!({ "event": "log_opened", "version": text }),
        Some('c') => json!({ "event": "log_closed" }),
        Some('l') => json!({ "event": "records_lost", "count": text.len() }),
        _ => json!({ "event": "token_issued", "caller": text }),
    });
    for (event, number) in std::iter::once(json!({ "event": "log_opened" })).chain(events).zip(1_u64..) {
        let body = event.to_string();
        let body = body.strip_suffix('}').expect("it is an object");
        let sealed = format!("{body},\"seq\":{number},\"prev\":\"{previous}\"");
        previous = hash(sealed.as_bytes());
        lines.push(format!("{sealed},\"hash\":\"{previous}\"}}\n"));
    }
    lines
}
