//! Where Metabase sends a person after signing in, limited to the instance itself.

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, utf8_percent_encode};
use thiserror::Error;
use url::Url;

use super::{instance::InstanceUrl, token::SignedToken};

/// Characters of a `return_to` as given.
pub const MAX_CHARS: usize = 2048;

/// Bytes of a `return_to` in `sso_url`, with everything escaped twice. Metabase's web server reads 8 KiB of request line and
/// headers, most of which is left to the token.
pub const MAX_ESCAPED_BYTES: usize = 4096;

/// Metabase parses `return_to` with `java.net.URI`, which refuses these where browsers let them pass.
const NOT_IN_JAVA_URI: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');
/// Everything but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A path, or an absolute URL of the instance, in a form that both browsers and Metabase read the same way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnTo(String);

impl ReturnTo {
    /// Reads `given` as a browser would, so that what is checked is what will be followed.
    ///
    /// # Errors
    /// Not a path or URL, or one that leaves the instance (open redirect).
    pub fn parse(given: &str, instance: &InstanceUrl) -> Result<Self, InvalidReturnTo> {
        if given.chars().nth(MAX_CHARS).is_some() {
            return Err(InvalidReturnTo::TooLong);
        }
        // The attack: browsers delete tabs and line breaks, and read backslashes as slashes; `/\evil.example` and
        // `/<tab>/evil.example` are other hosts to them and paths to everyone else.
        if given.contains(|c: char| c.is_control() || c == '\\') {
            return Err(InvalidReturnTo::ForbiddenCharacter);
        }
        if given.is_empty() {
            return Ok(Self("/".to_owned()));
        }
        let is_path = given.starts_with('/');
        if given.starts_with("//") || !is_path && !has_http_scheme(given) {
            return Err(InvalidReturnTo::NeitherPathNorUrl);
        }
        let base = instance.as_url();
        let url = base.join(given).map_err(|_| InvalidReturnTo::NeitherPathNorUrl)?;
        let has_credentials = !url.username().is_empty() || url.password().is_some();
        if url.origin() != base.origin() || has_credentials {
            return Err(InvalidReturnTo::ForeignHost);
        }
        let (origin, text) = url.as_str().split_at(url[..url::Position::BeforePath].len());
        // A path can become `//host` by removing dot segments: `/.//evil.example`.
        if is_path && text.starts_with("//") {
            return Err(InvalidReturnTo::ForeignHost);
        }
        let escaped = format!("{}{}", if is_path { "" } else { origin }, as_java_uri(text));
        // Escaped again, it has to fit into a URL beside the token.
        if utf8_percent_encode(&escaped, RESERVED).map(str::len).sum::<usize>() > MAX_ESCAPED_BYTES {
            return Err(InvalidReturnTo::TooLong);
        }
        Ok(Self(escaped))
    }

    /// The path or URL.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `<instance url>/auth/sso?jwt=…&return_to=…`. Contains the token.
    #[must_use]
    pub fn sso_url(&self, instance: &InstanceUrl, token: &SignedToken) -> String {
        let return_to = utf8_percent_encode(&self.0, RESERVED);
        format!("{}?jwt={}&return_to={return_to}", instance.sso_endpoint(), token.expose())
    }
}

fn has_http_scheme(given: &str) -> bool {
    Url::parse(given).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) && given.contains("://")
}

/// Escapes what `java.net.URI` refuses behind the host: some characters, and percent signs that do not begin an escape.
fn as_java_uri(text: &str) -> String {
    let fragment_at = text.find('#').map_or(text.len(), |at| at + 1);
    let path_end = text.find(['?', '#']).unwrap_or(text.len());
    let (before, fragment) = text.split_at(fragment_at);
    // Brackets belong to queries (and to hosts, which are not in the text), and only the first # begins a fragment.
    let path = before[..path_end].replace('[', "%5B").replace(']', "%5D");
    let text = format!("{path}{}{}", &before[path_end..], fragment.replace('#', "%23"));
    let mut out = String::with_capacity(text.len());
    for (index, part) in text.split('%').enumerate() {
        if index > 0 {
            let is_escape = part.len() >= 2 && part.bytes().take(2).all(|b| b.is_ascii_hexdigit());
            out.push_str(if is_escape { "%" } else { "%25" });
        }
        out.extend(utf8_percent_encode(part, NOT_IN_JAVA_URI));
    }
    out
}

