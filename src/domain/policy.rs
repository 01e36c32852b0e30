//! Who may issue what. `Policy::decide` is pure, and the only maker of a `Permit`.

use std::{collections::BTreeSet, sync::Arc};

use hashbrown::{HashMap, HashSet};

use super::{
    attributes,
    caller::{Caller, CallerId, CallerName, UserDirectory},
    deny_reason::DenyReason,
    grant::{AttributeDenied, Grant, Rate},
    identity::{Identity, IdentityPattern},
    instance::InstanceName,
    lifetime::Lifetime,
    tenant::{self, Tenancy},
    token_request::TokenRequest,
};

/// Every caller's identities and grants, and who is denied whatever the grants say. Immutable; a caller or instance that
/// is not listed has no grant.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    callers: Vec<Entry>,
    grants: HashSet<Arc<Grant>>,
    instances: HashMap<InstanceName, InstanceIndex>,
    names: HashMap<CallerName, usize>,
    identities: HashMap<Identity, usize>,
    spiffe_prefixes: HashMap<String, usize>,
    denied: Denied,
}

/// One caller. With thousands of callers a decision waits for memory, not for the processor: the grants, which are few, are
/// searched one after the other by a number, and grants that are equal, as many callers' are, are kept once.
#[derive(Clone, Debug)]
struct Entry {
    name: CallerName,
    directory: UserDirectory,
    is_denied: bool,
    grants: Vec<(InstanceIndex, Arc<Grant>)>,
}

/// Stands for the name of an instance for which something is granted.
type InstanceIndex = usize;

/// The kill switch. Metabase reactivates a deactivated person at the next sign-in, so whoever must stay out is refused
/// here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Denied {
    /// Names of callers.
    pub(crate) callers: BTreeSet<CallerName>,
    /// E-mail addresses, in lower case, on every instance.
    pub(crate) emails: BTreeSet<String>,
    /// The backends' own identifiers of people, on every instance.
    pub(crate) user_ids: BTreeSet<String>,
    /// Folded slugs of tenants, on every instance.
    pub(crate) tenants: BTreeSet<String>,
}

/// The result of [`Policy::decide`].
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the usual outcome is the large one; a box would cost it an allocation")]
pub enum Decision {
    /// Sign it.
    Allow(Permit),
    /// Refuse it.
    Deny(Denial),
}

/// Proof that the policy allowed this request. Only this module can make one; signing requires one.
///
/// ```compile_fail,E0451
/// use metabase_token_service::domain::{
///     caller::UserDirectory, lifetime::Lifetime, policy::Permit, token_request::TokenRequest,
/// };
/// fn forge(request: TokenRequest, lifetime: Lifetime, directory: UserDirectory) -> Permit {
///     Permit { request, lifetime, directory }
/// }
/// ```
///
/// The same names in a function that only reads a permit do compile:
///
/// ```
/// use metabase_token_service::domain::{
///     caller::UserDirectory, lifetime::Lifetime, policy::Permit, token_request::TokenRequest,
/// };
/// fn read(permit: &Permit) -> (&TokenRequest, Lifetime, &UserDirectory) {
///     (permit.request(), permit.lifetime(), permit.directory())
/// }
/// ```
#[derive(Debug)]
pub struct Permit {
    request: TokenRequest,
    lifetime: Lifetime,
    directory: UserDirectory,
}

impl Permit {
    /// The request, as allowed.
    #[must_use]
    pub const fn request(&self) -> &TokenRequest {
        &self.request
    }

    /// The lifetime to grant.
    #[must_use]
    pub const fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// What the caller's identifiers of people belong to.
    #[must_use]
    pub const fn directory(&self) -> &UserDirectory {
        &self.directory
    }
}

/// Why a request was denied, and by which of its fields. Names nothing that the caller did not send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The reason.
    pub reason: DenyReason,
    /// Path of the field, with the names of the proto; empty when it is not the request but the caller.
    pub field: String,
}

impl Policy {
    /// A policy that knows nobody and denies `denied` whatever is added.
    #[must_use]
    pub fn new(denied: Denied) -> Self {
        Self { denied, ..Self::default() }
    }

    /// Recognises a caller by an identity, too; each identity is one caller's.
    pub fn recognise(&mut self, caller: CallerName, pattern: IdentityPattern) {
        let caller = self.index(caller);
        match pattern {
            IdentityPattern::Exact(identity) => self.identities.insert(identity, caller),
            IdentityPattern::SpiffePrefix(prefix) => self.spiffe_prefixes.insert(prefix, caller),
        };
    }

