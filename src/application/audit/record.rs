//! How events stand in the log, as docs/operations.md describes it.

use std::{
    fmt,
    time::{Duration, UNIX_EPOCH},
};

use serde::{Serialize, Serializer};

use super::event::{By, Event, Grant, Person};
use crate::domain::{attributes::Attributes, time::UnixTime};

/// Room for the record of a token with a few groups and attributes.
const USUAL_BYTES: usize = 512;

/// What is to stand in the log, but for what the writer adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// When it happened.
    pub time: UnixTime,
    /// A JSON object that is not empty.
    pub event: Vec<u8>,
}

impl Record {
    /// That an event happened at this time.
    pub(super) fn new(event: &Event<'_>, time: UnixTime) -> Self {
        let mut object = Object(Vec::with_capacity(USUAL_BYTES));
        object.put_event(event);
        Self { time, event: object.close() }
    }
}

/// RFC 3339, in UTC.
#[must_use]
pub fn time(at: UnixTime) -> impl fmt::Display {
    let since = Duration::from_secs(u64::try_from(at.seconds()).unwrap_or_default());
    humantime::format_rfc3339_seconds(UNIX_EPOCH + since)
}

/// A JSON object as far as it has come. By hand: what serde derives for a record, which is made of parts (`flatten`), takes twice as long,
/// and there is one for each token.
struct Object(Vec<u8>);

impl Object {
    /// Adds a member. `name` is made of letters and underscores, which stand in JSON as they are.
    fn put(&mut self, name: &'static str, value: &(impl Serialize + ?Sized)) -> &mut Self {
        let Self(text) = self;
        text.extend_from_slice(if text.is_empty() { b"{\"" } else { b",\"" });
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b"\":");
        // Texts, numbers and lists of them can be told in JSON, and writing to a Vec does not fail.
        let _ = serde_json::to_writer(text, value);
        self
    }

    /// Adds a member if there is a value.
    fn put_some(&mut self, name: &'static str, value: Option<&(impl Serialize + ?Sized)>) -> &mut Self {
        match value {
            Some(value) => self.put(name, value),
            None => self,
        }
    }

    /// Adds what stands for people's accounts, if anything does.
    fn put_warnings(&mut self, warnings: &[&'static str]) -> &mut Self {
        self.put_some("account_warnings", Some(warnings).filter(|warnings| !warnings.is_empty()))
    }

    fn put_by(&mut self, By { request_id, caller, identity, proof }: &By<'_>) -> &mut Self {
        self.put_some("request_id", request_id.as_ref()).put("caller", caller);
        self.put_some("identity", *identity).put("proof", proof)
    }

    fn put_person(&mut self, person: Option<&Person>) -> &mut Self {
        match person {
            Some(Person { subject, user_id }) => self.put("subject", subject).put_some("user_id", user_id.as_ref()),
            None => self,
        }
    }

    fn put_grant(&mut self, grant: &Grant<'_>) -> &mut Self {
        let Grant { groups, attributes, tenant, tenant_attributes, lifetime_seconds } = grant;
        self.put_some("groups", *groups).put("attributes", &Names(attributes)).put_some("tenant", *tenant);
        if !tenant_attributes.is_empty() {
            self.put("tenant_attributes", &Names(tenant_attributes));
        }
        self.put("lifetime_seconds", lifetime_seconds)
    }

    fn put_event(&mut self, event: &Event<'_>) -> &mut Self {
        match event {
            Event::Reloaded { what, succeeded, generation } => self
                .put("event", "reloaded")
                .put("what", what)
                .put("succeeded", succeeded)
                .put("generation", generation),
            Event::IdentityRefused { request_id, reason } => {
                self.put("event", "identity_refused").put_some("request_id", request_id.as_ref()).put("reason", reason)
            }
            Event::LiveCheckBegun { by, instance, fingerprint } => self
                .put("event", "live_check_begun")
                .put_by(by)
                .put("instance", instance)
                .put("fingerprint", fingerprint),
            Event::RotationStep { instance, signing, agreement } => {
                self.put("event", "rotation_step").put("instance", instance);
                self.put("signing", signing).put("agreement", agreement)
            }
            Event::StatusChecked { by, instance, live, status, reason, fingerprint } => {
                self.put("event", "status_checked").put_by(by).put("instance", instance);
                self.put("live", live).put("status", status);
                self.put_some("reason", reason.as_ref()).put_some("fingerprint", fingerprint.as_ref())
            }
            Event::StatusDenied { by, instance, reason } => {
                self.put("event", "status_denied").put_by(by).put("instance", instance).put("reason", reason)
            }
            Event::TokenDenied { by, instance, person, reason, field, account_warnings, generation } => {
                self.put("event", "token_denied").put_by(by).put("instance", instance).put_person(person.as_ref());
                self.put("reason", reason).put_some("field", Some(*field).filter(|field| !field.is_empty()));
                self.put_warnings(account_warnings).put("generation", generation)
            }
            Event::TokenIssued {
                by,
                instance,
                person,
                grant,
                fingerprint,
                signed_with,
                account_warnings,
                generation,
            } => {
                self.put("event", "token_issued").put_by(by).put("instance", instance).put_person(person.as_ref());
                self.put_grant(grant).put("fingerprint", fingerprint).put("signed_with", signed_with);
                self.put_warnings(account_warnings).put("generation", generation)
            }
        }
    }

    /// The text of it, which has a member at least.
    fn close(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

/// Of attributes, never the values.
struct Names<'a>(&'a Attributes);

impl Serialize for Names<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.keys())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_in_order_and_values_are_escaped() {
        let mut object = Object(Vec::new());
        object.put("event", "a \"b\"\n").put_some("none", None::<&str>).put_some("some", Some(&7));
        object.put("list", &["é", "\u{1}"]).put("nobody", &None::<&str>);
        let text = String::from_utf8(object.close()).unwrap();
        assert_eq!(text, r#"{"event":"a \"b\"\n","some":7,"list":["é","\u0001"],"nobody":null}"#);
    }
}
