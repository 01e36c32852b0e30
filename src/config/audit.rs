//! `[audit]`

use std::path::PathBuf;

use super::{Location, SecretSource};

/// Where and how decisions are recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditConfig {
    /// Where records go.
    pub sink: AuditSink,
    /// When a record counts as written.
    pub durability: Durability,
    /// How records name people.
    pub subject: SubjectForm,
}

/// Where records go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AuditSink {
    /// A file, which is appended to; opened anew when it was renamed or deleted.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// A datagram socket of syslog, such as `/dev/log`.
    Syslog(PathBuf),
    /// A datagram socket, one record in a datagram.
    UnixDatagram(PathBuf),
}

/// When a record counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// On the disk: it survives a loss of power.
    Synced,
    /// With the operating system: it survives the end of the process.
    #[default]
    Written,
}

impl Durability {
    /// The spelling in the configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "synced",
            Self::Written => "written",
        }
    }
}

/// How records name people. Equal whatever the line: a comment above `[audit]` changes nothing.
#[derive(Clone, Debug)]
pub enum SubjectForm {
    /// By pseudonyms, made with this key.
    Hash(SecretSource, Location),
    /// As they are.
    Plain,
}

impl PartialEq for SubjectForm {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Hash(source, _), Self::Hash(other, _)) => source == other,
            (Self::Plain, Self::Plain) => true,
            (Self::Hash(..), Self::Plain) | (Self::Plain, Self::Hash(..)) => false,
        }
    }
}

impl Eq for SubjectForm {}
