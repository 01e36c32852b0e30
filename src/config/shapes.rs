//! Reads the shapes of the file. Of unknown keys and wrong types all are found, and not only the first.

use std::ops::Range;

use serde::Deserialize as _;
use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue, Deserializer, Error},
};

use super::raw::RawConfig;

/// Beyond so many the file is another one.
const MAX_FAULTS: usize = 50;

/// What keys are for that have no default.
const MISSING: [(&str, &str); 2] = [
    ("on_store_failure", "\"allow\" issues tokens unchecked while Redis does not answer, \"deny\" refuses them"),
    ("hash_key", "a secret that all replicas have; `metabase-token-service keygen` makes one"),
];

/// What does not fit, and where.
pub(super) type Fault = (Range<usize>, String);

/// The way from the whole to a part of it.
type Path = Vec<Step>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

pub(super) fn read(text: &str) -> Result<RawConfig, Vec<Fault>> {
    let mut error = match toml::from_str(text) {
        Ok(raw) => return Ok(raw),
        Err(error) => error,
    };
    let mut faults = vec![fault(&error)];
    // What is not TOML has no parts.
    let Ok(mut table) = DeTable::parse(text) else { return Err(faults) };
    let mut taken: Vec<Path> = Vec::new();
    let mut place = find(table.get_ref(), error.span());
    // What does not fit is taken out, and the rest read again.
    while let Some(path) = place.filter(|path| faults.len() < MAX_FAULTS && remove_from_table(table.get_mut(), path)) {
        taken.push(path);
        error = match RawConfig::deserialize(Deserializer::from(table.clone())) {
            Ok(_) => break,
            Err(error) => error,
        };
        place = find(table.get_ref(), error.span());
        // A key that was taken is not missing.
        let whole = missing(error.message())
            .zip(place.as_ref())
            .map(|(key, parent)| [parent.as_slice(), &[Step::Key(key.to_owned())]].concat());
        if !whole.is_some_and(|whole| taken.contains(&whole)) {
            faults.push(fault(&error));
        }
    }
    Err(faults)
}

/// Only the message: the full form of the error quotes the line, which may hold a misplaced secret.
fn fault(error: &Error) -> Fault {
    let message = error.message();
    // In the words of somebody who writes the file, not of one who reads it with Rust.
    let words = [
        ("i64", "a whole number"),
        ("f64", "a number"),
        ("a nonzero u32", "a whole number from 1 on"),
        ("a sequence", "a list"),
        ("a map", "a table"),
    ];
    let plain = words.into_iter().find_map(|(own, word)| {
        let head = message.strip_suffix(own)?.strip_suffix("expected ")?;
        Some(format!("{head}expected {word}"))
    });
    let explained = missing(message).and_then(|missing| {
        let (_, what) = MISSING.into_iter().find(|(key, _)| *key == missing)?;
        Some(format!("{message}: {what}"))
    });
    (error.span().unwrap_or(0..0), plain.or(explained).unwrap_or_else(|| message.to_owned()))
}

/// The key, if the message is that one is missing.
fn missing(message: &str) -> Option<&str> {
    message.strip_prefix("missing field `")?.strip_suffix('`')
}

/// The way to the smallest part around `span`.
fn find(table: &DeTable<'_>, span: Option<Range<usize>>) -> Option<Path> {
    let mut best = None;
    search_table(table, &mut Vec::new(), &span?, &mut best);
    best.map(|(_, path)| path)
}

fn search_table(table: &DeTable<'_>, path: &mut Path, span: &Range<usize>, best: &mut Option<(usize, Path)>) {
    for (key, value) in table {
        path.push(Step::Key(key.get_ref().to_string()));
        consider(&key.span(), path, span, best);
        search_value(value, path, span, best);
        path.pop();
    }
}

fn search_value(value: &Spanned<DeValue<'_>>, path: &mut Path, span: &Range<usize>, best: &mut Option<(usize, Path)>) {
    consider(&value.span(), path, span, best);
    match value.get_ref() {
        DeValue::Array(values) => {
            for (index, value) in values.iter().enumerate() {
                path.push(Step::Index(index));
                search_value(value, path, span, best);
                path.pop();
            }
        }
        DeValue::Table(table) => search_table(table, path, span, best),
        DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) | DeValue::Boolean(_) | DeValue::Datetime(_) => {}
    }
}

fn consider(own: &Range<usize>, path: &Path, span: &Range<usize>, best: &mut Option<(usize, Path)>) {
    let contains = own.start <= span.start && span.end <= own.end;
    if contains && best.as_ref().is_none_or(|(len, _)| own.len() <= *len) {
        *best = Some((own.len(), path.clone()));
    }
}

fn remove_from_table(table: &mut DeTable<'_>, path: &[Step]) -> bool {
    let Some((Step::Key(name), rest)) = path.split_first() else { return false };
    let Some(key) = table.keys().find(|key| key.get_ref() == name).cloned() else { return false };
    if rest.is_empty() {
        table.remove(&key).is_some()
    } else {
        table.get_mut(&key).is_some_and(|one| remove(one, rest))
    }
}

fn remove(value: &mut Spanned<DeValue<'_>>, path: &[Step]) -> bool {
    match (value.get_mut(), path) {
        (DeValue::Table(table), path) => remove_from_table(table, path),
        (DeValue::Array(values), [Step::Index(index)]) if *index < values.len() => {
            let rest = std::mem::replace(values, DeArray::new()).into_iter().enumerate().filter(|(at, _)| at != index);
            *values = rest.map(|(_, value)| value).collect();
            true
        }
        (DeValue::Array(values), [Step::Index(index), rest @ ..]) => {
            values.get_mut(*index).is_some_and(|value| remove(value, rest))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn faults(text: &str) -> Vec<String> {
        read(text).err().unwrap_or_default().into_iter().map(|(_, rule)| rule).collect()
    }

    #[test]
    fn every_unknown_key_wrong_type_and_missing_key_is_found_once() {
        let text = "[srever]\n[server]\nreflection = 1\nlimits = { max_in_flight = \"9\" }\n[[instances]]\nname = 7\nshared_secret = { file = \"x\" }\n\
                    [[callers]]\n[[callers.grants]]\ninstance = \"a\"\ngroups = [1, \"A\"]\nrate = { per_second = -1 }\n";
        let faults = faults(text);
        for rule in [
            "unknown field `srever`",
            "invalid type: integer `1`, expected a boolean",
            "invalid type: string \"9\", expected a whole number",
            "invalid type: integer `7`, expected a string",
            "invalid type: integer `1`, expected a string",
            "invalid value: integer `-1`, expected a whole number from 1 on",
            "missing field `name`",
        ] {
            assert_eq!(faults.iter().filter(|one| one.starts_with(rule)).count(), 1, "{rule}: {faults:#?}");
        }
        assert_eq!(faults.len(), 7, "{faults:#?}");
    }

    #[test]
    fn what_is_not_toml_is_one_fault() {
        assert_eq!(faults("= 1\n[server\n").len(), 1);
    }
}
