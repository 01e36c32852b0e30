//! JSON as Metabase's parser (Jackson, through Cheshire) reads it: the first value counts, the last of equal names counts,
//! and strings may hold raw control characters and lone surrogates.

use std::{borrow::Cow, collections::HashSet, fmt, fmt::Write as _};

use serde::{
    Deserializer as _,
    de::{MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// A name and its value, in the order of the text.
pub(super) type Member = (String, Value);

/// The first value of a text.
pub(super) enum Document {
    /// Nothing but white space: null to Metabase.
    Empty,
    /// An array.
    Array(Vec<Value>),
    /// An object, with repeated names.
    Object(Vec<Member>),
    /// A string, a number, or a literal.
    Other,
}

/// A value, as deep as claims are read.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    Array(Vec<Self>),
    Bool(bool),
    /// An array or object inside the members of a claim; nobody looks into it.
    Deeper,
    Null,
    /// The digits as they stand in the text.
    Number(String),
    Object(Vec<Member>),
    String(String),
}

impl Value {
    pub(super) fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// Absent, null and false are the same to Clojure.
    pub(super) fn is_falsy(value: Option<&Self>) -> bool {
        matches!(value, None | Some(Self::Null | Self::Bool(false)))
    }
}

/// Levels below a claim that are read: the items of `groups`, the members of the tenant's attributes.
const LEVELS: u8 = 1;
/// Jackson's limits (`StreamReadConstraints`) of nesting and of the length of a number.
const MAX_DEPTH: usize = 1000;
const MAX_DIGITS: usize = 1000;

/// Why a text is not read as JSON.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum NotJson {
    Syntax,
    TooDeep,
    TooManyDigits,
}

/// Reads the JSON value that the bytes begin with. Bytes that are not UTF-8 become U+FFFD, as on the JVM.
pub(super) fn parse(bytes: &[u8]) -> Result<Document, NotJson> {
    let text = String::from_utf8_lossy(bytes);
    let text = with_strict_strings(text.trim_start_matches(WHITE_SPACE));
    if text.is_empty() {
        return Ok(Document::Empty);
    }
    // Raw values only: a `serde_json::Value` would take an object with a key of its own for a number.
    let first = serde_json::Deserializer::from_str(&text).into_iter::<&RawValue>().next();
    let first = first.and_then(Result::ok).ok_or(NotJson::Syntax)?;
    check_limits(first.get())?;
    match read(first, LEVELS + 1).ok_or(NotJson::Syntax)? {
        Value::Null => Ok(Document::Empty),
        Value::Object(members) => Ok(Document::Object(members)),
        Value::Array(items) => Ok(Document::Array(items)),
        Value::Bool(_) | Value::Deeper | Value::Number(_) | Value::String(_) => Ok(Document::Other),
    }
}

const WHITE_SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

fn read(raw: &RawValue, levels: u8) -> Option<Value> {
    let text = raw.get();
    match text.bytes().next()? {
        b'n' => Some(Value::Null),
        b't' | b'f' => Some(Value::Bool(text == "true")),
        b'"' => serde_json::from_str(text).ok().map(Value::String),
        b'[' | b'{' if levels == 0 => Some(Value::Deeper),
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            items.into_iter().map(|item| read(item, levels - 1)).collect::<Option<_>>().map(Value::Array)
        }
        b'{' => {
            let members = serde_json::Deserializer::from_str(text).deserialize_map(Members).ok()?;
            let members = members.into_iter().map(|(name, value)| Some((name, read(value, levels - 1)?)));
            members.collect::<Option<_>>().map(Value::Object)
        }
        _ => Some(Value::Number(text.to_owned())),
    }
}

/// Of a well-formed text.
fn check_limits(text: &str) -> Result<(), NotJson> {
    let (mut depth, mut digits, mut in_string, mut is_escaped) = (0_usize, 0_usize, false, false);
    for byte in text.bytes() {
        digits = match byte {
            b'0'..=b'9' if !in_string => digits + 1,
            // Whole part, fraction and exponent count together.
            b'.' | b'e' | b'E' | b'+' | b'-' => digits,
            _ => 0,
        };
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth -= 1,
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(NotJson::TooDeep);
        }
        if digits > MAX_DIGITS {
            return Err(NotJson::TooManyDigits);
        }
    }
    Ok(())
}

