//! What became of the mutants: the lines that `trial::Record` writes, put together.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

const VERDICTS: [&str; 4] = ["caught", "missed", "unviable", "timed out"];

/// Verdict and name of each.
fn lines(outcomes: &str) -> impl Iterator<Item = (&str, &str)> {
    outcomes.lines().filter_map(|line| line.split_once('\t'))
}

/// The names of those that no test has noticed.
pub fn survivors(outcomes: &str) -> BTreeSet<String> {
    lines(outcomes).filter(|(verdict, _)| *verdict == "missed").map(|(_, name)| name.to_owned()).collect()
}

/// A line for each file, and one for all.
pub fn table(outcomes: &str) -> String {
    let mut files = BTreeMap::<&str, [usize; 4]>::new();
    let mut all = [0; 4];
    for (verdict, name) in lines(outcomes) {
        let file = name.split(':').next().unwrap_or_default();
        let Some(column) = VERDICTS.iter().position(|each| *each == verdict) else { continue };
        files.entry(file.strip_prefix("src/").unwrap_or(file)).or_default()[column] += 1;
        all[column] += 1;
    }
    let mut out = format!("| file | mutants | {} |\n{}|\n", VERDICTS.join(" | "), "| --- ".repeat(6));
    let files = files.into_iter().map(|(file, counts)| (format!("`{file}`"), counts));
    for (file, counts) in files.chain([("all".to_owned(), all)]) {
        // Writing to a String does not fail.
        let _ = write!(out, "| {file} | {}", counts.iter().sum::<usize>());
        for count in counts {
            let _ = write!(out, " | {count}");
        }
        out.push_str(" |\n");
    }
    out
}
