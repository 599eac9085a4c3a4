"""What this machine can emulate, tried for real and leaving nothing behind.

A network namespace, the queueing disciplines and Open vSwitch's kernel side are asked of the kernel
itself, since a machine may have the programs and not the modules. Trials happen in an unnamed
network namespace that ends with the process that made it.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from emulation.host import sysctls
from emulation.host.ledger import CGROUPS

TIMEOUT_S = 20.0
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
"""Where the network's programs are, which a plain user's PATH may lack."""

NEEDED_CAPABILITIES = {"CAP_NET_ADMIN": 12, "CAP_NET_RAW": 13, "CAP_SYS_ADMIN": 21}
"""Linux capabilities of a run and their bits: links, packet captures, namespaces."""

NEEDED_PACKAGES = (
    "mininet",
    "ryu",
    "os-ken",
    "pyroute2",
    "numpy",
    "networkx",
    "pydantic",
    "pyarrow",
)

MIN_FFMPEG = (5, 0)
"""Oldest FFmpeg that is supported: Debian 12 has 5.1, Ubuntu 24.04 has 6.1."""
MIN_CORES = 2
MIN_MEMORY_GB = 2.0
MIN_DISK_GB = 1.0

OPENFLOW_PORT = 6653
"""Where a controller listens unless it is told otherwise."""

TRIALS = {
    "sysctl": sysctls.trial(),
    "veth": "ip link add v0 type veth peer name v1 && ip link set v0 up",
    "htb": "tc qdisc replace dev v0 root htb",
    "bfifo": "tc qdisc replace dev v0 root bfifo limit 10000",
    "tbf": "tc qdisc replace dev v0 root tbf rate 1mbit burst 10000 limit 10000",
    "netem": "tc qdisc replace dev v0 root netem delay 1ms",
    "fq": "tc qdisc replace dev v0 root fq",
    "ingress": "tc qdisc add dev v0 ingress",
    "u32": "tc filter add dev v0 parent ffff: protocol all u32 match u32 0 0 flowid 1:1",
    "mirred": "tc filter add dev v0 parent ffff: protocol all u32 match u32 0 0 "
    "action mirred egress redirect dev v1",
}
"""What is tried in a namespace, in this order: each makes what the later ones build on."""

CONSEQUENCES = {
    "privilege": "networks cannot be emulated; simulate instead, or use sudo",
    "namespaces": "networks cannot be emulated on this machine; the simulator works",
    "sysctl": "namespaces cannot be configured, so runs refuse to start; a container needs "
    "--privileged",
    "veth": "no link can be made, so networks cannot be emulated; the simulator works",
    "htb": "the rate of a link cannot be limited, so runs refuse to start",
    "bfifo": "a link's buffer cannot be limited in bytes, so runs refuse to start",
    "tbf": "nothing: links are shaped with htb",
    "netem": "delay and loss cannot be emulated; scenarios that ask for them need --without-netem",
    "fq": "nothing: senders are paced by their sockets",
    "ingress": "uplinks of hosts cannot be queued in the network, so runs refuse to start",
    "u32": "uplinks of hosts cannot be queued in the network, so runs refuse to start",
    "mirred": "uplinks of hosts cannot be queued in the network, so runs refuse to start",
    "mininet": "networks cannot be emulated; run: sudo ./lab setup",
    "free port": "nothing for a run, whose namespace has all ports to itself; a controller for "
    "stock mn needs another one (--listen)",
    "openvswitch": "networks have no base stations and cannot be emulated; run: sudo ./lab setup",
    "ffmpeg": "clips cannot be transcoded, so livecast cannot be emulated; run: sudo ./lab setup",
    "kernel datapath": "switches forward in user space: slower, and no fault of the links",
    "cgroups": "computing shares are set by priority instead: units are as fast as others let them",
    "python packages": "parts of the lab cannot start; run: ./lab setup",
    "cores": "device processes compete for the processor; watch a run's fidelity verdict",
    "memory": "large scenarios may be killed; choose fewer devices",
    "disk": "results may not fit",
    "ping": "a plain user's processes cannot ping; runs as root can",
    "tcpdump": "packets cannot be captured",
}
"""What follows when something is missing, by the name of the finding."""

REQUIRED_TO_RUN = (
    "privilege",
    "namespaces",
    "sysctl",
    "veth",
    "htb",
    "bfifo",
    "ingress",
    "u32",
    "mirred",
    "mininet",
    "openvswitch",
    "python packages",
)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a run may need: whether the machine has it, and what follows if not."""

    name: str
    ok: bool
    detail: str
    follows: str = ""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Everything that was found, in the order of the probe."""

    findings: tuple[Finding, ...]

    def __getitem__(self, name: str) -> Finding:
        """Return the finding of that name; KeyError where there is none."""
        for finding in self.findings:
            if finding.name == name:
                return finding
        raise KeyError(name)

    def missing(self, names: Sequence[str]) -> list[Finding]:
        """Return those of the named findings that are not ok."""
        return [self[name] for name in names if not self[name].ok]

    @property
    def can_run(self) -> bool:
        """Say whether a network can be emulated at all."""
        return not self.missing(REQUIRED_TO_RUN)

    @property
    def datapath(self) -> str:
        """Return Mininet's name of the faster datapath there is: ``kernel`` or ``user``."""
        return "kernel" if self["kernel datapath"].ok else "user"

    def as_dict(self) -> dict[str, Any]:
        """Return it for JSON."""
        return {
            "can_run": self.can_run,
            "datapath": self.datapath,
            "findings": [asdict(finding) for finding in self.findings],
        }


