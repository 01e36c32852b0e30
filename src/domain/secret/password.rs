//! The password of a store that the service uses. Unlike a key it need not be long: whoever holds it can do little with it.

use std::fmt;

use thiserror::Error;
use zeroize::Zeroizing;

/// A password. Wiped on drop; never printed, cloned or compared.
pub struct Password(Zeroizing<String>);

impl Password {
    /// Bytes a password may have. Longer is a wrong file.
    pub const MAX_LEN: usize = 4096;

    /// Takes ownership of the bytes, so that a refused password is wiped too.
    ///
    /// # Errors
    /// What is wrong with it, never the password.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, UnusablePassword> {
        let bytes = Zeroizing::new(bytes);
        let text = str::from_utf8(&bytes).map_err(|_| UnusablePassword::NotUtf8)?;
        if text.is_empty() {
            return Err(UnusablePassword::Empty);
        }
        if text.len() > Self::MAX_LEN {
            return Err(UnusablePassword::TooLong { len: text.len() });
        }
        if text.contains(char::is_control) || text.trim() != text {
            return Err(UnusablePassword::WhiteSpace);
        }
        Ok(Self(Zeroizing::new(text.to_owned())))
    }

    /// The only way out. Called by the adapter that signs in to the store, and nowhere else.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([redacted])")
    }
}

/// Why a password was refused. Says nothing of it but its length.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum UnusablePassword {
    /// Nothing there.
    #[error("the password is empty")]
    Empty,
    /// Binary.
    #[error("the password is not UTF-8 text")]
    NotUtf8,
    /// More than any password needs.
    #[error("the password has {len} bytes, more than the {max} allowed; is it the right file?", max = Password::MAX_LEN)]
    TooLong {
        /// Bytes given.
        len: usize,
    },
    /// The classic of `echo password > file`.
    #[error(
        "the password has a control character, or white space around it, which would be part of it; write it with `printf %s`"
    )]
    WhiteSpace,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_meant_is_refused_and_nothing_is_printed() {
        for (bytes, error) in [
            (&b""[..], UnusablePassword::Empty),
            (&b"\xff\xfe"[..], UnusablePassword::NotUtf8),
            (&b"hunter2\n"[..], UnusablePassword::WhiteSpace),
            (&b" hunter2"[..], UnusablePassword::WhiteSpace),
            (&[b'a'; 4097][..], UnusablePassword::TooLong { len: 4097 }),
        ] {
            assert_eq!(Password::parse(bytes.to_vec()).unwrap_err(), error);
        }
        assert_eq!(Password::parse(vec![b'a'; 4096]).unwrap().expose().len(), 4096);
        let password = Password::parse((*b"hunter2").into()).unwrap();
        assert_eq!((password.expose(), format!("{password:?}").as_str()), ("hunter2", "Password([redacted])"));
    }
}
