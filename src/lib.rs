//! x
pub mod application;
pub mod config;
pub mod domain;