/// Why a `return_to` was refused. Does not repeat it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidReturnTo {
    /// See [`MAX_CHARS`].
    #[error("must have at most {MAX_CHARS} characters, and {MAX_ESCAPED_BYTES} bytes when it is escaped")]
    TooLong,
    /// Read differently by browsers and servers.
    #[error("must not contain backslashes or control characters")]
    ForbiddenCharacter,
    /// Relative to the current page, protocol-relative, or another scheme.
    #[error(
        "must be a path that begins with a single slash, such as \"/dashboard/1?tab=2\", or an absolute http or https \
             URL of the instance"
    )]
    NeitherPathNorUrl,
    /// Open redirect.
    #[error("must stay on the instance: scheme, host and port of an absolute URL must be those of the instance's url")]
    ForeignHost,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(given: &str) -> Result<String, InvalidReturnTo> {
        let instance = "https://bi.example.com/metabase/".parse().unwrap();
        ReturnTo::parse(given, &instance).map(|return_to| return_to.0)
    }

    #[test]
    fn paths_and_own_urls_are_kept_in_a_form_that_metabase_reads() {
        for (given, kept) in [
            ("", "/"),
            ("/", "/"),
            ("/dashboard/1?tab=2&x=a%20b#logo=false", "/dashboard/1?tab=2&x=a%20b#logo=false"),
            ("/dashboard/1?city=New York", "/dashboard/1?city=New%20York"),
            ("/dashboard/1?city=Zürich", "/dashboard/1?city=Z%C3%BCrich"),
            ("/q?a={b}|^`", "/q?a=%7Bb%7D%7C%5E%60"),
            ("/q?share=100%", "/q?share=100%25"),
            ("/q[1]?a[]=1#b[#]#", "/q%5B1%5D?a[]=1#b[%23]%23"),
            ("/q?to=https://evil.example/", "/q?to=https://evil.example/"),
            ("https://bi.example.com/dashboard/1", "https://bi.example.com/dashboard/1"),
            ("https://BI.example.com:443/x", "https://bi.example.com/x"),
        ] {
            assert_eq!(parse(given).as_deref(), Ok(kept), "{given:?}");
        }
    }

    #[test]
    fn the_brackets_of_an_ipv6_host_are_kept() {
        let instance = "https://[2001:db8::1]:8443".parse().unwrap();
        let kept = ReturnTo::parse("https://[2001:DB8:0::1]:8443/a[1]", &instance).unwrap();
        assert_eq!(kept.as_str(), "https://[2001:db8::1]:8443/a%5B1%5D");
        assert_eq!(ReturnTo::parse(kept.as_str(), &instance), Ok(kept));
    }

    #[test]
    fn what_leaves_the_instance_is_refused() {
        use InvalidReturnTo::{ForbiddenCharacter, ForeignHost, NeitherPathNorUrl, TooLong};
        for (given, error) in [
            ("https://evil.example", ForeignHost),
            ("https://bi.example.com.evil.example/", ForeignHost),
            ("https://bi.example.com@evil.example/", ForeignHost),
            ("https://user@bi.example.com/", ForeignHost),
            ("http://bi.example.com/", ForeignHost),
            ("https://bi.example.com:8443/", ForeignHost),
            ("/.//evil.example", ForeignHost),
            ("/x/..//evil.example", ForeignHost),
            ("//evil.example", NeitherPathNorUrl),
            ("///evil.example", NeitherPathNorUrl),
            ("https:evil.example", NeitherPathNorUrl),
            ("https:/evil.example", NeitherPathNorUrl),
            ("javascript:alert(1)", NeitherPathNorUrl),
            ("data:text/html,x", NeitherPathNorUrl),
            ("dashboard/1", NeitherPathNorUrl),
            ("?x=1", NeitherPathNorUrl),
            (" //evil.example", NeitherPathNorUrl),
            ("/\\evil.example", ForbiddenCharacter),
            ("/\t/evil.example", ForbiddenCharacter),
            ("https:\\\\evil.example", ForbiddenCharacter),
        ] {
            assert_eq!(parse(given), Err(error), "{given:?}");
        }
        assert_eq!(parse(&format!("/{}", "a".repeat(MAX_CHARS))), Err(TooLong));
        assert_eq!(parse(&format!("/{}", "😀".repeat(300))), Err(TooLong));
    }

    #[test]
    fn escaped_twice_it_has_at_most_4096_bytes() {
        // The slash takes 3 bytes, each emoji 20 (four times `%25` and two digits), each letter one.
        let of_bytes = |bytes| parse(&format!("/{}{}", "😀".repeat(200), "a".repeat(bytes - 4003)));
        let [fits, too_long] = [MAX_ESCAPED_BYTES, MAX_ESCAPED_BYTES + 1].map(of_bytes);
        assert!(fits.is_ok(), "{fits:?}");
        assert_eq!(too_long, Err(InvalidReturnTo::TooLong));
    }

    #[test]
    fn the_sso_url_leads_to_the_instance_with_the_token_and_the_way_on() {
        let instance = "https://bi.example.com/metabase/".parse().unwrap();
        let return_to = ReturnTo::parse("/dashboard/1?tab=2", &instance).unwrap();
        let url = return_to.sso_url(&instance, &SignedToken::new("a.b.c".to_owned()));
        let expected = "https://bi.example.com/metabase/auth/sso?jwt=a.b.c&return_to=%2Fdashboard%2F1%3Ftab%3D2";
        assert_eq!(url, expected);
    }
}
