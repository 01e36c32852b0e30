//! Refuses system calls that the service never makes. A deny list: an allow list would have to follow every kernel, C library and
//! runtime that the program is ever run with, and its mistakes end the service in the midst of serving.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};

use super::Measure;

const NAME: &str = "system_calls";

/// Refused whatever their arguments.
const DENIED: &[libc::c_long] = &[
    // Other processes: their memory, their files, their kernel objects.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_process_madvise,
    // Programs. The attack: a shell.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_memfd_create,
    libc::SYS_shmat,
    // Ways around this filter, and parts of the kernel that are attacked from user space.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_personality,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    // Namespaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsmount,
    libc::SYS_fsconfig,
    libc::SYS_fspick,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    // The machine.
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_adjtimex,
    libc::SYS_clock_adjtime,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    // Other users.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_capset,
];

#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[libc::c_long] = &[
    libc::SYS_fork,
    libc::SYS_vfork,
    libc::SYS_kexec_file_load,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_modify_ldt,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[libc::c_long] = &[];

/// The attack: the x32 calls of x86-64 have the same architecture but other numbers, and would pass a list of the usual ones.
#[cfg(target_arch = "x86_64")]
const X32: libc::c_long = 0x4000_0000;
/// `ioctl`, `sendmsg`, `execve`, `ptrace`, `kexec_load`, `sendmmsg`, `process_vm_readv`, `process_vm_writev` and `execveat` of x32.
#[cfg(target_arch = "x86_64")]
const DENIED_OF_X32: &[libc::c_long] = &[514, 518, 520, 521, 528, 538, 539, 540, 545];

type Rules = BTreeMap<libc::c_long, Vec<SeccompRule>>;

/// Filters the system calls of the calling thread and those that it starts.
pub(super) fn apply() -> Measure {
    let Ok(architecture) = TargetArch::try_from(std::env::consts::ARCH) else {
        return Measure::degraded(
            NAME,
            "not supported on this processor",
            "run the service on x86-64, aarch64 or riscv64",
        );
    };
    match programs(architecture).and_then(|programs| programs.iter().try_for_each(|program| apply_filter(program))) {
        Ok(()) => Measure::applied(NAME),
        Err(error) => Measure::degraded(
            NAME,
            format!("the seccomp filter cannot be set: {error}"),
            "the kernel needs CONFIG_SECCOMP_FILTER, and a seccomp profile of the container must not forbid `seccomp`",
        ),
    }
}

fn programs(architecture: TargetArch) -> Result<[BpfProgram; 2], Error> {
    let refuse = |errno: i32| SeccompAction::Errno(errno.unsigned_abs());
    let denied = SeccompFilter::new(denied()?, SeccompAction::Allow, refuse(libc::EPERM), architecture)?;
    // A filter cannot look behind its pointer; libraries take this error as an old kernel and go on with `clone`.
    let clone3 = [(libc::SYS_clone3, Vec::new())].into();
    let clone3 = SeccompFilter::new(clone3, SeccompAction::Allow, refuse(libc::ENOSYS), architecture)?;
    Ok([denied.try_into()?, clone3.try_into()?])
}

