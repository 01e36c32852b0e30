//! The promises of the service, each through a real server on a port or the real program.

#![expect(clippy::panic, clippy::unwrap_used, reason = "a test that panics has failed, as it should")]

mod accounts;
mod architecture;
mod audit;
mod audit_chain;
mod audit_sinks;
mod audit_troubles;
mod audited;
mod auth_status;
mod authentication;
mod bearer;
mod client;
mod client_tries;
mod command_line;
mod configuration;
mod connection_limits;
mod connections;
mod doctor;
mod documentation;
mod drain;
mod frames;
mod hardening;
mod harness;
mod health;
mod issue_refused;
mod issue_token;
mod limits;
mod live;
mod messages;
mod metrics;
mod pki;
mod process;
mod rates;
mod reload;
mod remote_keys;
mod rotation;
mod shadow;
mod standin;
mod tracing;
