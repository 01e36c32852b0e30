//! What the process may do with itself: dump its memory, be looked into, gain privileges.

use rustix::{
    process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit},
    thread::set_no_new_privs,
};

use super::Measure;

const FORBIDDEN: &str = "a seccomp profile seems to forbid it: allow the system call there";

/// No core file. The limit does not count where a program takes the dump; there, `dumpable` does.
pub(super) fn core_dumps() -> Measure {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    taken("core_dumps", setrlimit(Resource::Core, none), "RLIMIT_CORE cannot be set to 0")
}

/// No core dump of any kind; and `/proc/PID/{environ,maps,mem,fd,…}` belong to root, and no process of the same user can trace
/// this one.
pub(super) fn dumpable() -> Measure {
    taken("dumpable", set_dumpable_behavior(DumpableBehavior::NotDumpable), "PR_SET_DUMPABLE cannot be set to 0")
}

/// No set-user-ID program gives more than the process has.
pub(super) fn new_privileges() -> Measure {
    taken("new_privileges", set_no_new_privs(true), "PR_SET_NO_NEW_PRIVS cannot be set")
}

fn taken(name: &'static str, result: rustix::io::Result<()>, what: &str) -> Measure {
    match result {
        Ok(()) => Measure::applied(name),
        Err(error) => Measure::degraded(name, format!("{what}: {error}"), FORBIDDEN),
    }
}
