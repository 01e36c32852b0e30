//! What a Metabase may hold whose administrator pasted the right secret in a wrong way.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::SharedSecret;

/// How the key that Metabase holds comes from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LookAlike {
    /// Ours is the base64 of it, as the values in a Kubernetes manifest are.
    Base64Decoded,
    /// It is the base64 of ours.
    Base64Encoded,
    /// Ours is the hexadecimal form of it.
    HexDecoded,
    /// It is the hexadecimal form of ours.
    HexEncoded,
    /// The letters of a hexadecimal number in the other case.
    OtherCase,
    /// In quotes.
    Quoted,
    /// With the space in front that a paste may bring.
    LeadingSpace,
    /// With a line break at the end, as `echo` makes it.
    TrailingNewline,
    /// With the line break of Windows.
    TrailingNewlineOfWindows,
    /// With a space at the end.
    TrailingSpace,
}

impl fmt::Display for LookAlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Base64Decoded => "what our secret is the base64 of; ours was encoded once too often",
            Self::Base64Encoded => "the base64 of our secret",
            Self::HexDecoded => "what our secret is the hexadecimal form of; ours was encoded once too often",
            Self::HexEncoded => "the hexadecimal form of our secret",
            Self::OtherCase => "our secret with its letters in the other case",
            Self::Quoted => "our secret in quotes",
            Self::LeadingSpace => "our secret with a space before it",
            Self::TrailingNewline | Self::TrailingNewlineOfWindows => "our secret with a line break after it",
            Self::TrailingSpace => "our secret with a space after it",
        })
    }
}

impl SharedSecret {
    /// The keys that a wrong paste makes of this one. They are for asking Metabase about, and not for signing tokens.
    #[must_use]
    pub fn look_alikes(&self) -> Vec<(LookAlike, Self)> {
        let own = self.0.as_slice();
        let wrapped = |before: &str, after: &str| Some([before.as_bytes(), own, after.as_bytes()].concat());
        let candidates = [
            (LookAlike::TrailingNewline, wrapped("", "\n")),
            (LookAlike::TrailingNewlineOfWindows, wrapped("", "\r\n")),
            (LookAlike::TrailingSpace, wrapped("", " ")),
            (LookAlike::LeadingSpace, wrapped(" ", "")),
            (LookAlike::Quoted, wrapped("\"", "\"")),
            (LookAlike::Quoted, wrapped("'", "'")),
            (LookAlike::Base64Decoded, STANDARD.decode(own.trim_ascii()).ok()),
            (LookAlike::Base64Encoded, Some(STANDARD.encode(own).into_bytes())),
            (LookAlike::HexDecoded, hex_decoded(own)),
            (LookAlike::HexEncoded, Some(hex_encoded(own))),
            (LookAlike::OtherCase, Some(own.to_ascii_uppercase())),
            (LookAlike::OtherCase, Some(own.to_ascii_lowercase())),
        ];
        let others = candidates.into_iter().filter_map(|(how, key)| Some((how, Self(key?))));
        others.filter(|(_, other)| !other.0.is_empty() && !other.is_same_key(self)).collect()
    }
}

fn hex_decoded(text: &[u8]) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

fn hex_encoded(bytes: &[u8]) -> Vec<u8> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_gives_another_key_and_none_is_ours() {
        let secret = SharedSecret::parse(b"8f2b7c1d9e3a4056b8c7d2e1f0a9b3c4".to_vec()).unwrap();
        let found = secret.look_alikes();
        let key = |how: LookAlike| found.iter().find(|(each, _)| *each == how).unwrap().1.0.clone();
        assert_eq!(key(LookAlike::TrailingNewline), b"8f2b7c1d9e3a4056b8c7d2e1f0a9b3c4\n");
        assert_eq!(key(LookAlike::OtherCase), b"8F2B7C1D9E3A4056B8C7D2E1F0A9B3C4");
        assert_eq!(key(LookAlike::HexDecoded)[..3], [0x8f, 0x2b, 0x7c]);
        assert_eq!(key(LookAlike::HexEncoded)[..4], *b"3866");
        assert_eq!(key(LookAlike::Base64Encoded), b"OGYyYjdjMWQ5ZTNhNDA1NmI4YzdkMmUxZjBhOWIzYzQ=");
        assert!(found.iter().all(|(_, other)| !other.is_same_key(&secret)));
        assert!(found.iter().all(|(how, _)| how.to_string().contains("our secret")));
        assert_eq!(LookAlike::Quoted.to_string(), "our secret in quotes");
    }
}
