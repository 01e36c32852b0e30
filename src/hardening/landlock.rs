//! Confines the calling thread, and those that it starts, by Landlock: to files, to TCP ports, and to signals of its own.

use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, NetPort, PathBeneath, PathFd, RestrictionStatus,
    Ruleset, RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use super::{Measure, Plan};

/// Only files of the plan can be opened, nothing can be made or run but what the plan says.
pub(super) fn files(plan: &Plan) -> Measure {
    const NAME: &str = "files";
    if plan.readable.iter().any(|folder| folder.parent().is_none()) {
        let way_out = "put every configured file into a folder of its own";
        return Measure::degraded(NAME, "a configured file lies in /, so that everything would be readable", way_out);
    }
    let own = AccessFs::ReadFile | AccessFs::ReadDir | AccessFs::WriteFile;
    let own = own | AccessFs::MakeReg | AccessFs::RemoveFile | AccessFs::Truncate;
    let rules: [(&[PathBuf], BitFlags<AccessFs>); 4] = [
        (&plan.readable, AccessFs::ReadFile.into()),
        (&plan.listable, AccessFs::ReadFile | AccessFs::ReadDir),
        (&plan.sockets, AccessFs::MakeSock | AccessFs::RemoveFile),
        (&plan.writable, own),
    ];
    let confine = || -> Result<RestrictionStatus, RulesetError> {
        let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(ABI::V5))?.create()?;
        for (paths, access) in rules {
            // What does not exist has no rule, and cannot be read later on either.
            for path in paths.iter().filter_map(|path| PathFd::new(path).ok()) {
                ruleset = ruleset.add_rule(PathBeneath::new(path, access))?;
            }
        }
        ruleset.restrict_self()
    };
    // Since version 1, only files of the plan are opened; later versions add ways to change others.
    judge(NAME, confine(), true, "every file of its user can be opened", "Linux 5.13")
}

/// Only TCP ports of the plan can be listened on and connected to.
pub(super) fn network(plan: &Plan) -> Measure {
    let confine = || -> Result<RestrictionStatus, RulesetError> {
        let mut ruleset = Ruleset::default().handle_access(AccessNet::from_all(ABI::V4))?.create()?;
        for (ports, access) in [(&plan.bind, AccessNet::BindTcp), (&plan.connect, AccessNet::ConnectTcp)] {
            for port in ports {
                ruleset = ruleset.add_rule(NetPort::new(*port, access))?;
            }
        }
        ruleset.restrict_self()
    };
    judge("network", confine(), false, "every TCP port can be connected to", "Linux 6.7")
}

/// Processes outside can be neither signalled nor reached by abstract Unix sockets.
pub(super) fn scope() -> Measure {
    let confine = || -> Result<RestrictionStatus, RulesetError> {
        Ruleset::default().scope(Scope::from_all(ABI::V6))?.create()?.restrict_self()
    };
    judge("scope", confine(), false, "other processes of its user can be signalled", "Linux 6.12")
}

/// `is_partly_enough` where an older kernel does what matters; `open` what stays possible otherwise, `since` the kernel that can.
fn judge(
    name: &'static str,
    result: Result<RestrictionStatus, RulesetError>,
    is_partly_enough: bool,
    open: &str,
    since: &str,
) -> Measure {
    let reason = match result {
        Ok(RestrictionStatus { ruleset: RulesetStatus::FullyEnforced, .. }) => return Measure::applied(name),
        Ok(RestrictionStatus { ruleset: RulesetStatus::PartiallyEnforced, .. }) if is_partly_enough => {
            return Measure::applied(name);
        }
        Ok(RestrictionStatus { landlock: LandlockStatus::Available { .. }, .. }) => {
            "the kernel's Landlock cannot do it"
        }
        Ok(RestrictionStatus { landlock: LandlockStatus::NotEnabled, .. }) => {
            "Landlock is not among the kernel's `lsm=`"
        }
        Ok(_) => "the kernel has no Landlock",
        Err(error) => {
            let reason = format!("{open}: Landlock failed: {error}");
            return Measure::degraded(name, reason, "allow the landlock_* system calls in the seccomp profile");
        }
    };
    let way_out = format!("run {since} or newer with Landlock, and allow its system calls in the seccomp profile");
    Measure::degraded(name, format!("{open}: {reason}"), way_out)
}

#[cfg(test)]
mod tests {
    use std::{fs, io, net::TcpListener, net::TcpStream, thread};

    use tempfile::TempDir;

    use super::*;

    fn port(listener: &TcpListener) -> u16 {
        listener.local_addr().unwrap().port()
    }

    #[test]
    fn only_files_of_the_plan_are_reached() {
        let (inside, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        let own = TempDir::new().unwrap();
        let [one, other] = [&inside, &outside].map(|folder| folder.path().join("file"));
        fs::write(&one, "1").unwrap();
        fs::write(&other, "1").unwrap();
        let plan =
            Plan { readable: vec![inside.path().to_owned()], writable: vec![own.path().to_owned()], ..Plan::default() };
        thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(files(&plan), Measure::applied("files"));
                assert_eq!(fs::read_to_string(&one).unwrap(), "1");
                assert_eq!(fs::read_to_string(&other).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
                assert_eq!(fs::write(&one, "2").unwrap_err().kind(), io::ErrorKind::PermissionDenied);
                fs::write(own.path().join("a"), "2").unwrap();
                fs::rename(own.path().join("a"), own.path().join("b")).unwrap();
            });
        });
        let everything = Plan { readable: vec!["/".into()], ..Plan::default() };
        assert_ne!(files(&everything), Measure::applied("files"));
    }

    #[test]
    fn only_ports_of_the_plan_are_reached() {
        let [one, other] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
        let plan = Plan { bind: [port(&one)].into(), connect: [port(&one)].into(), ..Plan::default() };
        let refused = |result: io::Result<()>| result.unwrap_err().kind() == io::ErrorKind::PermissionDenied;
        thread::scope(|scope| {
            scope.spawn(|| {
                assert_eq!(network(&plan), Measure::applied("network"));
                TcpStream::connect(one.local_addr().unwrap()).unwrap();
                assert!(refused(TcpStream::connect(other.local_addr().unwrap()).map(drop)));
                assert!(refused(TcpListener::bind("127.0.0.1:0").map(drop)));
            });
        });
    }
}
