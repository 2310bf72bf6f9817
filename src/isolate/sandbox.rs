//! What a worker gives up before it looks at any media. There is no way back from it.
//!
//! - Landlock: every file but the one recording (to read), every TCP connection but to the relay's port, every bind, signals and
//!   abstract sockets to others.
//! - seccomp: every system call that decoding does not need: no new program or process, no socket but TCP (none at all for a
//!   recording), no tracing, no mounts, no keys. What is refused gets "not permitted".
//! - Limits: 4 GiB of address space, 64 descriptors, no core dump.
//!
//! Landlock holds the thread that asks for it and those it starts. So it is asked for while there is one thread.

use std::collections::BTreeMap;
use std::path::Path;

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, NetPort, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetStatus, Scope,
};
use rustix::process::{Resource, Rlimit, setrlimit};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Length, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use serde::{Deserialize, Serialize};

/// Newest rules that are asked for: files (1), TCP (4), devices (5), signals and abstract sockets (6).
const NEWEST: ABI = ABI::V6;
/// Bytes of address space. Threads reserve much that they do not use.
const ADDRESS_SPACE: u64 = 4 << 30;
const DESCRIPTORS: u64 = 64;

/// What of it the kernel has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Files are held.
    pub files: bool,
    /// TCP, signals and abstract sockets are held as well.
    pub network: bool,
    /// System calls are held.
    pub calls: bool,
}

impl Held {
    /// Everything is.
    pub const ALL: Self = Self { files: true, network: true, calls: true };

    /// What is not, in words; None: nothing.
    #[must_use]
    pub fn missing(self) -> Option<&'static str> {
        match (self.files && self.network, self.calls) {
            (true, true) => None,
            (true, false) => Some("seccomp"),
            (false, true) => Some("Landlock (ABI 6, Linux 6.12)"),
            (false, false) => Some("Landlock (ABI 6, Linux 6.12) and seccomp"),
        }
    }
}

