"""Attacks by way of files, processes and the kernel."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import socket
import time
from collections.abc import Callable
from functools import partial
from itertools import product
from pathlib import Path

from tests.emulation.attacks.base import Got, Scene, attack, each

_libc = ctypes.CDLL(None, use_errno=True)
_NAMESPACES = {"user": 0x10000000, "net": 0x40000000, "mnt": 0x00020000, "pid": 0x20000000}
_RUNS = "/run/crowd-edge-lab"
_FEW = 400


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def _below(patterns: tuple[str, ...]) -> list[str]:
    """What there is, as a shell would find it."""
    return [str(p) for pattern in patterns for p in Path("/").glob(pattern.lstrip("/"))]


def _pids() -> list[int]:
    """Every process in sight, the parent, and guesses."""
    seen = {int(p) for p in os.listdir("/proc") if p.isdigit()}  # noqa: PTH208
    return sorted((seen | {os.getppid(), *range(1, 20)}) - {0, os.getpid()})


@attack
def read_secrets(scene: Scene) -> str:
    """Read the ledger, the scenario, the results and the logs of the run."""
    files = ["/etc/shadow", "/proc/self/fd/1", "/proc/self/fd/2", "/proc/self/mem"]
    files += _below((f"{_RUNS}/*/*", f"{_RUNS}/*/ovs/*", f"{scene.project}/scenarios/*.yaml"))
    files += _below((f"{scene.out}/*/*/*/*/*", f"{scene.project}/results/*/*/*/*/*"))
    return each({f: partial(_read, f) for f in files})


def _read(path: str) -> str:
    text = Path(path).read_bytes()[:80]
    if not text:
        raise ValueError("empty")
    return repr(text)


@attack
def list_secrets(scene: Scene) -> str:
    """List the folders of runs, network namespaces and results."""
    folders = [scene.out, _RUNS, "/run", "/run/netns", "/sys/class/net", "/root"]
    return each({f: partial(_list, f) for f in folders})


def _list(path: str) -> str:
    names = os.listdir(path)  # noqa: PTH208 - the names are the loot
    if not names:
        raise ValueError("empty")
    return str(names[:5])


@attack
def read_other_processes(scene: Scene) -> str:
    """Read environment, memory, files and namespaces of every other process."""
    parts = ("environ", "cmdline", "maps", "mem", "fd", "ns/net", "status")
    tries: dict[str, Callable[[], object]] = {}
    for pid, part in product(_pids(), parts):
        path = f"/proc/{pid}/{part}"
        reader = _list if part == "fd" else os.readlink if part == "ns/net" else _read
        tries[path] = partial(reader, path)
    return each(tries)


@attack
def read_the_machine(scene: Scene) -> str:
    """Read what /proc and /sys tell of the whole machine and its queues."""
    files = ["/proc/net/../1/net/dev", "/proc/stat", "/proc/sched_debug", "/proc/kcore"]
    files += ["/proc/kmsg", "/proc/mounts", "/sys/kernel/debug/openvswitch", "/dev/mem"]
    return each({f: partial(_read_foreign, f) for f in files})


def _read_foreign(path: str) -> str:
    text = Path(path).read_text(errors="replace")
    if path.endswith("net/dev"):
        if "p-" in text or "-bs" in text:
            return text
        raise ValueError("own interfaces alone")
    if path == "/proc/mounts":
        if "/run/netns/" in text:
            return text
        raise ValueError("no namespace is mounted")
    return text[:80]


_COUNTERS = (
    "net/sockstat", "net/sockstat6", "net/softnet_stat", "net/netstat", "net/snmp", "net/protocols",
    "net/ptype", "net/dev", "net/stat/nf_conntrack", "net/tcp", "net/packet", "net/route",
    "cgroup", "mountinfo", "mountstats", "schedstat", "sched", "numa_maps",
)  # fmt: skip
_MACHINE = (
    "stat", "meminfo", "vmstat", "interrupts", "softirqs", "loadavg", "schedstat", "diskstats",
    "slabinfo", "buddyinfo", "zoneinfo", "timer_list", "uptime", "pressure/cpu", "pressure/memory",
    "pressure/io", "sys/fs/file-nr", "sys/net/ipv4/tcp_mem", "sys/kernel/random/entropy_avail",
)  # fmt: skip
_SYS = (
    "class/net/eth0/statistics/tx_bytes", "fs/cgroup/cpu.stat", "fs/cgroup/cpu/cpuacct.usage",
    "fs/cgroup/memory/memory.usage_in_bytes", "kernel/debug/tracing/trace", "kernel/slab",
    "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", "devices/virtual/net/lo/operstate",
    "kernel/debug/sched/debug", "module/openvswitch/refcnt",
)  # fmt: skip


@attack
def count_with_the_kernel(scene: Scene) -> str:
    """Read counters that all namespaces share: sockstat, softnet_stat, memory, load, pressure."""
    whose = ("self", "thread-self", "1", "1/task/1", str(os.getpid()), str(os.getppid()))
    paths = [f"/proc/{who}/{counter}" for who, counter in product(whose, _COUNTERS)]
    paths += [f"/proc/{name}" for name in (*_MACHINE, *_COUNTERS)]
    paths += [f"/sys/{name}" for name in _SYS]
    tries: dict[str, Callable[[], object]] = {path: partial(_read, path) for path in paths}
    tries["getloadavg"] = os.getloadavg
    tries["sysinfo"] = _sysinfo
    return each(tries)


def _sysinfo() -> str:
    buffer = ctypes.create_string_buffer(256)
    _checked(_libc.sysinfo(buffer), "sysinfo")
    return buffer.raw[:64].hex()


@attack
def enter_namespaces(scene: Scene) -> str:
    """Enter the network namespaces of others, by their files or their processes."""
    files = _below(("/run/netns/*",)) + [f"/proc/{p}/ns/net" for p in _pids()]
    return each({f: partial(_enter, f) for f in (*files, "/proc/self/ns/net")})


def _enter(path: str) -> str:
    handle = os.open(path, os.O_RDONLY)
    try:
        _checked(_libc.setns(handle, 0), "setns")
    finally:
        os.close(handle)
    return "entered"


@attack
def trace_and_read_memory(scene: Scene) -> str:
    """Trace siblings and parents, and read their memory."""
    pids = _pids()
    tries: dict[str, Callable[[], object]] = {}
    for pid in pids:
        tries[f"ptrace {pid}"] = partial(_trace, pid)
        tries[f"read {pid}"] = partial(_read_memory, pid)
        tries[f"pidfd {pid}"] = partial(os.pidfd_open, pid)
    return each(tries)


def _trace(pid: int) -> int:
    return _checked(_libc.ptrace(16, pid, None, None), "ptrace")


def _read_memory(pid: int) -> int:
    buffer = ctypes.create_string_buffer(16)
    here = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 16)
    there = (ctypes.c_void_p * 2)(0x400000, 16)
    return _checked(_libc.process_vm_readv(pid, here, 1, there, 1, 0), "process_vm_readv")


@attack
def kill_others(scene: Scene) -> str:
    """Signal siblings, the spawner and the orchestrator."""
    return each({f"kill {p}": partial(_signal, p) for p in _pids()})


def _signal(pid: int) -> str:
    os.kill(pid, 0)  # only asks whether it may
    return "may be signalled"


@attack
def regain_capabilities(scene: Scene) -> str:
    """Become root again, or get capabilities in a user namespace."""
    tries: dict[str, Callable[[], object]] = {
        f"unshare {n}": partial(_unshare, f) for n, f in _NAMESPACES.items()
    }
    tries["clone into a user namespace"] = _clone_user
    tries["clone3"] = lambda: _checked(_libc.syscall(435, None, 0), "clone3")
    tries["setuid 0"] = partial(os.setuid, 0)
    tries["setresuid 0"] = partial(os.setresuid, 0, 0, 0)
    tries["setuid programs"] = _run_setuid
    return each(tries)


def _unshare(flags: int) -> str:
    _checked(_libc.unshare(flags), "unshare")
    return "unshared"


def _clone_user() -> str:
    number = 56 if os.uname().machine == "x86_64" else 220
    flags = _NAMESPACES["user"] | signal.SIGCHLD
    pid = _checked(_libc.syscall(number, flags, None, None, None, None), "clone")
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return "cloned"


def _run_setuid() -> str:
    pid = os.fork()
    if pid == 0:
        program = "/bin/su" if Path("/bin/su").exists() else "/usr/bin/passwd"
        try:
            os.setsid()
            null = os.open("/dev/null", os.O_RDWR)
            for k in range(3):
                os.dup2(null, k)
            os.execv(program, [program, "-c", "id"])  # noqa: S606 - as an attacker would
        finally:
            os._exit(9)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == 0:
        return "ran as root"
    raise PermissionError(f"ended with {status}")


@attack
def mount_and_chroot(scene: Scene) -> str:
    """Mount, unmount and change the root, to see what is hidden."""

    def mount(kind: bytes, target: bytes) -> int:
        return _checked(_libc.mount(kind, target, kind, 0, None), "mount")

    tries: dict[str, Callable[[], object]] = {
        "mount proc": partial(mount, b"proc", b"/dev/shm"),
        "mount tmpfs": partial(mount, b"tmpfs", b"/dev/shm"),
        "unmount /run": lambda: _checked(_libc.umount2(b"/run", 2), "umount2"),
        "chroot": partial(os.chroot, "/dev/shm"),
        "open_tree": lambda: _checked(_libc.syscall(428, -100, b"/", 1), "open_tree"),
        "open by handle": lambda: _checked(_libc.open_by_handle_at(3, None, 0), "by handle"),
    }
    return each(tries)


@attack
def use_the_kernel(scene: Scene) -> str:
    """Reach into the kernel: eBPF, perf, keys, io_uring, userfaultfd."""
    x86 = os.uname().machine == "x86_64"
    numbers = {
        "bpf": 321 if x86 else 280,
        "perf_event_open": 298 if x86 else 241,
        "add_key": 248 if x86 else 217,
        "userfaultfd": 323 if x86 else 282,
        "io_uring_setup": 425,
    }
    buffer = ctypes.create_string_buffer(256)
    return each(
        {n: lambda k=k, n=n: _checked(_libc.syscall(k, 0, buffer, 0, 0, 0), n)  # type: ignore[misc]
         for n, k in numbers.items()}
    )  # fmt: skip


@attack
def write_anywhere(scene: Scene) -> str:
    """Write files: into the project, the results, the system, temporary folders."""
    folders = [scene.out, scene.project, "/tmp", "/var/tmp", "/", "/run", "/dev", "/etc"]
    return each({f: partial(_write, f) for f in folders})


def _write(folder: str) -> str:
    path = Path(folder, f"hostile{os.getpid()}")
    path.write_text("x", encoding="ascii")
    path.unlink()
    return "written"


@attack
def fill_the_disk(scene: Scene) -> str:
    """Fill the scratch space and the log, to stop everybody's recording."""
    path, size = Path("/dev/shm/fill"), 0
    block = bytes(1 << 20)
    try:
        with path.open("wb", buffering=0) as file:
            while size < 256:
                file.write(block)
                size += 1
    except OSError as error:
        limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
        if limit == resource.RLIM_INFINITY:
            raise Got("the log may grow without limit") from error
        return f"{size} MB of its own, then {error.strerror}; any file ends at {limit >> 20} MB"
    finally:
        path.unlink(missing_ok=True)
    raise Got(f"wrote {size} MB")