/// The same JSON with strings that a strict parser reads: raw control characters escaped, lone surrogates as U+FFFD.
fn with_strict_strings(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte < b' ') && !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest, mut in_string) = (String::with_capacity(text.len() + 16), text, false);
    while let Some(c) = rest.chars().next() {
        let (taken, code_unit) = match c {
            '\\' => escape(rest),
            _ => (&rest[..c.len_utf8()], None),
        };
        rest = &rest[taken.len()..];
        match code_unit {
            Some(0xD800..=0xDBFF) => match escape(rest) {
                (low, Some(0xDC00..=0xDFFF)) => {
                    out.extend([taken, low]);
                    rest = &rest[low.len()..];
                }
                _ => out.push(char::REPLACEMENT_CHARACTER),
            },
            Some(0xDC00..=0xDFFF) => out.push(char::REPLACEMENT_CHARACTER),
            Some(_) => out.push_str(taken),
            // Writing to a String does not fail.
            None if in_string && c < ' ' => _ = write!(out, "\\u{:04x}", u32::from(c)),
            None => {
                in_string ^= c == '"';
                out.push_str(taken);
            }
        }
    }
    Cow::Owned(out)
}

/// The escape that `text` begins with, and its UTF-16 code unit if it is a `\u` one.
fn escape(text: &str) -> (&str, Option<u16>) {
    let is_hex = |digits: &&str| digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let code_unit = text.strip_prefix("\\u").and_then(|rest| rest.get(..4)).filter(is_hex);
    match code_unit.and_then(|digits| u16::from_str_radix(digits, 16).ok()) {
        Some(code_unit) => (&text[..6], Some(code_unit)),
        None => (text.char_indices().nth(2).map_or(text, |(end, _)| &text[..end]), None),
    }
}

/// The value that counts: the last of the name.
pub(super) fn member<'a>(members: &'a [Member], name: &str) -> Option<&'a Value> {
    members.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value)
}

pub(super) fn warn_of_repeated_names(members: &[Member], warnings: &mut Vec<String>) {
    let (mut seen, mut repeated) = (HashSet::new(), HashSet::new());
    for (name, _) in members {
        if !seen.insert(name) && repeated.insert(name) {
            warnings.push(format!("The claim {name:?} stands in the token more than once; Metabase takes the last."));
        }
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(members)
    }
}

/// A number as Clojure computes with it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number<'a> {
    /// Fits 64 bits.
    Long(i64),
    /// An integer beyond 64 bits.
    Big(&'a str),
    /// With a fraction or an exponent.
    Double(f64),
}

impl<'a> Number<'a> {
    pub(super) fn of(value: &'a Value) -> Option<Self> {
        let Value::Number(digits) = value else { return None };
        if digits.contains(['.', 'e', 'E']) {
            return digits.parse().ok().map(Self::Double);
        }
        Some(digits.parse().map_or(Self::Big(digits.as_str()), Self::Long))
    }

    /// Whole seconds, rounded down; the far ends of time saturate.
    #[expect(clippy::cast_possible_truncation, reason = "saturates, and NaN cannot be written in JSON")]
    pub(super) fn whole(self) -> i64 {
        match self {
            Self::Long(long) => long,
            Self::Big(digits) if digits.starts_with('-') => i64::MIN,
            Self::Big(_) => i64::MAX,
            Self::Double(double) => double.floor() as i64,
        }
    }
}

/// As `Object.toString` writes it on the JVM.
impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Long(long) => long.fmt(f),
            Self::Big(digits) => f.write_str(digits),
            Self::Double(double) if double.is_infinite() => {
                f.write_str(if double > 0.0 { "Infinity" } else { "-Infinity" })
            }
            Self::Double(double) if double == 0.0 || (1e-3..1e7).contains(&double.abs()) => write!(f, "{double:?}"),
            Self::Double(double) => {
                let text = format!("{double:E}");
                match text.split_once('E') {
                    Some((digits, exponent)) if !digits.contains('.') => write!(f, "{digits}.0E{exponent}"),
                    Some(_) | None => f.write_str(&text),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