    /// Says which directory a caller's identifiers of people belong to; without it one of the caller's own name.
    pub fn set_directory(&mut self, caller: CallerName, directory: UserDirectory) {
        let caller = self.index(caller);
        self.callers[caller].directory = directory;
    }

    /// Adds what a caller may do on an instance; one grant each.
    ///
    /// # Errors
    /// The caller already has a grant on the instance.
    pub fn add(&mut self, caller: CallerName, instance: InstanceName, grant: Grant) -> Result<(), SecondGrant> {
        let caller = self.index(caller);
        let next = self.instances.len();
        let instance = *self.instances.entry(instance).or_insert(next);
        let grants = &mut self.callers[caller].grants;
        if grants.iter().any(|(earlier, _)| *earlier == instance) {
            return Err(SecondGrant);
        }
        let equal = self.grants.get(&grant).map(Arc::clone);
        let grant = equal.unwrap_or_else(|| {
            let grant = Arc::new(grant);
            self.grants.insert(Arc::clone(&grant));
            grant
        });
        grants.push((instance, grant));
        Ok(())
    }

    fn index(&mut self, name: CallerName) -> usize {
        if let Some(index) = self.names.get(&name) {
            return *index;
        }
        let is_denied = self.denied.callers.contains(&name);
        self.names.insert(name.clone(), self.callers.len());
        let directory = UserDirectory::from(&name);
        self.callers.push(Entry { name, directory, is_denied, grants: Vec::new() });
        self.callers.len() - 1
    }

    /// Whether `caller` may do anything at all on an instance: asked before the request is looked at, so that nobody learns
    /// the rules of an instance that is none of their business. The name is the caller's in the configuration.
    ///
    /// # Errors
    /// Why not.
    pub fn decide_access(&self, caller: &Caller, instance: &InstanceName) -> Result<&CallerName, Denial> {
        self.granted(caller, instance).map(|(entry, _)| &entry.name)
    }

    /// Every rate that is granted, with the caller and the instance it is for.
    pub fn rates(&self) -> impl Iterator<Item = (&CallerName, &InstanceName, Rate)> {
        self.instances.iter().flat_map(move |(instance, index)| {
            let granted = move |entry: &Entry| {
                entry.grants.iter().find(|(one, _)| one == index).and_then(|(_, grant)| grant.rate)
            };
            self.callers.iter().filter_map(move |entry| Some((&entry.name, instance, granted(entry)?)))
        })
    }

    /// Whether `caller` may have the token. The first rule that is broken decides.
    #[must_use]
    pub fn decide(&self, caller: &Caller, request: TokenRequest) -> Decision {
        let (entry, grant) = match self.granted(caller, &request.instance.name) {
            Ok(granted) => granted,
            Err(denial) => return Decision::Deny(denial),
        };
        if let Err(denial) = self.denied.check(&request).and_then(|()| check(grant, &request)) {
            return Decision::Deny(denial);
        }
        // Only a lifetime that was asked for is refused; the default yields to the grant.
        let most = grant.max_lifetime.unwrap_or(request.instance.lifetimes.max);
        let lifetime = request.lifetime.unwrap_or(request.instance.lifetimes.default.min(most));
        Decision::Allow(Permit { request, lifetime, directory: entry.directory.clone() })
    }

    /// Whether `caller` may ask for the status of credentials on an instance.
    ///
    /// # Errors
    /// Why not.
    pub fn decide_status_check(&self, caller: &Caller, instance: &InstanceName) -> Result<(), Denial> {
        let (_, grant) = self.granted(caller, instance)?;
        if grant.may_check_status { Ok(()) } else { Err(deny(DenyReason::StatusCheckNotGranted, "instance")) }
    }

    /// The name of a caller in the configuration.
    #[must_use]
    pub fn name<'a>(&'a self, caller: &'a Caller) -> Option<&'a CallerName> {
        match &caller.id {
            CallerId::Named(name) => Some(name),
            CallerId::Proven(_) => self.entry(caller).map(|entry| &entry.name),
        }
    }