@attack
def fork_bomb(scene: Scene) -> str:
    """Fork until the machine stands still (here: a few hundred times)."""
    children: list[int] = []
    why = ""
    reader, writer = os.pipe()
    try:
        for _ in range(_FEW):
            pid = os.fork()
            if pid == 0:
                os.close(writer)
                os.read(reader, 1)
                os._exit(0)
            children.append(pid)
    except OSError as error:
        why = str(error)
    finally:
        os.close(writer)
        os.close(reader)
        for pid in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    if not why:
        raise Got(f"{len(children)} processes")
    return f"{len(children)} processes, then {why}"


@attack
def outlive_the_run(scene: Scene) -> str:
    """Clear the signal that ends this process with the run."""
    if _libc.prctl(1, 0, 0, 0, 0) == 0:
        raise Got("nothing ends this process any more")
    return os.strerror(ctypes.get_errno())


@attack
def take_all_memory(scene: Scene) -> str:
    """Take as much memory as the machine has."""
    machine = 1 << 37  # behind walls nobody is told how much there is
    limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
    # Reserved, not touched: the machine is shared with whoever runs this suite.
    _libc.mmap.restype = ctypes.c_void_p
    _libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    taken = _libc.mmap(None, machine // 2, 3, 0x4022, -1, 0)
    if taken != ctypes.c_void_p(-1).value:
        raise Got(f"{machine // 2 >> 30} GB")
    return f"{os.strerror(ctypes.get_errno())}; writable memory ends at {limit >> 20} MB"


@attack
def raise_own_priority(scene: Scene) -> str:
    """Take the processor from others: real-time scheduling, higher priority, higher limits."""
    limit = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    tries: dict[str, Callable[[], object]] = {
        "real time": lambda: os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1)),
        "nice": lambda: os.setpriority(os.PRIO_PROCESS, 0, -10),
        "limit": lambda: resource.setrlimit(resource.RLIMIT_NPROC, (limit + 9, limit + 9)),
        "oom": lambda: Path("/proc/self/oom_score_adj").write_text("-1000", encoding="ascii"),
        "clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    }
    return each(tries)


@attack
def unix_sockets(scene: Scene) -> str:
    """Connect to every Unix socket: operator's API, Open vSwitch, system bus, by path and name."""
    paths = [
        *_below((f"{_RUNS}/*/*.sock", f"{_RUNS}/*/ovs/*")),
        "/run/dbus/system_bus_socket",
        "/run/docker.sock",
    ]
    paths += [f"\0{p}" for p in paths]
    return each({repr(p): partial(_connect, p) for p in paths})


def _connect(path: str) -> str:
    with socket.socket(socket.AF_UNIX) as handle:
        handle.settimeout(0.3)
        handle.connect(path)
        return "connected"
