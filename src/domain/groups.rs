//! Metabase groups, and the one that must never be given by accident.

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use super::text::{self, InvalidText};

/// Groups that one token may name.
pub const MAX_GROUPS: usize = 100;
/// Characters of a group name: the width of Metabase's column.
pub const MAX_GROUP_CHARS: usize = 254;

/// The name of a Metabase group, as Metabase matches it: exactly, with regard to case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
    /// Metabase looks names up in its database, and MySQL's collations ignore case, accents, width, invisible characters
    /// and trailing spaces. So everything is compared that is left of the name without them.
    #[must_use]
    pub fn may_mean_administrators(&self) -> bool {
        let skeleton = self.0.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase);
        skeleton.filter(char::is_ascii_alphanumeric).eq("administrators".chars())
    }
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
        ] {
            assert!(Group::parse(name.to_owned()).unwrap().may_mean_administrators(), "{name:?}");
        }
        for name in ["Administrator", "Administrators EMEA", "Administratoren", "Customers"] {
            assert!(!Group::parse(name.to_owned()).unwrap().may_mean_administrators(), "{name:?}");
        }
    }
}
