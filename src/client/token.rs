//! Texts that sign somebody in, in types that no log line can hold.

use std::fmt;

use zeroize::{Zeroize, ZeroizeOnDrop};

/// A token, in compact form: a bearer credential. Wiped on drop; never printed, cloned or compared.
///
/// ```compile_fail
/// # fn log(token: metabase_token_service::client::Token) {
/// println!("{token}");
/// # }
/// ```
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Token(String);

impl Token {
    pub(super) const fn new(jwt: String) -> Self {
        Self(jwt)
    }

    /// The token, to answer the SDK with. Never keep it, never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token([redacted])")
    }
}

/// The URL that signs a person in to Metabase and sends them on. Holds the token; treated like one.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct SsoUrl(String);

impl SsoUrl {
    pub(super) const fn new(url: String) -> Self {
        Self(url)
    }

    /// The URL, to redirect to. Never keep it, never log it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for SsoUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SsoUrl([redacted])")
    }
}
