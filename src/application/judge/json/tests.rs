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
        let value = Value::Number(json.to_owned());
        assert_eq!(Number::of(&value).unwrap().to_string(), printed, "{json}");
    }
}

#[test]
fn the_first_value_and_the_last_name_count() {
    let Ok(Document::Object(members)) = parse(br#" {"a":1,"a":2} trailing"#) else { panic!("not an object") };
    assert_eq!(member(&members, "a"), Some(&Value::Number("2".to_owned())));
    assert!(matches!(parse(b" \n"), Ok(Document::Empty)));
    assert!(matches!(parse(b"null"), Ok(Document::Empty)));
    assert!(matches!(parse(b"[1]"), Ok(Document::Array(_))));
    assert!(parse(b"[nope").is_err());
    assert!(parse(b"{\"a\":01}").is_err());
    assert!(parse(b"{a:1}").is_err());
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
        let Ok(Document::Object(members)) = parse(text.as_bytes()) else { panic!("not read: {text:?}") };
        assert_eq!(member(&members, "a"), Some(&Value::String(read.to_owned())), "{text:?}");
    }
    for broken in [r#"{"a":"\ud83"}"#, r#"{"a":"\x"}"#, r#"{"a":"\"#] {
        assert!(parse(broken.as_bytes()).is_err(), "{broken}");
    }
}

#[test]
fn no_name_makes_an_object_a_number() {
    let text = br#"{"exp":{"$serde_json::private::Number":"99999999999"},"x":{"$serde_json::private::RawValue":"1"}}"#;
    let Ok(Document::Object(members)) = parse(text) else { panic!("not an object") };
    assert!(members.iter().all(|(_, value)| matches!(value, Value::Object(_))), "{members:?}");
}

#[test]
fn the_limits_are_those_of_the_jvm() {
    let nested = |depth| format!("{{\"a\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    assert!(parse(nested(999).as_bytes()).is_ok());
    assert!(parse(nested(1000).as_bytes()).is_err());
    assert!(parse(nested(20_000).as_bytes()).is_err());
    let number = |digits| format!("{{\"a\":{}}}", "1".repeat(digits));
    assert!(parse(number(1000).as_bytes()).is_ok());
    assert!(parse(number(1001).as_bytes()).is_err());
    let parts = |len| format!("{{\"a\":[{0}.{0}e-1,{0}]}}", "1".repeat(len));
    assert!(parse(parts(499).as_bytes()).is_ok());
    assert!(parse(parts(500).as_bytes()).is_err());
}

#[test]
fn what_stands_in_a_string_counts_for_no_limit() {
    for text in
        ["1".repeat(1001), "[".repeat(1001), "]".repeat(3), format!(r#"\"{}"#, "[".repeat(1001)), r"\\".repeat(9)]
    {
        assert!(parse(format!("{{\"a\":\"{text}\"}}").as_bytes()).is_ok(), "{text}");
    }
    let beside_each_other = format!("[{}1]", "[],{},".repeat(1001));
    assert!(parse(beside_each_other.as_bytes()).is_ok());
    let behind_a_string = format!(r#"["\\",{}]"#, "1".repeat(1001));
    assert!(parse(behind_a_string.as_bytes()).is_err());
}

#[test]
fn what_lies_deeper_than_anything_looks_is_not_read() {
    for [open, close] in [["[", "]"], ["{\"a\":", "}"]] {
        let read = |levels: u8| {
            let [open, close] = [open, close].map(|one| one.repeat(levels.into()));
            format!("{:?}", read(serde_json::from_str(&format!("{open}[]{close}")).unwrap(), LEVELS + 1))
        };
        assert!(!read(LEVELS).contains("Deeper") && read(LEVELS + 1).contains("Deeper"), "{open}");
    }
}