/// The sandbox could not be set up, although the kernel has it.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// Landlock.
    #[error("Landlock: {0}")]
    Landlock(#[from] landlock::RulesetError),
    /// The recording that may be read cannot be.
    #[error("{0}")]
    File(#[from] landlock::PathFdError),
    /// seccomp.
    #[error("seccomp: {0}")]
    Seccomp(#[from] seccompiler::Error),
    /// A limit.
    #[error("a limit: {0}")]
    Limit(#[from] rustix::io::Errno),
    /// There is more than one thread, and Landlock would not hold the others.
    #[error("{0} threads run already")]
    Threads(usize),
}

/// What the kernel of this machine has.
#[must_use]
pub fn available() -> Held {
    let strict = || Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    Held {
        files: strict().handle_access(AccessFs::from_all(ABI::V1)).is_ok(),
        network: strict()
            .handle_access(AccessNet::from_all(NEWEST))
            .and_then(|ruleset| ruleset.scope(Scope::from_all(NEWEST)))
            .is_ok(),
        calls: has_seccomp(),
    }
}

fn has_seccomp() -> bool {
    Path::new("/proc/sys/kernel/seccomp/actions_avail").exists()
}

/// Gives up everything but reading `file` and connecting to `port`.
///
/// # Errors
/// More than one thread runs, or the kernel refuses what it has. Then nothing may be decoded.
pub fn enter(file: Option<&Path>, port: Option<u16>) -> Result<Held, SandboxError> {
    let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
    if threads > 1 {
        return Err(SandboxError::Threads(threads));
    }
    for (resource, most) in [(Resource::As, ADDRESS_SPACE), (Resource::Nofile, DESCRIPTORS), (Resource::Core, 0)] {
        setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
    }
    confine(file, port)
}

/// The part of [`enter`] that holds one thread.
fn confine(file: Option<&Path>, port: Option<u16>) -> Result<Held, SandboxError> {
    let calls = has_seccomp();
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .handle_access(AccessNet::from_all(NEWEST))?
        .scope(Scope::from_all(NEWEST))?
        .create()?;
    if let Some(file) = file {
        ruleset = ruleset.add_rule(PathBeneath::new(PathFd::new(file)?, AccessFs::ReadFile))?;
    }
    if let Some(port) = port {
        ruleset = ruleset.add_rule(NetPort::new(port, AccessNet::ConnectTcp))?;
    }
    let status = ruleset.restrict_self()?;
    let held = Held {
        files: status.ruleset != RulesetStatus::NotEnforced,
        network: status.ruleset == RulesetStatus::FullyEnforced,
        calls,
    };
    if calls {
        for filter in [threads_by_clone()?, needed(port.is_some())?] {
            seccompiler::apply_filter(&filter)?;
        }
    }
    Ok(held)
}

/// `clone3` hides its flags from filters. As "not there" it makes the C library use `clone`, whose flags are looked at.
fn threads_by_clone() -> Result<BpfProgram, seccompiler::Error> {
    let rules = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    program(rules, SeccompAction::Allow, SeccompAction::Errno(libc::ENOSYS.unsigned_abs()))
}

/// Lets through what decoding needs.
fn needed(network: bool) -> Result<BpfProgram, seccompiler::Error> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = ALWAYS.iter().map(|call| (*call, Vec::new())).collect();
    let equal = |argument, value: i64| condition(argument, Op::Eq, value);
    let one_of = |argument, values: &[i64]| {
        values
            .iter()
            .map(|value| Ok(SeccompRule::new(vec![equal(argument, *value)?])?))
            .collect::<Result<Vec<_>, seccompiler::Error>>()
    };
    let thread = i64::from(libc::CLONE_THREAD);
    rules.insert(
        libc::SYS_clone,
        vec![SeccompRule::new(vec![condition(0, Op::MaskedEq(thread.unsigned_abs()), thread)?])?],
    );
    rules.insert(libc::SYS_prctl, one_of(0, &[i64::from(libc::PR_SET_NAME), i64::from(libc::PR_GET_NAME)])?);
    rules.insert(libc::SYS_ioctl, one_of(1, &[0x541B, 0x5421, 0x5401])?); // FIONREAD, FIONBIO, TCGETS
    rules.insert(libc::SYS_tgkill, one_of(0, &[i64::from(std::process::id())])?); // abort()
    for call in [libc::SYS_sched_getattr, libc::SYS_sched_setattr] {
        rules.insert(call, one_of(0, &[0])?); // GLib, of its own threads
    }
    rules.insert(libc::SYS_socketpair, one_of(0, &[i64::from(libc::AF_UNIX)])?);
    if network {
        rules.extend(NETWORK.iter().map(|call| (*call, Vec::new())));
        let mut tcp = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let stream = condition(1, Op::MaskedEq(0xFF), i64::from(libc::SOCK_STREAM))?;
            // TCP, and not what else can be had as a stream (SCTP, MPTCP), which Landlock does not hold.
            for protocol in [0, libc::IPPROTO_TCP] {
                let all = vec![equal(0, i64::from(family))?, stream.clone(), equal(2, i64::from(protocol))?];
                tcp.push(SeccompRule::new(all)?);
            }
        }
        rules.insert(libc::SYS_socket, tcp);
    }
    program(rules, SeccompAction::Errno(libc::EPERM.unsigned_abs()), SeccompAction::Allow)
}

fn condition(argument: u8, op: Op, value: i64) -> Result<SeccompCondition, seccompiler::Error> {
    Ok(SeccompCondition::new(argument, Length::Dword, op, value.unsigned_abs())?)
}

fn program(
    rules: BTreeMap<i64, Vec<SeccompRule>>,
    otherwise: SeccompAction,
    listed: SeccompAction,
) -> Result<BpfProgram, seccompiler::Error> {
    let here = std::env::consts::ARCH.try_into()?;
    Ok(SeccompFilter::new(rules, otherwise, listed, here)?.try_into()?)
}

/// System calls of decoding, whatever their arguments. Files are opened by `openat`, which Landlock holds.
const ALWAYS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fadvise64,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_openat,
    libc::SYS_getcwd,
    libc::SYS_uname,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_clone3, // "not there", by the other filter
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_ppoll,
    libc::SYS_eventfd2,
    libc::SYS_pipe2,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_pipe,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_readlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_time,
];

