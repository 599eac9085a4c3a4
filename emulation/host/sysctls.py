"""The settings of the kernel in the namespaces of a run, written and read back.

What a run switches off may be absent: a kernel with ``ipv6.disable=1`` has no IPv6 to switch off,
and another kernel may have dropped an old setting of TCP. What a run needs must be there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from model.errors import UserError

_NO_IPV6 = {  # no packet that no part of the run sent may wait in a queue
    "net.ipv6.conf.all.disable_ipv6": "1",
    "net.ipv6.conf.default.disable_ipv6": "1",
}
OFF_IN_FABRIC = _NO_IPV6
OFF_IN_HOSTS = {
    "net.ipv4.tcp_slow_start_after_idle": "0",  # connections are reused between tasks
    "net.ipv4.tcp_autocorking": "0",
    # No tail-loss probes: a tail that waits in a queue is not lost. ``fabric`` says at what price.
    "net.ipv4.tcp_early_retrans": "0",
    "net.ipv4.tcp_no_metrics_save": "1",  # one transfer must not shape the next
    "net.ipv4.conf.all.accept_redirects": "0",
    "net.ipv4.conf.all.rp_filter": "0",
    **_NO_IPV6,
}
"""What hosts do without; where the kernel has no such setting, there is nothing to switch off."""

NEEDED_IN_HOSTS = {
    # The kernel's default may be BBR, which paces by its own model of the path; Reno is the one
    # that every namespace may choose.
    "net.ipv4.tcp_congestion_control": "reno",
    "net.ipv4.ping_group_range": "0 2147483647",  # pings without any privilege
    "net.ipv4.tcp_rmem": "4096 16777216 33554432",  # a window that never limits a paced transfer
    "net.ipv4.tcp_wmem": "4096 262144 16777216",
}
"""What a host cannot do without."""

_ROOT = "/proc/sys"


class SysctlError(UserError):
    """A setting of the kernel that a run needs and this machine refuses or has not."""


def write(namespace: str, needed: Mapping[str, str], off: Mapping[str, str]) -> None:
    """Write settings of a named namespace and read each of them back.

    Args:
        namespace: name of a network namespace.
        needed: name, such as ``net.ipv4.tcp_rmem``, → value; the kernel must have it.
        off: the same, of what is to be switched off; the kernel may lack it.

    Raises ``SysctlError`` naming the setting, what the kernel says and what to do.
    """
    from emulation.host.netlink import inside  # the probe of the machine does without netlink

    machines = {name: _read(name) for name in (*needed, *off)}

    def write_all() -> None:
        for name, value in needed.items():
            if not _set(name, value, machines[name]):
                raise SysctlError(f"this kernel has no {name}, which a run sets to '{value}'")
        for name, value in off.items():
            _set(name, value, machines[name])

    inside(namespace, write_all)


def trial() -> str:
    """Return a shell command that tries every setting in the namespace in which it runs.

    Its status is 0 if a run could write what it needs; its output names the first that it cannot.
    """
    must = [f"echo '{value}' >{_path(name)}" for name, value in NEEDED_IN_HOSTS.items()]
    may = [
        f"{{ [ ! -e {_path(name)} ] || echo '{value}' >{_path(name)}; }}"
        for name, value in (OFF_IN_HOSTS | OFF_IN_FABRIC).items()
    ]
    return " && ".join([*must, *may])


def _path(name: str) -> Path:
    return Path(_ROOT, *name.split("."))


def _read(name: str) -> str | None:
    """The words of a setting in the namespace of the calling thread; None where there is none."""
    try:
        return " ".join(_path(name).read_text(encoding="ascii").split())
    except FileNotFoundError:
        return None


def _set(name: str, value: str, machines: str | None) -> bool:
    """Set one; False where the kernel has no such setting at all.

    ``machines`` is its value outside the run's namespaces: a kernel may have a setting for the
    whole machine only, which a run does not change.
    """
    had = _read(name)
    if had is None:
        if machines not in (None, value):
            raise SysctlError(
                f"{name} is '{machines}' for the whole machine: this kernel has it in no namespace "
                f"of its own, and a run needs '{value}'; to change it: sysctl -w '{name}={value}'"
            )
        return machines is not None
    if had == value:  # which a container with a read-only /proc/sys may have, too
        return True
    try:
        _path(name).write_text(value, encoding="ascii")
    except OSError as error:
        raise SysctlError(
            f"the kernel does not take {name} = '{value}' in a namespace: {error.strerror} "
            f"(it has '{had}'); a container needs --privileged"
        ) from error
    if _read(name) != value:
        raise SysctlError(f"the kernel made '{_read(name)}' of {name} = '{value}'")
    return True