def probe(folder: Path | None = None) -> Capabilities:
    """Look at this machine.

    Args:
        folder: where results will be written; its file system's free space counts. Default: here.
    """
    privilege = _privilege()
    trials = _try_in_namespace(privilege.ok)
    findings = [
        privilege,
        *_namespace_findings(trials),
        _program("mininet", "mn", ["mn", "--version"]),
        _program("openvswitch", "ovs-vswitchd", ["ovs-vswitchd", "--version"]),
        _ffmpeg(),
        _kernel_datapath(privilege.ok),
        _free_port(OPENFLOW_PORT),
        _cgroups(Path("/proc/self/mounts"), CGROUPS),
        _python_packages(NEEDED_PACKAGES),
        *_size(folder or Path.cwd()),
        _ping(Path("/proc/sys/net/ipv4/ping_group_range"), os.getgid()),
        _program("tcpdump", "tcpdump", ["tcpdump", "--version"]),
    ]
    return Capabilities(tuple(findings))


def finding(name: str, ok: bool, detail: str) -> Finding:
    """Return a finding with what follows from it; nothing follows from what is there."""
    return Finding(name, ok, detail, "" if ok else CONSEQUENCES[name])


def _call(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a program that may be absent (status 127) or hang (status 124)."""
    environment = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SBIN}", "LC_ALL": "C"}
    try:
        return subprocess.run(
            command,
            env=environment,
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        return subprocess.CompletedProcess(command, 127, "", str(error))
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 124, "", f"no answer in {TIMEOUT_S:.0f} s")


def _privilege() -> Finding:
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    lacking = lacking_capabilities(status)
    user = "root" if os.geteuid() == 0 else f"uid {os.geteuid()}"
    detail = f"{user}, without {', '.join(lacking)}" if lacking else user
    return finding("privilege", not lacking, detail)


def lacking_capabilities(status: str) -> list[str]:
    """Return the needed Linux capabilities that a process lacks, from its ``/proc/PID/status``."""
    lines = (line.partition(":") for line in status.splitlines())
    effective = next((int(value, 16) for key, _, value in lines if key == "CapEff"), 0)
    return [name for name, bit in NEEDED_CAPABILITIES.items() if not effective >> bit & 1]


def _try_in_namespace(privileged: bool) -> dict[str, str]:
    """Run the trials in a throw-away network namespace; see `parse_trials` for what returns."""
    script = ["echo namespaces:"]
    for name, command in TRIALS.items():
        script.append(
            f"words=$( ({command}) 2>&1 ) && echo {name}: || echo {name}: ${{words:-failed}}"
        )
    # A plain user may still learn what the kernel has, in a user namespace where that is allowed.
    wrapper = ["unshare", "--net"] if privileged else ["unshare", "--user", "-r", "--net"]
    done = _call([*wrapper, "sh", "-c", "\n".join(script)])
    if "namespaces:" not in done.stdout:
        return {"namespaces": done.stderr.strip() or f"status {done.returncode}"}
    return parse_trials(done.stdout)


def parse_trials(output: str) -> dict[str, str]:
    """Return name → complaint (empty where it worked) from the trial script's output."""
    rows = (line.partition(":") for line in output.splitlines() if ":" in line)
    known = {"namespaces", *TRIALS}
    return {name: words.strip() for name, _, words in rows if name in known}


def _namespace_findings(trials: dict[str, str]) -> Iterator[Finding]:
    for name in ("namespaces", *TRIALS):
        complaint = trials.get(name, "not tried")
        yield finding(name, not complaint, complaint or "works")


def _program(name: str, program: str, command: Sequence[str]) -> Finding:
    path = shutil.which(program, path=f"{os.environ.get('PATH', '')}:{SBIN}")
    if path is None:
        return finding(name, False, f"{program} is not installed")
    done = _call(command)
    # Mininet prints its version to stderr.
    words = (done.stdout or done.stderr).strip().splitlines()
    return finding(name, done.returncode == 0, words[0] if words else path)


def _ffmpeg() -> Finding:
    """Look for FFmpeg, not too old, and for its H.264 coder."""
    if shutil.which("ffmpeg") is None or shutil.which("ffprobe") is None:
        return finding("ffmpeg", False, "ffmpeg or ffprobe is not installed")
    said = _call(["ffmpeg", "-version"]).stdout
    found = parse_ffmpeg_version(said)
    if found is None or found < MIN_FFMPEG:
        wanted = ".".join(map(str, MIN_FFMPEG))
        return finding("ffmpeg", False, f"{said.partition(' Copyright')[0]}: {wanted} is needed")
    coder = _call(["ffmpeg", "-hide_banner", "-h", "encoder=libx264"]).stdout
    ok = "Encoder libx264" in coder
    return finding("ffmpeg", ok, said.split("\n")[0].partition(" Copyright")[0] if ok
                   else "it cannot code H.264 (libx264)")  # fmt: skip


def parse_ffmpeg_version(said: str) -> tuple[int, int] | None:
    """``(5, 1)`` of what ``ffmpeg -version`` prints; None for a build without a number."""
    found = re.match(r"ffmpeg version n?(\d+)\.(\d+)", said)
    return (int(found[1]), int(found[2])) if found else None


def _kernel_datapath(privileged: bool) -> Finding:
    if privileged:
        # Quiet: on kernels without modules this fails, and the question below answers it.
        _call(["modprobe", "--quiet", "openvswitch"])
    known = _call(["genl", "ctrl", "get", "name", "ovs_datapath"])
    ok = known.returncode == 0 and "ovs_datapath" in known.stdout
    return finding("kernel datapath", ok, "kernel" if ok else "user space only")


def _free_port(number: int) -> Finding:
    """Look whether a controller for stock Mininet could listen here."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(("127.0.0.1", number))
        except OSError as error:
            return finding("free port", False, f"{number}: {error.strerror}")
    return finding("free port", True, f"{number} (OpenFlow)")


def _cgroups(mounts: Path, mounted: Path) -> Finding:
    controllers = mounted / "cgroup.controllers"
    words = controllers.read_text().split() if controllers.exists() else []
    major, names = parse_cgroup_mounts(mounts.read_text(), words)
    detail = f"v{major}: {' '.join(names)}" if major else "not mounted"
    return finding("cgroups", {"cpu", "memory"} <= set(names), detail)


def parse_cgroup_mounts(mounts: str, v2_controllers: Sequence[str]) -> tuple[int, list[str]]:
    """Return cgroup's version (0: none) and the controllers it offers.

    Args:
        mounts: the text of ``/proc/self/mounts``.
        v2_controllers: what the root of a version 2 hierarchy lists, if there is one.
    """
    rows = [line.split() for line in mounts.splitlines()]
    v1 = {option for row in rows if row[2] == "cgroup" for option in row[3].split(",")}
    if any(row[2] == "cgroup" for row in rows):
        plain = {"rw", "ro", "nosuid", "nodev", "noexec", "relatime"}
        return 1, sorted(option for option in v1 - plain if "=" not in option)
    if any(row[2] == "cgroup2" for row in rows):
        return 2, sorted(v2_controllers)
    return 0, []


def _python_packages(names: Sequence[str]) -> Finding:
    def is_installed(name: str) -> bool:
        try:
            return bool(version(name))
        except PackageNotFoundError:
            return False

    lacking = [name for name in names if not is_installed(name)]
    detail = f"missing: {', '.join(lacking)}" if lacking else f"all {len(names)}"
    return finding("python packages", not lacking, detail)


def _size(folder: Path) -> Iterator[Finding]:
    cores = len(os.sched_getaffinity(0))
    memory_gb = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    disk_gb = shutil.disk_usage(folder).free / 1e9
    yield finding("cores", cores >= MIN_CORES, str(cores))
    yield finding("memory", memory_gb >= MIN_MEMORY_GB, f"{memory_gb:.1f} GB")
    yield finding("disk", disk_gb >= MIN_DISK_GB, f"{disk_gb:.0f} GB free in {folder}")


def _ping(setting: Path, group: int) -> Finding:
    """Look whether unprivileged ICMP sockets are open to this group, or can be opened."""
    try:
        low, high = (int(word) for word in setting.read_text().split())
    except (OSError, ValueError):
        return finding("ping", False, f"{setting} cannot be read")
    if low <= group <= high:
        return finding("ping", True, "open to plain processes")
    writable = os.access(setting, os.W_OK)
    return finding("ping", writable, "closed, can be opened" if writable else "closed")
