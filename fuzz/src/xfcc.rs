//! `x-forwarded-client-cert`: who the header says the caller is, against a reader of Envoy's format that goes from the other side:
//! it first cuts the text into elements and pairs at the separators that stand outside of quotes, and looks at the parts after that.
//!
//! The input is the header's value; what stands behind a line break is a second header.

use http::HeaderValue;
use metabase_token_service::transport::fuzzing;

use crate::identity;

pub fn check(input: &[u8]) {
    let values: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    let headers: Result<Vec<HeaderValue>, _> = values.iter().map(|value| HeaderValue::from_bytes(value)).collect();
    // A header that HTTP does not let pass.
    let Ok(headers) = headers else { return };
    let own = fuzzing::xfcc(headers);
    match (expected(&values), own) {
        (Some(identity), own) => {
            assert_eq!(own.expect("it names a caller").expect("it is given").to_string(), identity);
        }
        (None, Ok(identity)) => panic!("{identity:?} is named by {:?}", String::from_utf8_lossy(input)),
        (None, Err(error)) => assert!(error.len() < 200 && !error.contains('\n'), "{error}"),
    }
}

/// The caller; none = refused.
fn expected(values: &[&[u8]]) -> Option<String> {
    let [value] = values else { return None };
    let is_visible = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    if value.len() > 8192 || !value.iter().all(is_visible) {
        return None;
    }
    let text = str::from_utf8(value).ok()?;
    let elements = cut(text, ',')?;
    let mut uris = Vec::new();
    let mut names = Vec::new();
    for (index, element) in elements.iter().enumerate() {
        for pair in cut(element, ';')? {
            let (key, value) = read_pair(pair)?;
            if index + 1 < elements.len() || value.is_empty() {
                continue;
            }
            match key.to_ascii_lowercase().as_str() {
                "uri" => uris.push(value),
                "dns" => names.push(value),
                _ => {}
            }
        }
    }
    match (uris.as_slice(), names.as_slice()) {
        ([uri], _) => identity::is_spiffe_id(uri).then(|| uri.clone()),
        ([], [name]) => identity::is_dns_name(name).then(|| name.to_ascii_lowercase()),
        _ => None,
    }
}

/// Parts between separators outside of quotes; none where quotes do not end.
fn cut(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut begin, mut is_quoted, mut is_escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' if is_quoted => is_escaped = true,
            '"' => is_quoted = !is_quoted,
            _ if c == separator && !is_quoted => {
                parts.push(&text[begin..at]);
                begin = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    (!is_quoted).then_some(parts)
}

fn read_pair(pair: &str) -> Option<(&str, String)> {
    let (key, value) = pair.split_at(pair.find('=')?);
    let (key, value) = (key.trim(), &value[1..]);
    if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric()) {
        return None;
    }
    let Some(quoted) = value.strip_prefix('"') else {
        return (!value.contains(['"', '='])).then(|| (key, value.trim().to_owned()));
    };
    let quoted = quoted.trim_end().strip_suffix('"')?;
    let mut text = String::new();
    let mut is_escaped = false;
    for c in quoted.chars() {
        match c {
            '"' | '\\' if is_escaped => {
                text.push(c);
                is_escaped = false;
            }
            _ if is_escaped => {
                text.extend(['\\', c]);
                is_escaped = false;
            }
            '\\' => is_escaped = true,
            '"' => return None,
            _ => text.push(c),
        }
    }
    (!is_escaped).then_some((key, text))
}
