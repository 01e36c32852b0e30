//! The backend on the other end of the connection, once it has proven who it is.

use std::{fmt, str::FromStr, sync::Arc};

use super::instance::{InvalidName, check_name};

/// An authenticated backend and the proof it gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The `[[callers]]` entry it was recognised as.
    pub(crate) name: CallerName,
    /// How.
    pub(crate) proof: Proof,
}

/// Name of a `[[callers]]` entry, under the rule of instance names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallerName(Arc<str>);

impl CallerName {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CallerName {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        check_name(name)?;
        Ok(Self(name.into()))
    }
}

impl fmt::Display for CallerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It reached a listener that only this machine can reach, and the configuration says whose that is.
    Local,
}

impl Proof {
    /// The spelling in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
        }
    }
}
