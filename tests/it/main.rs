//! The promises of the service, each through a real server on a port or the real program.

mod architecture;
mod auth_status;
mod command_line;
mod configuration;
mod harness;
mod health;
mod issue_token;
mod metrics;
mod process;