/// And of a TCP connection.
const NETWORK: &[i64] = &[
    libc::SYS_connect,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
];

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::process::Command;

    use super::*;

    const SECRET: &str = "AHWATCH_TEST_ESCAPE";

    /// What code that took a worker over would try. It runs only when the test below starts it.
    #[test]
    #[allow(clippy::disallowed_methods, reason = "whether decoding may start threads is asked")]
    #[ignore = "run by a_planted_exploit_gets_nowhere, in a process that is confined"]
    fn exploit() {
        let Ok(told) = std::env::var(SECRET) else { return };
        let [allowed, other, port, elsewhere] = told.split('|').collect::<Vec<_>>().try_into().unwrap();
        let with_network = std::env::var_os("AHWATCH_TEST_NETWORK").is_some();
        let (port, elsewhere): (u16, u16) = (port.parse().unwrap(), elsewhere.parse().unwrap());
        let parent = rustix::process::getppid();
        let held = confine((!with_network).then_some(Path::new(allowed)), with_network.then_some(port)).unwrap();
        println!("held {held:?}");
        let told = |what: &str, worked: bool| println!("{what}: {}", if worked { "YES" } else { "no" });
        told("thread", std::thread::Builder::new().spawn(|| ()).is_ok_and(|thread| thread.join().is_ok()));
        told("allowed file", std::fs::read(allowed).is_ok());
        told("allowed port", TcpStream::connect(("127.0.0.1", port)).is_ok());
        told("read", std::fs::read(other).is_ok());
        told("read passwd", std::fs::read("/etc/passwd").is_ok());
        told("read memory", std::fs::read("/proc/self/maps").is_ok());
        told("list", std::fs::read_dir("/").is_ok());
        told("write", std::fs::write(format!("{other}.new"), b"x").is_ok());
        told("overwrite", std::fs::OpenOptions::new().write(true).open(allowed).is_ok());
        told("delete", std::fs::remove_file(other).is_ok());
        told("rename", std::fs::rename(other, format!("{other}.old")).is_ok());
        told("connect", TcpStream::connect(("127.0.0.1", elsewhere)).is_ok());
        told("listen", TcpListener::bind("127.0.0.1:0").is_ok());
        told("udp", UdpSocket::bind("127.0.0.1:0").is_ok());
        told("unix", std::os::unix::net::UnixDatagram::unbound().is_ok());
        told("run", Command::new("/bin/true").status().is_ok());
        told("kill", rustix::process::test_kill_process(rustix::process::Pid::INIT).is_ok());
        told("parent", parent.is_some_and(|parent| rustix::process::test_kill_process(parent).is_ok()));
        told("unlimit", setrlimit(Resource::Core, Rlimit { current: None, maximum: None }).is_ok());
    }

    #[test]
    fn a_planted_exploit_gets_nowhere() {
        if available() != Held::ALL {
            eprintln!("not tried: this kernel lacks {}", available().missing().unwrap_or_default());
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        for name in ["recording", "other"] {
            std::fs::write(path(name), b"here").unwrap();
        }
        let (relay, elsewhere) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("127.0.0.1:0").unwrap());
        let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
        let told = format!("{}|{}|{}|{}", path("recording"), path("other"), port(&relay), port(&elsewhere));
        for network in [false, true] {
            let mut stub = Command::new(std::env::current_exe().unwrap());
            stub.args(["--exact", "isolate::sandbox::tests::exploit", "--ignored", "--nocapture"]).env(SECRET, &told);
            if network {
                stub.env("AHWATCH_TEST_NETWORK", "1");
            }
            let output = stub.output().unwrap();
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            let worked: Vec<_> = said.lines().filter_map(|line| line.strip_suffix(": YES")).collect();
            let expected = if network { ["thread", "allowed port"] } else { ["thread", "allowed file"] };
            assert_eq!(worked, expected, "{said}");
            assert_eq!(said.lines().filter(|line| line.ends_with(": no")).count(), 17, "every try was made: {said}");
            assert!(said.contains(&format!("held {:?}", Held::ALL)), "{said}");
        }
        assert_eq!(std::fs::read(path("other")).unwrap(), b"here");
    }

    #[test]
    fn more_than_one_thread_is_refused() {
        assert!(matches!(enter(None, None), Err(SandboxError::Threads(_)))); // tests run in threads of their own
    }
}
