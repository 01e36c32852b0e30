//! JSON as Metabase's parser (Jackson, through Cheshire) reads it: the first value counts, the last of equal names counts.

use std::fmt;

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
    let text = text.trim_start_matches([' ', '\t', '\r', '\n']);
    if text.is_empty() {
        return Some(Document::Empty);
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    if text.starts_with('{') {
        return deserializer.deserialize_map(Members).ok().map(Document::Object);
    }
    match deserializer.into_iter::<Value>().next() {
        Some(Ok(Value::Null)) => Some(Document::Empty),
        Some(Ok(_)) => Some(Document::Other),
        Some(Err(_)) | None => None,
    }
}

/// The value that counts: the last of the name.
pub(super) fn member<'a>(members: &'a [Member], name: &str) -> Option<&'a Value> {
    members.iter().rev().find(|(own, _)| own == name).map(|(_, value)| value)
}

pub(super) fn warn_of_repeated_names(members: &[Member], warnings: &mut Vec<String>) {
    let mut repeated: Vec<&str> = Vec::new();
    for (index, (name, _)) in members.iter().enumerate() {
        let is_repeated = members[..index].iter().any(|(earlier, _)| earlier == name);
        if is_repeated && !repeated.contains(&name.as_str()) {
            repeated.push(name);
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
        assert!(parse(b"{\"a\":01}").is_none());
        assert!(parse(b"{a:1}").is_none());
    }
}
