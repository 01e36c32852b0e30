//! Text of bounded length without control characters: names, groups, attribute values.

use thiserror::Error;

/// Why a text was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum InvalidText {
    /// Empty, or nothing but white space.
    #[error("must not be empty")]
    Empty,
    /// More characters than allowed.
    #[error("must have at most {max} characters, has {length}")]
    TooLong {
        /// Characters given.
        length: usize,
        /// Characters allowed.
        max: usize,
    },
    /// A control character, for example a line break or NUL, which the database behind Metabase may refuse.
    #[error("must not contain control characters (found U+{0:04X})")]
    ControlCharacter(u32),
}

/// Checks a text that may be empty: at most `max` characters, no control characters.
///
/// # Errors
/// The first rule that the text breaks.
pub fn check(text: &str, max: usize) -> Result<(), InvalidText> {
    // Counting characters of a huge string is cheap, but most texts are short enough by bytes alone.
    if text.len() > max {
        let length = text.chars().count();
        if length > max {
            return Err(InvalidText::TooLong { length, max });
        }
    }
    match text.chars().find(|c| c.is_control()) {
        Some(control) => Err(InvalidText::ControlCharacter(control.into())),
        None => Ok(()),
    }
}

/// Checks a text that must say something: as [`check`], and not blank.
///
/// # Errors
/// The first rule that the text breaks.
pub fn check_not_blank(text: &str, max: usize) -> Result<(), InvalidText> {
    if text.trim().is_empty() {
        return Err(InvalidText::Empty);
    }
    check(text, max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_counts_characters_and_not_bytes() {
        assert_eq!(check("ääää", 4), Ok(()));
        assert_eq!([check("aaaa", 4), check_not_blank("aaaa", 4)], [Ok(()), Ok(())]);
        assert_eq!(check("äääää", 4), Err(InvalidText::TooLong { length: 5, max: 4 }));
    }

    #[test]
    fn blank_and_control_characters_are_refused() {
        assert_eq!(check_not_blank(" \u{a0}", 9), Err(InvalidText::Empty));
        assert_eq!(check("a\0b", 9), Err(InvalidText::ControlCharacter(0)));
        assert_eq!(check("a\nb", 9), Err(InvalidText::ControlCharacter(10)));
    }
}
