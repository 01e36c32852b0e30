//! What a backend asks for.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{Error, Token};
use crate::proto::{
    CheckAuthStatusRequest, GroupList, IssueMetabaseTokenRequest, User, check_auth_status_request::Credential,
};

/// A person, as the calling backend knows them. Take it from the session, never from the browser's request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The backend's own stable identifier, for example a primary key. At most 256 characters; required unless the
    /// instance's `one_account_per_user` is off.
    pub id: String,
    /// The identity of the account in Metabase. At most 254 characters.
    pub email: String,
    /// At most 254 characters.
    pub first_name: String,
    /// At most 254 characters.
    pub last_name: String,
}

/// A Metabase tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tenant {
    /// Metabase creates an unknown one. 1 to 254 characters.
    pub slug: String,
    /// Under the same rules as a person's attributes. Metabase adds new ones and never overwrites.
    pub attributes: BTreeMap<String, String>,
}

/// What to say about a person in a token. What is left out takes its default from the configuration of the service.
#[derive(Clone, Debug)]
#[must_use]
pub struct TokenRequest {
    instance: String,
    person: Person,
    groups: Option<Vec<String>>,
    attributes: BTreeMap<String, String>,
    tenant: Option<Tenant>,
    lifetime: Option<Duration>,
    return_to: Option<String>,
}

impl TokenRequest {
    /// For this person. Memberships in groups are left as they are.
    pub const fn new(person: Person) -> Self {
        Self {
            instance: String::new(),
            person,
            groups: None,
            attributes: BTreeMap::new(),
            tenant: None,
            lifetime: None,
            return_to: None,
        }
    }

    /// For the instance of this name; otherwise, and if it is empty, for the default one.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.instance = name.into();
        self
    }

    /// Exactly these groups of those that Metabase manages by token; none: the person is removed from all of them. At most 100
    /// names of 1 to 254 characters.
    pub fn groups<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.groups = Some(names.into_iter().map(Into::into).collect());
        self
    }

    /// A user attribute, which row-level security goes by. A later one of the same key replaces the earlier.
    pub fn attribute(self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes([(key, value)])
    }

    /// User attributes: at most 100, with keys of 1 to 128 and values of at most 1024 characters.
    pub fn attributes<K: Into<String>, V: Into<String>>(mut self, pairs: impl IntoIterator<Item = (K, V)>) -> Self {
        self.attributes.extend(pairs.into_iter().map(|(key, value)| (key.into(), value.into())));
        self
    }

    /// The person's tenant.
    pub fn tenant(mut self, tenant: Tenant) -> Self {
        self.tenant = Some(tenant);
        self
    }

    /// How long the token lives: whole seconds, at least 60 s, and at most what instance and grant allow.
    pub const fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Also return [`IssuedToken::sso_url`](super::IssuedToken::sso_url), which leads here: a path, or a URL of the instance; empty
    /// means `/`. At most 2048 characters.
    pub fn return_to(mut self, place: impl Into<String>) -> Self {
        self.return_to = Some(place.into());
        self
    }

    pub(super) fn into_message(self) -> Result<IssueMetabaseTokenRequest, Error> {
        let Person { id, email, first_name, last_name } = self.person;
        let lifetime = self.lifetime.map(prost_types::Duration::try_from).transpose();
        Ok(IssueMetabaseTokenRequest {
            instance: self.instance,
            user: Some(User { id, email, first_name, last_name }),
            groups: self.groups.map(|names| GroupList { names }),
            attributes: self.attributes,
            tenant: self.tenant.map(|Tenant { slug, attributes }| crate::proto::Tenant { slug, attributes }),
            lifetime: lifetime.map_err(|_| Error::invalid("lifetime", "is out of range"))?,
            return_to: self.return_to,
        })
    }
}

/// A credential to judge, and how.
#[derive(Clone)]
#[must_use]
pub struct CheckRequest {
    instance: String,
    credential: Option<Credential>,
    is_live: bool,
}

impl CheckRequest {
    /// A token, from this service or from anywhere else.
    pub fn jwt(jwt: impl Into<String>) -> Self {
        Self::new(Some(Credential::Jwt(jwt.into())))
    }

    /// A token that the service has just issued.
    pub fn token(token: &Token) -> Self {
        Self::jwt(token.expose())
    }

    /// A session of Metabase. Asks Metabase itself, without an effect.
    pub fn session(id: impl Into<String>) -> Self {
        Self::new(Some(Credential::SessionId(id.into())))
    }

    /// An API key of Metabase. Asks Metabase itself, without an effect; for instances of the `development` environment alone.
    pub fn api_key(key: impl Into<String>) -> Self {
        Self::new(Some(Credential::ApiKey(key.into())))
    }

    /// No credential: the status is [`AuthStatus::Uninitialized`](super::AuthStatus::Uninitialized).
    pub const fn nothing() -> Self {
        Self::new(None)
    }

    const fn new(credential: Option<Credential>) -> Self {
        Self { instance: String::new(), credential, is_live: false }
    }

    /// At the instance of this name; otherwise, and if it is empty, at the default one.
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.instance = name.into();
        self
    }

    /// Whether Metabase itself is asked about a token. It signs the person in, ends the session at once, and is not tried again.
    pub const fn live(mut self, is_live: bool) -> Self {
        self.is_live = is_live;
        self
    }

    /// UNAVAILABLE may come from a proxy after the service has asked Metabase.
    pub(super) const fn is_repeatable(&self) -> bool {
        !(self.is_live && matches!(self.credential, Some(Credential::Jwt(_))))
    }

    pub(super) fn into_message(self) -> CheckAuthStatusRequest {
        CheckAuthStatusRequest { instance: self.instance, credential: self.credential, live: self.is_live }
    }
}

impl fmt::Debug for CheckRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut request = f.debug_struct("CheckRequest");
        request.field("instance", &self.instance).field("is_live", &self.is_live).finish_non_exhaustive()
    }
}
