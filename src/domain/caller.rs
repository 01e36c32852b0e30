//! The backend on the other end of the connection, once it has proven who it is.

use std::{fmt, str::FromStr, sync::Arc};

use super::{
    identity::Identity,
    instance::{InvalidName, check_name},
};

/// An authenticated backend and the proof it gave. Which `[[callers]]` entry it is, the policy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// What was proven.
    pub(crate) id: CallerId,
    /// How.
    pub(crate) proof: Proof,
}

impl Caller {
    /// A caller of whom `id` is proven by `proof`. Whoever makes one vouches for that.
    #[must_use]
    pub const fn new(id: CallerId, proof: Proof) -> Self {
        Self { id, proof }
    }
}

/// What was proven about a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerId {
    /// The configuration names whoever comes this way.
    Named(CallerName),
    /// An identity that the `[[callers]]` may list.
    Proven(Identity),
}

impl fmt::Display for CallerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => name.fmt(f),
            Self::Proven(identity) => identity.fmt(f),
        }
    }
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

/// Name of the database that a caller's identifiers of people come from, under the rule of instance names. The same identifier of
/// the same directory is the same person, whichever caller gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserDirectory(Arc<str>);

impl UserDirectory {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&CallerName> for UserDirectory {
    /// The one of a caller for which none is configured.
    fn from(name: &CallerName) -> Self {
        Self(Arc::clone(&name.0))
    }
}

impl FromStr for UserDirectory {
    type Err = InvalidName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        check_name(name)?;
        Ok(Self(name.into()))
    }
}

/// How a caller proved who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// It holds a token that a trusted issuer has made for it.
    Jwt,
    /// Linkerd's proxy on this machine says so in `l5d-client-id`.
    Linkerd,
    /// It reached a listener that only this machine can reach, and the configuration says whose that is.
    Local,
    /// It holds the key of a client certificate.
    Mtls,
    /// A mesh sidecar on this machine says so in `x-forwarded-client-cert`.
    Xfcc,
}

impl Proof {
    /// The spelling in the configuration, in errors and in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Jwt => "jwt",
            Self::Linkerd => "linkerd",
            Self::Local => "local",
            Self::Mtls => "mtls",
            Self::Xfcc => "xfcc",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_is_shown_by_its_name_or_by_what_it_has_proven() {
        let name: CallerName = "storefront".parse().unwrap();
        assert_eq!(name.to_string(), "storefront");
        assert_eq!(CallerId::Named(name.clone()).to_string(), "storefront");
        let identity = "spiffe://example.org/ns/shop/web";
        assert_eq!(CallerId::Proven(identity.parse().unwrap()).to_string(), identity);
    }

    #[test]
    fn a_caller_without_a_directory_has_one_of_its_own_name() {
        let name: CallerName = "storefront".parse().unwrap();
        assert_eq!(UserDirectory::from(&name).as_str(), "storefront");
        assert_eq!("people".parse::<UserDirectory>().unwrap().as_str(), "people");
        assert_eq!("no such name".parse::<UserDirectory>(), Err(InvalidName));
        assert_eq!("no such name".parse::<CallerName>(), Err(InvalidName));
    }

    #[test]
    fn a_proof_is_spelled_as_in_the_configuration() {
        let proofs = [Proof::Jwt, Proof::Linkerd, Proof::Local, Proof::Mtls, Proof::Xfcc].map(Proof::as_str);
        assert_eq!(proofs, ["jwt", "linkerd", "local", "mtls", "xfcc"]);
    }
}