    /// The entry that lists the caller's identity, or else the nearest path above it.
    fn entry(&self, caller: &Caller) -> Option<&Entry> {
        let index = match &caller.id {
            CallerId::Named(name) => self.names.get(name),
            CallerId::Proven(identity) => self.identities.get(identity).or_else(|| match identity {
                Identity::Spiffe(id) => id.parents().find_map(|parent| self.spiffe_prefixes.get(parent)),
                Identity::Dns(_) | Identity::ServiceAccount(_) => None,
            }),
        };
        index.map(|index| &self.callers[*index])
    }

    fn granted(&self, caller: &Caller, instance: &InstanceName) -> Result<(&Entry, &Grant), Denial> {
        let entry = self.entry(caller).ok_or_else(|| match &caller.id {
            CallerId::Named(_) => deny(DenyReason::NoGrant, "instance"),
            CallerId::Proven(_) => deny(DenyReason::UnknownCaller, ""),
        })?;
        if entry.is_denied {
            return Err(deny(DenyReason::CallerDenied, ""));
        }
        let grant = self.instances.get(instance).and_then(|index| entry.grants.iter().find(|(one, _)| one == index));
        grant.map(|(_, grant)| (entry, &**grant)).ok_or_else(|| deny(DenyReason::NoGrant, "instance"))
    }
}

impl Denied {
    fn check(&self, request: &TokenRequest) -> Result<(), Denial> {
        if self.emails.contains(request.subject.email.as_str()) {
            return Err(deny(DenyReason::UserDenied, "user.email"));
        }
        if request.subject.id.as_ref().is_some_and(|id| self.user_ids.contains(id)) {
            return Err(deny(DenyReason::UserDenied, "user.id"));
        }
        if !self.tenants.is_empty()
            && let Some(tenant) = &request.tenant
            && self.tenants.contains(&tenant::folded(&tenant.slug))
        {
            return Err(deny(DenyReason::TenantDenied, "tenant.slug"));
        }
        Ok(())
    }
}

/// A caller had a grant on the instance already.
#[derive(Debug, PartialEq, Eq)]
pub struct SecondGrant;

fn deny(reason: DenyReason, field: impl Into<String>) -> Denial {
    Denial { reason, field: field.into() }
}

fn check(grant: &Grant, request: &TokenRequest) -> Result<(), Denial> {
    if !grant.email_domains.contains(request.subject.email.domain()) {
        return Err(deny(DenyReason::EmailDomainNotGranted, "user.email"));
    }
    for (index, group) in request.groups.iter().flatten().enumerate() {
        let field = || format!("groups.names[{index}]");
        if !grant.groups.iter().any(|pattern| pattern.matches(group.as_str())) {
            return Err(deny(DenyReason::GroupNotGranted, field()));
        }
        if !grant.allow_administrators && group.may_mean_administrators() {
            return Err(deny(DenyReason::AdministratorsNotGranted, field()));
        }
    }
    grant.attributes.check(&request.attributes).map_err(|denied| deny_attribute(&denied, "attributes"))?;
    // An empty value lifts row-level security as much as none.
    let is_blank = |key: &&String| request.attributes.get(*key).is_none_or(|value| value.trim().is_empty());
    if let Some(key) = grant.required_attributes.iter().find(is_blank) {
        return Err(deny(DenyReason::RequiredAttributeMissing, attributes::field("attributes", key)));
    }
    if let Some(tenant) = &request.tenant {
        if !grant.tenants.iter().any(|pattern| pattern.matches(&tenant.slug)) {
            return Err(deny(DenyReason::TenantNotGranted, "tenant.slug"));
        }
        let rules = &grant.tenant_attributes;
        rules.check(&tenant.attributes).map_err(|denied| deny_attribute(&denied, "tenant.attributes"))?;
    }
    if request.tenant.is_none() && request.instance.tenancy == Tenancy::Optional && !grant.allows_no_tenant() {
        return Err(deny(DenyReason::TenantNotGranted, "tenant"));
    }
    match (request.lifetime, grant.max_lifetime) {
        (Some(asked), Some(max)) if asked > max => Err(deny(DenyReason::LifetimeTooLong, "lifetime")),
        _ => Ok(()),
    }
}

fn deny_attribute(denied: &AttributeDenied<'_>, field: &str) -> Denial {
    match denied {
        AttributeDenied::Key(key) => deny(DenyReason::AttributeNotGranted, attributes::field(field, key)),
        AttributeDenied::Value(key) => deny(DenyReason::AttributeValueNotGranted, attributes::field(field, key)),
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
