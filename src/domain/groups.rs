//! Metabase groups, and the one that must never be given by accident.

use serde::Serialize;
use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::text::{self, InvalidText};

/// Groups that one token may name.
pub const MAX_GROUPS: usize = 100;
/// Characters of a group name: the width of Metabase's column.
pub const MAX_GROUP_CHARS: usize = 254;

/// The name of a Metabase group, as Metabase matches it: exactly, with regard to case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Group(String);

impl Group {
    /// # Errors
    /// Blank, too long, or with control characters.
    pub fn parse(name: String) -> Result<Self, InvalidText> {
        text::check_not_blank(&name, MAX_GROUP_CHARS)?;
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether Metabase could take this for its Administrators group.
    ///
    /// Metabase looks names up in its database, and collations of MySQL and MariaDB ignore case, accents, width, invisible
    /// characters and trailing spaces, and equate letters such as `ø` and `o`. Which ones depends on the version, so every
    /// Latin letter outside ASCII, also one that is a mark above another, and every symbol may stand for any letter, or for none.
    /// Letters of other scripts stand for none, and some of them are invisible: the Arabic U+0640 is, for one.
    #[must_use]
    pub fn may_mean_administrators(&self) -> bool {
        const NAME: &[u8] = b"administrators";
        if self.0.is_ascii() {
            // As below, without what other letters and signs may stand for.
            let spelled = self.0.bytes().filter(u8::is_ascii_alphanumeric).map(|byte| byte.to_ascii_lowercase());
            return spelled.eq(NAME.iter().copied());
        }
        // How much of the name may have been spelled so far, one bit for each length.
        let mut spelled: u16 = 1;
        for c in self.0.nfkd().flat_map(char::to_lowercase) {
            spelled = match c {
                'a'..='z' => {
                    let next = |length: &usize| {
                        spelled & (1 << length) != 0 && NAME.get(*length) == u8::try_from(c).ok().as_ref()
                    };
                    (0..NAME.len()).filter(next).fold(0, |longer, length| longer | (1 << (length + 1)))
                }
                '0'..='9' => 0,
                _ if is_latin(c) => spelled | (spelled << 1),
                _ if c.is_ascii() || c.is_alphabetic() || is_combining_mark(c) => spelled,
                _ => spelled | (spelled << 1),
            };
        }
        spelled & (1 << NAME.len()) != 0
    }
}

/// Outside ASCII. Letters of other scripts are equal to no Latin one in any collation.
const fn is_latin(c: char) -> bool {
    matches!(c,
        '\u{80}'..='\u{2ff}'
        | '\u{363}'..='\u{36f}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{1d00}'..='\u{1dff}'
        | '\u{1e00}'..='\u{1eff}'
        | '\u{2c60}'..='\u{2c7f}'
        | '\u{a720}'..='\u{a7ff}'
        | '\u{ab30}'..='\u{ab6f}'
        | '\u{1f100}'..='\u{1f1ff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn look_alikes_of_administrators_are_found() {
        for name in [
            "Administrators",
            "administrators",
            "ADMINISTRATORS ",
            "Ádministrators",
            "Ａdministrators",
            "Admin\u{ad}istrators",
            "Admin\u{200b}istrators",
            "Administratørs",
            "Ađministrators",
            "Aðministrators",
            "Admınıstrators",
            "🅐dministrators",
            "Admini-strators!",
            "Adm\u{200b}\u{200b}nistrators", // The second stands for the letter.
            "Adm\u{365}nistrators",
            "Administr\u{1dd4}tors",
            "Administrators\u{640}",
            "Administrator\u{fe77}s",
            "\u{7fa}Administrators",
            "Administrators Москва",
        ] {
            assert!(Group::parse(name.to_owned()).unwrap().may_mean_administrators(), "{name:?}");
        }
        for name in [
            "Administrator",
            "Administrators EMEA",
            "Administratoren",
            "Customers",
            "Administrators 2",
            "Adm-nistrators",
            "Adm\u{301}nistrators",
            "Gold customers",
            "Администраторы",
            "Отдел продаж, Москва и область",
            "ग्राहक सेवा विभाग, उत्तर प्रदेश",
            "عملاء الشركة ـــــــــــــــــــــــــــــ",
            "管理者管理者管理者管理者管理者管理者",
        ] {
            assert!(!Group::parse(name.to_owned()).unwrap().may_mean_administrators(), "{name:?}");
        }
    }
}
