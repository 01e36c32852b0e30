//! The three parts of a token, decoded as leniently as the JVM does and no more.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};

use super::{
    CORRUPT,
    claims::Refusal,
    json::{self, Document, Member, NotJson, Value},
};
use crate::domain::auth_status::AuthStatusReason;

/// `java.util.Base64.getUrlDecoder` takes padding that is right or absent, and ignores surplus bits of the last digit.
const UNPADDED: GeneralPurpose = jvm_decoder(DecodePaddingMode::RequireNone);
const PADDED: GeneralPurpose = jvm_decoder(DecodePaddingMode::RequireCanonical);

const fn jvm_decoder(padding: DecodePaddingMode) -> GeneralPurpose {
    let config = GeneralPurposeConfig::new().with_decode_padding_mode(padding).with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&alphabet::URL_SAFE, config)
}

/// A token whose header is a JSON object and whose signature can be decoded. Nothing has been verified.
pub(super) struct Compact<'a> {
    jwt: &'a str,
    signed: &'a str,
    unverified_payload: &'a str,
    unverified_header: Vec<Member>,
    signature: Vec<u8>,
}

impl<'a> Compact<'a> {
    pub(super) fn parse(jwt: &'a str) -> Result<Self, Refusal> {
        let mut parts = jwt.splitn(3, '.');
        let (Some(header), Some(payload), Some(signature)) = (parts.next(), parts.next(), parts.next()) else {
            let parts = jwt.split('.').count();
            return Err(malformed(format!("A token has three parts separated by dots, this has {parts}")));
        };
        let unverified_header = decode(header)
            .map(|bytes| json::parse(&bytes).map_err(not_json))
            .transpose()?
            .and_then(header_members)
            .ok_or_else(|| malformed("The header is not base64url of a JSON object".to_owned()))?;
        let signature =
            decode(signature).ok_or_else(|| malformed("The signature is not one part of base64url".to_owned()))?;
        let signed = &jwt[..header.len() + 1 + payload.len()];
        Ok(Self { jwt, signed, unverified_payload: payload, unverified_header, signature })
    }

    /// The text that the signature is over.
    pub(super) const fn signed(&self) -> &str {
        self.signed
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// What the header says, if it could be the name of an algorithm; Metabase does not choose by it.
    pub(super) fn algorithm(&self) -> Option<&str> {
        let name = json::member(&self.unverified_header, "alg")?.as_str()?;
        let is_name =
            name.len() <= 16 && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-+/_".contains(&byte));
        Some(if is_name { name } else { "(unknown)" })
    }

    /// Only for a token whose signature is proven.
    pub(super) fn payload(&self) -> Result<Document, Refusal> {
        let bytes = self.payload_bytes().ok_or_else(|| Refusal {
            answer: Some("Illegal base64 character …".to_owned()),
            ..malformed("The payload is not base64url".to_owned())
        })?;
        json::parse(&bytes).map_err(|not_json| match not_json {
            // With a full stop that the header's lacks.
            NotJson::Syntax => {
                Refusal { answer: Some(format!("{CORRUPT}.")), ..malformed("The payload is not JSON".to_owned()) }
            }
            NotJson::TooDeep | NotJson::TooManyDigits => self::not_json(not_json),
        })
    }

    pub(super) fn payload_bytes(&self) -> Option<Vec<u8>> {
        decode(self.unverified_payload)
    }

    /// What Metabase lets pass and other verifiers do not.
    pub(super) fn warn(&self, warnings: &mut Vec<String>) {
        let algorithm = self.algorithm();
        if algorithm != Some("HS256") {
            let said = algorithm.map_or("no algorithm".to_owned(), |algorithm| format!("the algorithm {algorithm:?}"));
            warnings.push(format!(
                "The header names {said}, but the signature is HS256; Metabase does not look, other verifiers refuse it."
            ));
        }
        if self.jwt.contains('=') {
            warnings.push("The token is padded with `=`; Metabase accepts that, other verifiers refuse it.".to_owned());
        }
    }
}

fn decode(part: &str) -> Option<Vec<u8>> {
    let decoder = if part.ends_with('=') { &PADDED } else { &UNPADDED };
    decoder.decode(part).ok()
}

/// Clojure takes an object apart by its keys, and a list as keys and values in turn, maybe with an object at its end.
fn header_members(document: Document) -> Option<Vec<Member>> {
    match document {
        Document::Object(members) => Some(members),
        Document::Array(mut items) => match (items.len() % 2, items.pop()) {
            (0, _) => Some(Vec::new()),
            (_, Some(Value::Object(members))) => Some(members),
            _ => None,
        },
        Document::Empty | Document::Other => None,
    }
}

fn not_json(error: NotJson) -> Refusal {
    let (why, answer) = match error {
        NotJson::Syntax => ("The header is not JSON", CORRUPT),
        NotJson::TooDeep => (
            "The token's JSON is nested too deep",
            "Document nesting depth (1001) exceeds the maximum allowed (1000, …",
        ),
        NotJson::TooManyDigits => (
            "The token's JSON has a number of too many digits",
            "Number value length (…) exceeds the maximum allowed (1000, …",
        ),
    };
    Refusal { answer: Some(answer.to_owned()), ..malformed(why.to_owned()) }
}

fn malformed(why: String) -> Refusal {
    Refusal { reason: AuthStatusReason::Malformed, why, answer: Some(CORRUPT.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64url_is_read_as_by_the_jvm() {
        for (text, bytes) in [
            ("", Some(&b""[..])),
            ("AA", Some(&[0])),
            ("AB", Some(&[0])), // Surplus bits.
            ("AA==", Some(&[0])),
            ("AAA=", Some(&[0, 0])),
            ("-_8", Some(&[0xfb, 0xff])),
            ("AA=", None),
            ("A", None),
            ("A===", None),
            ("====", None),
            ("AAAA=", None),
            ("AA==AA", None),
            ("+/8", None),
            ("A A", None),
            ("AA\n", None),
        ] {
            assert_eq!(decode(text).as_deref(), bytes, "{text:?}");
        }
    }
}
