//! Which of two secrets signs, while Metabase, which holds one at a time, is changed from the one to the other.

/// What one look at Metabase told about one secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Evidence {
    /// Metabase holds it.
    Proven,
    /// Metabase holds another.
    Disproved,
    /// Metabase did not tell.
    Unknown,
}

/// One of an instance's secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// `shared_secret`
    Current,
    /// `next_shared_secret`
    Next,
}

impl Which {
    /// The spelling in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Current => "shared_secret",
            Self::Next => "next_shared_secret",
        }
    }
}

/// The secret that signs after a look at Metabase.
///
/// Only a proof changes it: not an unreachable Metabase, and not one that holds neither. So a secret that was just disproved
/// never signs while the other is proven, and flapping does no harm, in either direction.
#[must_use]
pub const fn signs(before: Which, current: Evidence, next: Evidence) -> Which {
    match (current, next) {
        (Evidence::Proven, Evidence::Disproved | Evidence::Unknown) => Which::Current,
        (Evidence::Disproved | Evidence::Unknown, Evidence::Proven) => Which::Next,
        // Both cannot be; Metabase was changed between the two questions, and the next look tells.
        (Evidence::Proven, Evidence::Proven)
        | (Evidence::Disproved | Evidence::Unknown, Evidence::Disproved | Evidence::Unknown) => before,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Evidence; 3] = [Evidence::Proven, Evidence::Disproved, Evidence::Unknown];

    #[test]
    fn only_a_proof_changes_the_secret_that_signs() {
        for before in [Which::Current, Which::Next] {
            for current in ALL {
                for next in ALL {
                    let after = signs(before, current, next);
                    let (own, other) = match after {
                        Which::Current => (current, next),
                        Which::Next => (next, current),
                    };
                    assert!(own != Evidence::Disproved || other != Evidence::Proven, "{before:?} {current:?} {next:?}");
                    assert!(after == before || own == Evidence::Proven, "{before:?} {current:?} {next:?}");
                }
            }
        }
    }

    #[test]
    fn a_secret_is_called_by_its_key_in_the_configuration() {
        assert_eq!([Which::Current, Which::Next].map(Which::as_str), ["shared_secret", "next_shared_secret"]);
    }

    #[test]
    fn a_rotation_goes_forth_and_back() {
        use Evidence::{Disproved, Proven, Unknown};
        let mut signing = Which::Current;
        for (current, next, expected) in [
            (Proven, Disproved, Which::Current),
            (Unknown, Unknown, Which::Current),
            (Disproved, Proven, Which::Next),
            (Disproved, Disproved, Which::Next),
            (Unknown, Unknown, Which::Next),
            (Proven, Disproved, Which::Current),
        ] {
            signing = signs(signing, current, next);
            assert_eq!(signing, expected);
        }
    }
}
