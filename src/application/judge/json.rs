//! JSON as Metabase's parser (Jackson, through Cheshire) reads it: the first value counts, the last of equal names counts,
//! and strings may hold raw control characters and lone surrogates.

use std::{borrow::Cow, collections::HashSet, fmt, fmt::Write as _};

use serde::{
    Deserializer as _,
    de::{MapAccess, Visitor},
};
use serde_json::Value;

/// A name and its value, in the order of the text.
pub(super) type Member = (String, Value);

/// The first value of a text.
pub(super) enum Document {
    /// Nothing but white space: null to Metabase.
    Empty,
    /// An object, with repeated names.
    Object(Vec<Member>),
    /// An array, a string, a number, or a literal.
    Other,
}

/// None if the bytes do not begin with a JSON value. Bytes that are not UTF-8 become U+FFFD, as on the JVM.
pub(super) fn parse(bytes: &[u8]) -> Option<Document> {
    let text = String::from_utf8_lossy(bytes);
    let text = with_strict_strings(text.trim_start_matches([' ', '\t', '\r', '\n']));
    if text.is_empty() {
        return Some(Document::Empty);
    }
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    if text.starts_with('{') {
        return deserializer.deserialize_map(Members).ok().map(Document::Object);
    }
    match deserializer.into_iter::<Value>().next() {
        Some(Ok(Value::Null)) => Some(Document::Empty),
        Some(Ok(_)) => Some(Document::Other),
        Some(Err(_)) | None => None,
    }
}

/// The same JSON with strings that a strict parser reads: raw control characters escaped, lone surrogates as U+FFFD.
fn with_strict_strings(text: &str) -> Cow<'_, str> {
    if !text.bytes().any(|byte| byte < b' ') && !text.contains("\\u") {
        return Cow::Borrowed(text);
    }
    let (mut out, mut rest, mut in_string) = (String::with_capacity(text.len() + 16), text, false);
    while let Some(c) = rest.chars().next() {
        let (taken, code_unit) = match c {
            '\\' if in_string => escape(rest),
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
    type Value = Vec<Member>;

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
        let Value::Number(number) = value else { return None };
        let digits = number.as_str();
        if digits.contains(['.', 'e', 'E']) {
            return digits.parse().ok().map(Self::Double);
        }
        Some(digits.parse().map_or(Self::Big(digits), Self::Long))
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
mod tests {
    use super::*;

    #[test]
    fn numbers_print_as_on_the_jvm() {
        for (json, printed) in [
            ("42", "42"),
            ("-0", "0"),
            ("99999999999999999999", "99999999999999999999"),
            ("1.0", "1.0"),
            ("1e3", "1000.0"),
            ("1e7", "1.0E7"),
            ("1700000000.5", "1.7000000005E9"),
            ("0.001", "0.001"),
            ("0.0001", "1.0E-4"),
            ("-2.5", "-2.5"),
            ("1e400", "Infinity"),
        ] {
            let value: Value = serde_json::from_str(json).unwrap();
            assert_eq!(Number::of(&value).unwrap().to_string(), printed, "{json}");
        }
    }

    #[test]
    fn the_first_value_and_the_last_name_count() {
        let Some(Document::Object(members)) = parse(br#" {"a":1,"a":2} trailing"#) else { panic!("not an object") };
        assert_eq!(member(&members, "a"), Some(&2.into()));
        assert!(matches!(parse(b" \n"), Some(Document::Empty)));
        assert!(matches!(parse(b"null"), Some(Document::Empty)));
        assert!(matches!(parse(b"[1]"), Some(Document::Other)));
        assert!(parse(b"[nope").is_none());
        assert!(parse(b"{\"a\":01}").is_none());
        assert!(parse(b"{a:1}").is_none());
    }

    #[test]
    fn strings_hold_what_the_jvm_lets_them_hold() {
        for (json, read) in [
            ("\"a\nb\0\"", "a\nb\0"),
            (r#""\ud83d\ude00 \u00e4""#, "😀 ä"),
            (r#""\ud83d!""#, "\u{fffd}!"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\ude00\\u""#, "\u{fffd}\\u"),
            (r#""\"\ud83d\"""#, "\"\u{fffd}\""),
        ] {
            let text = format!("{{\"a\":\n{json}}}");
            let Some(Document::Object(members)) = parse(text.as_bytes()) else { panic!("not read: {text:?}") };
            assert_eq!(member(&members, "a"), Some(&read.into()), "{text:?}");
        }
        for broken in [r#"{"a":"\ud83"}"#, r#"{"a":"\x"}"#, r#"{"a":"\"#] {
            assert!(parse(broken.as_bytes()).is_none(), "{broken}");
        }
    }
}
