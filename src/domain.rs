//! The rules: what a token says, who may have it, how Metabase reads it.
//!
//! Invariants, kept by `tests/it/architecture.rs`: the domain does no I/O, reads no clock and knows neither gRPC nor
//! JSON. A value that exists is valid: constructors that can fail are called `parse`, and name the rule that broke.

pub mod account;
pub mod attributes;
pub mod auth_status;
pub mod caller;
pub mod claims;
pub mod deny_reason;
pub mod grant;
pub mod groups;
pub mod identity;
pub mod instance;
pub mod lifetime;
pub mod policy;
pub mod return_to;
pub mod rotation;
pub mod secret;
pub mod subject;
pub mod tenant;
pub mod text;
pub mod time;
pub mod token;
pub mod token_request;
