"""What a run can be asked for, on the command line and in code."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from emulation.completions import (
    offer_parameters,
    offer_policies,
    offer_scenarios,
    offer_settings,
)
from model.errors import UserError
from model.random_streams import MAX_SEED

if TYPE_CHECKING:
    from emulation.judged import HandedIn
    from emulation.network.openvswitch import Datapath
    from model.aliases import OpenFlowLibrary
    from model.scenario import LinkSpec, Scenario

# What knows of scenarios takes a while to load, which the help of a verb need not wait for.

MIN_SPEEDUP, MAX_SPEEDUP = 0.1, 100.0


@dataclass(frozen=True, slots=True)
class RunOptions:
    """A run, complete.

    Attributes:
        scenario: what is emulated.
        policy: name of a rule or learner, or ``package.module:Class``.
        policy_params: keyword arguments of the policy.
        seed: draws tasks, F_u(t) and whatever the policy draws.
        speedup: k: a slot lasts slot_s / k real seconds.
        openflow: which OpenFlow library the controller uses.
        out: folder that the result folder is made in.
        pcap: links, link classes or ``all`` whose packets are captured.
        pcap_snaplen: bytes that are captured of each packet.
        pcap_size_mb: what a capture file may grow to before its oldest packets are overwritten.
        without_netem: leave out delay and loss where the kernel cannot emulate them.
        datapath: of Open vSwitch: ``system`` (kernel) or ``netdev`` (user space).
        stepped: decisions come slot by slot from a caller (``emulation.env``), and ``policy`` is
            but the name under which the result is filed.
        strict: whether a verdict ``invalid`` is an error.
        show_all: whether every metric is printed at the end.
        judged: what was handed in before the seed was drawn, which is published at the end; None
            where the seed is known beforehand.
        command_line: as typed, for the manifest.
        origin: what the run is part of, further entries of the manifest.
    """

    scenario: Scenario
    policy: str = "self-biased"
    policy_params: dict[str, Any] = field(default_factory=dict)
    seed: int = 1
    speedup: float = 1.0
    openflow: OpenFlowLibrary = "ryu"
    out: Path = Path("results")
    pcap: tuple[str, ...] = ()
    pcap_snaplen: int = 128
    pcap_size_mb: int = 200
    without_netem: bool = False
    datapath: Datapath = "netdev"
    stepped: bool = False
    strict: bool = False
    show_all: bool = False
    judged: HandedIn | None = None
    command_line: tuple[str, ...] = ()
    origin: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Raise ``UserError`` for numbers that no run has, from the command line or from Python."""
        if not MIN_SPEEDUP <= self.speedup <= MAX_SPEEDUP:
            raise UserError(
                f"speedup={self.speedup}: must be a number from {MIN_SPEEDUP:g} to {MAX_SPEEDUP:g}"
            )
        if not 0 <= self.seed <= MAX_SEED:
            raise UserError(f"seed={self.seed}: must be a whole number from 0 to {MAX_SEED}")


def needs_netem(scenario: Scenario) -> bool:
    """Whether some link that exists in the scenario has a delay or loss."""
    from model.network import build_network

    specs = [k.spec for k in build_network(scenario).shaped_links if k.spec is not None]
    return any(spec.delay_ms > 0 or spec.loss_percent > 0 for spec in specs)


def without_netem(scenario: Scenario) -> Scenario:
    """The scenario with neither delay nor loss on any link."""
    ideal = {"delay_ms": 0.0, "loss_percent": 0.0}
    from model.scenario import LINK_CLASSES

    classes: dict[str, LinkSpec] = {
        name: scenario.network.link(name).model_copy(update=ideal) for name in LINK_CLASSES
    }
    network = scenario.network.model_copy(update=classes)
    return scenario.model_copy(update={"network": network})


class FiniteRange(click.FloatRange):
    """A range of numbers that NaN is not in, which compares with no bound."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number. Raises ``click.BadParameter`` for what is none in the range."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number.", param, ctx)
        return number


_OPTIONS = (
    click.argument("scenario", metavar="SCENARIO", shell_complete=offer_scenarios),
    click.option("--policy", default=None, shell_complete=offer_policies,
                 help="A policy's name, or package.module:Class for one of your own.  "
                 "[default: m2ppo where it was trained for the scenario, else self-biased]"),
    click.option("--param", "params", multiple=True, metavar="KEY=VALUE",
                 shell_complete=offer_parameters,
                 help="Parameter of the policy; may be repeated."),
    click.option("--seed", type=click.IntRange(0, MAX_SEED), default=1, show_default=True,
                 help="Draws the tasks and the devices' resources; same seed, same trace."),
    click.option("--slots", type=click.IntRange(1), default=None,
                 help="Length in slots of 1 s.  [default: the scenario's, 300]"),
    click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
                 shell_complete=offer_settings,
                 help="Override a value of the scenario, e.g. network.e2d.rate_mbps=5."),
    click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=Path("results"),
                 show_default=True, help="Folder for result folders."),
    click.option("--all", "show_all", is_flag=True,
                 help="Show every metric at the end, not only those that fit a screen."),
)  # fmt: skip
_EMULATION_OPTIONS = (
    click.option("--speedup", type=FiniteRange(MIN_SPEEDUP, MAX_SPEEDUP), default=1.0,
                 show_default=True,
                 help="Compress time: a slot lasts 1/k s, a MB is 10^6/k bytes; rates stay."),
    click.option("--openflow", type=click.Choice(["ryu", "os-ken"]), default="ryu",
                 show_default=True, help="OpenFlow library of the controller."),
    click.option("--pcap", multiple=True, metavar="LINK",
                 help="Capture packets of a link (bs1-e1, bs1>e1), a class (access) or all; "
                 "repeatable. Each link costs two processes, 4 MB of memory: 400 MB for all "
                 "of case3."),
    click.option("--pcap-snaplen", type=click.IntRange(64, 65535), default=128, show_default=True,
                 help="Bytes captured of each packet; 128 hold all headers, a task's included."),
    click.option("--pcap-size-mb", type=click.IntRange(2, 100_000), default=200, show_default=True,
                 help="Size of a capture file at which its oldest packets are overwritten."),
    click.option("--without-netem", is_flag=True,
                 help="Leave out delay and loss where this kernel lacks netem; it is recorded."),
    click.option("--judged", is_flag=True,
                 help="Draw the seed, 128 bits, after the policy's files were hashed, and publish "
                 "it after the end; every wall around policies is required."),
    click.option("--strict", is_flag=True,
                 help="Exit status 3 if the run's own fidelity verdict is 'invalid'."),
)  # fmt: skip


def common_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options of a run in either world."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def emulation_only() -> frozenset[str]:
    """Return the names of the options that only the emulation has."""
    made = click.command()(emulation_options(lambda: None))
    return frozenset(str(parameter.name) for parameter in made.params)


def emulation_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Options that only the emulation has."""
    for option in reversed(_EMULATION_OPTIONS):
        command = option(command)
    return command