fn denied() -> Result<Rules, Error> {
    let mut rules: Rules = DENIED.iter().chain(DENIED_HERE).map(|call| (*call, Vec::new())).collect();
    // Threads, but no processes.
    rules.insert(libc::SYS_clone, vec![masked(0, libc::CLONE_THREAD, 0)?]);
    // The attack: code that was written into memory and is then run. Libraries that are loaded later come by `mmap` as they are.
    let writable_code = libc::PROT_WRITE | libc::PROT_EXEC;
    rules.insert(libc::SYS_mmap, vec![masked(2, writable_code, writable_code)?]);
    for call in [libc::SYS_mprotect, libc::SYS_pkey_mprotect] {
        rules.insert(call, vec![masked(2, libc::PROT_EXEC, libc::PROT_EXEC)?]);
    }
    // Nothing makes the process dumpable again.
    rules.insert(libc::SYS_prctl, vec![masked(0, -1, libc::PR_SET_DUMPABLE)?]);
    // Keystrokes for the terminal that the service was started from: TIOCSTI and TIOCLINUX.
    rules.insert(libc::SYS_ioctl, vec![masked(1, -1, 0x5412)?, masked(1, -1, 0x541c)?]);
    // The attack: Landlock watches `connect` of TCP. Multipath TCP is another protocol to it, other families such as that of virtual
    // machines and their hosts are none of its business, and TCP Fast Open needs no `connect`.
    let families = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(|family| is_not(0, family));
    let other_family = SeccompRule::new(families.into_iter().collect::<Result<_, _>>()?)?;
    rules.insert(libc::SYS_socket, vec![masked(2, -1, libc::IPPROTO_MPTCP)?, other_family]);
    for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
        rules.insert(call, vec![masked(flags, libc::MSG_FASTOPEN, libc::MSG_FASTOPEN)?]);
    }
    #[cfg(target_arch = "x86_64")]
    {
        let of_x32: Vec<_> = rules.iter().map(|(call, rules)| (call | X32, rules.clone())).collect();
        rules.extend(of_x32);
        rules.extend(DENIED_OF_X32.iter().map(|call| (call | X32, Vec::new())));
    }
    Ok(rules)
}

/// Matches where the bits of `mask` in the lower half of an argument are those of `value`.
fn masked(argument: u8, mask: i32, value: i32) -> Result<SeccompRule, Error> {
    let bits = |value: i32| u64::from(value.cast_unsigned());
    let operator = SeccompCmpOp::MaskedEq(bits(mask));
    let condition = SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, bits(value));
    Ok(SeccompRule::new(vec![condition?])?)
}

/// Matches where the lower half of an argument is another value.
fn is_not(argument: u8, value: i32) -> Result<SeccompCondition, seccompiler::BackendError> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, u64::from(value.cast_unsigned()))
}

#[cfg(test)]
mod tests {
    use std::{io, process::Command, thread};

    use super::*;

    #[test]
    fn a_filtered_thread_starts_threads_and_no_processes() {
        let (before, after, thread) = thread::spawn(|| {
            let before = Command::new("true").status();
            assert_eq!(apply(), Measure::applied(NAME));
            let after = Command::new("true").status();
            (before.unwrap(), after, thread::spawn(|| 1).join().unwrap())
        })
        .join()
        .unwrap();
        assert!(before.success());
        assert_eq!(after.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        assert_eq!(thread, 1);
    }

    #[test]
    fn a_filtered_thread_reaches_nothing_past_the_rules_for_tcp() {
        use rustix::net::{AddressFamily, Protocol, SendFlags, SocketType, sendto, socket};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            assert_eq!(apply(), Measure::applied(NAME));
            let tcp = || socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
            let multipath = Protocol::from_raw(libc::IPPROTO_MPTCP.cast_unsigned().try_into().unwrap());
            let multipath = socket(AddressFamily::INET, SocketType::STREAM, Some(multipath));
            assert_eq!(multipath.unwrap_err(), rustix::io::Errno::PERM);
            let of_the_host = socket(AddressFamily::VSOCK, SocketType::STREAM, None);
            assert_eq!(of_the_host.unwrap_err(), rustix::io::Errno::PERM);
            for family in [AddressFamily::UNIX, AddressFamily::INET6] {
                socket(family, SocketType::STREAM, None).unwrap();
            }
            let fast_open = SendFlags::from_bits_retain(libc::MSG_FASTOPEN.cast_unsigned());
            assert_eq!(sendto(tcp(), b"x", fast_open, &address), Err(rustix::io::Errno::PERM));
            rustix::net::connect(tcp(), &address).unwrap();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_filtered_thread_cannot_make_the_process_dumpable_or_change_its_user() {
        thread::spawn(|| {
            assert_eq!(apply(), Measure::applied(NAME));
            let dumpable = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::Dumpable);
            assert_eq!(dumpable, Err(rustix::io::Errno::PERM));
            let user = rustix::thread::set_thread_uid(rustix::process::getuid());
            assert_eq!(user, Err(rustix::io::Errno::PERM));
            assert_eq!(rustix::thread::no_new_privs(), Ok(true));
        })
        .join()
        .unwrap();
    }
}
