//! As many open files as the system allows: each connection is one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Those that are no connections of the gRPC port: 256 of probes, 32 of scrapes, those to Metabase and to the account store, files. Of few,
/// half.
const OTHERS: usize = 400;
/// A system without a limit has one, which no process comes near.
const UNLIMITED: u64 = 1 << 30;

/// Raises the limit, which containers begin with at 1024 for the sake of programs that use select(2), to the highest that is allowed, and
/// tells how many connections that has room for. Without room for a file nobody is accepted any more, probes included.
pub(super) fn room_for_connections() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // The one that is in force counts where it cannot be raised.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(UNLIMITED).min(UNLIMITED);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    files - OTHERS.min(files / 2)
}

/// What to tell whoever configured more connections than there is room for.
pub(super) fn too_few(room: usize, max_connections: usize) -> String {
    format!(
        "server.limits.max_connections is {max_connections}, but the limit of open files has room for {room} connections, and no more are \
         let in: raise it to {} or more (ulimit -n, LimitNOFILE=, --ulimit nofile=), or lower max_connections",
        max_connections.saturating_add(OTHERS),
    )
}
