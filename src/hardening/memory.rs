//! Keeps the memory of the process out of swap, all of it: a secret that signs passes through buffers of libraries.

use std::fs;

use rustix::{
    mm::{MlockAllFlags, mlockall},
    process::{Resource, getrlimit},
    thread::{CapabilitySet, capabilities},
};

use super::Measure;

const NAME: &str = "memory";
const WAY_OUT: &str = "raise RLIMIT_MEMLOCK to unlimited (systemd: LimitMEMLOCK=infinity), give the capability CAP_IPC_LOCK, or \
                       run without swap";

/// Locks what is mapped and what will be, page by page as it is used. Under a finite limit, memory that is locked in advance
/// would let later allocations fail, in the midst of serving; so nothing is locked there.
pub(super) fn lock() -> Measure {
    let limit = getrlimit(Resource::Memlock).current;
    let is_capable = capabilities(None).is_ok_and(|own| own.effective.contains(CapabilitySet::IPC_LOCK));
    let locked = match limit {
        Some(bytes) if !is_capable => Err(format!("the memory may be swapped out: RLIMIT_MEMLOCK is {bytes} bytes")),
        Some(_) | None => mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
            .map_err(|error| format!("the memory may be swapped out: mlockall: {error}")),
    };
    match locked {
        Ok(()) => Measure::applied(NAME),
        Err(_) if is_without_swap() => Measure::applied(NAME),
        Err(reason) => Measure::degraded(NAME, reason, WAY_OUT),
    }
}

/// Neither the system has any, nor may this process use it (cgroup v2).
fn is_without_swap() -> bool {
    fs::read_to_string("/proc/swaps").is_ok_and(|swaps| swaps.lines().count() <= 1) || is_forbidden_to_swap()
}

fn is_forbidden_to_swap() -> bool {
    let Ok(groups) = fs::read_to_string("/proc/self/cgroup") else { return false };
    let Some(own) = groups.lines().find_map(|line| line.strip_prefix("0::/")) else { return false };
    let max = std::path::Path::new("/sys/fs/cgroup").join(own).join("memory.swap.max");
    fs::read_to_string(max).is_ok_and(|max| max.trim() == "0")
}
