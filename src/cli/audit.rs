//! `audit verify`

use std::{fs::File, io::BufReader, path::Path, process::ExitCode};

use super::{fail, print};
use crate::adapters::audit_log;

/// The log is not whole.
const BROKEN: u8 = 3;

pub(super) fn verify(file: &Path) -> ExitCode {
    let name = file.display();
    let log: Box<dyn std::io::BufRead> = if file == Path::new("-") {
        Box::new(std::io::stdin().lock())
    } else {
        match File::open(file) {
            Ok(log) => Box::new(BufReader::new(log)),
            Err(error) => return fail(1, format_args!("{name}: cannot be read: {error}")),
        }
    };
    let whole = match audit_log::verify(log) {
        Ok(whole) => whole,
        Err(audit_log::Broken::Read(error)) => return fail(1, format_args!("{name}: cannot be read: {error}")),
        Err(broken) => return fail(BROKEN, format_args!("{name}: {broken}")),
    };
    let lost = match whole.lost {
        0 => String::new(),
        lost => format!("{lost} records of no token are missing, as the log itself says\n"),
    };
    let unclosed = whole.unclosed.iter().fold(String::new(), |text, line| {
        text + &format!(
            "line {line}: started, but not stopped in order before: killed, or records were removed there\n"
        )
    });
    let begun = whole.begun.iter().fold(String::new(), |text, line| {
        text + &format!("line {line}: another process begins its own chain, as they do where the log is no file\n")
    });
    let end = if whole.is_closed {
        ""
    } else {
        "it does not end with log_closed: the service runs, was killed, goes on in another file, or records were removed from the end\n"
    };
    let before = whole.follows.map_or_else(String::new, |hash| {
        format!("it goes on from record {}, hash {hash}\n", whole.first.saturating_sub(1))
    });
    print(format_args!(
        "whole: {} records, {} to {}\n{before}{lost}{begun}{unclosed}{end}last hash {}\n",
        whole.records, whole.first, whole.last, whole.hash
    ))
}
