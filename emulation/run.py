"""Emulate a scenario: ``sudo python -m emulation.run case3``.

Run with any Python: what is missing is installed and the project's own environment entered first.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

_ROOT = Path(__file__).resolve().parent.parent

if __name__ == "__main__" and os.environ.get("LAB_ENTERED") != sys.prefix:
    # Typed as `python -m emulation.run`, this may be the system's Python, which lacks our packages,
    # among variables that are meant for other programs.
    os.execv(_ROOT / "lab", ["lab", "python", "-m", "emulation.run", *sys.argv[1:]])  # noqa: S606

if __name__ == "__main__" and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # Until there is a run to be ended in order, Ctrl-C needs no traceback.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

# ruff: noqa: E402 - what follows needs the environment
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from emulation.host.capabilities import REQUIRED_TO_RUN, Capabilities, probe
from emulation.judged import HandedIn, draw_seed, require_walls
from emulation.options import (
    RunOptions,
    common_options,
    emulation_options,
    needs_netem,
    without_netem,
)
from emulation.orchestrator.session import run_session
from emulation.protocol.link_limits import require_buffers, require_first_exchanges
from emulation.sandbox.policy_description import require_parameters
from emulation.sandbox.policy_files import (
    hidden_folders,
    policy_file,
    require_files_of_policy,
    user_folder,
    with_absolute_files,
)
from model.errors import UserError
from model.network import build_network
from model.scenario import Scenario
from model.scenario.load import load_scenario, parse_assignments, parse_overrides
from records.answers import status_of
from records.streams import run_guarded, say
from rl.policies import canonical, checkpoint_note, completed, create, default_policy

MAX_HOSTS = 500
"""Of an emulation: each is several processes."""


def require_machine(options: RunOptions) -> RunOptions:
    """Options that this machine can carry out.

    Raises ``UserError`` saying what it lacks for an emulation, and what to do.
    """
    hosts = len(build_network(options.scenario).units)
    if hosts > MAX_HOSTS:
        raise UserError(
            f"scenario {options.scenario.name} has {hosts} hosts; at most {MAX_HOSTS} can be "
            "emulated (--world simulator takes more)"
        )
    require_buffers(options.scenario, options.speedup)
    machine = probe()
    missing = machine.missing(REQUIRED_TO_RUN)
    if missing:
        raise UserError(
            f"this machine cannot emulate now: {missing[0].name}: {missing[0].detail}; "
            f"{missing[0].follows} ('./lab check' tells more)"
        )
    _require_real_work(options, machine)
    options = replace(options, datapath="system" if machine.datapath == "kernel" else "netdev")
    if not machine["netem"].ok and needs_netem(options.scenario):
        if not options.without_netem:
            raise UserError(
                f"scenario {options.scenario.name} asks for delay or loss, for which this kernel "
                "lacks netem; add --without-netem to leave them out (it is recorded)"
            )
        options = replace(options, scenario=without_netem(options.scenario))
    require_first_exchanges(options.scenario, build_network(options.scenario), options.speedup)
    return options


def _require_real_work(options: RunOptions, machine: Capabilities) -> None:
    """Real work takes FFmpeg, and real time."""
    if options.scenario.compute.work == "timed":
        return
    ffmpeg = machine["ffmpeg"]
    if not ffmpeg.ok:
        raise UserError(
            f"scenario {options.scenario.name} transcodes with FFmpeg: {ffmpeg.detail}; "
            f"{ffmpeg.follows}"
        )
    if options.speedup != 1.0:
        raise UserError(
            f"scenario {options.scenario.name} transcodes with FFmpeg, which takes the time that "
            "it takes: --speedup must be 1"
        )


def require_policy(options: RunOptions) -> RunOptions:
    """The options with the policy's parameters complete: a learner has a checkpoint.

    Raises ``UserError`` for a policy that does not exist or cannot live on a device.

    A user's own module is not imported here, as root, but in a process behind a policy's walls.
    """
    if ":" in options.policy:
        if policy_file(options.policy, user_folder()) is None:
            raise UserError(
                f"policy '{options.policy}': there is no such module here or in the project"
            )
        given = canonical(options.policy, options.policy_params)
        params = with_absolute_files(options.policy, given)
        hidden = hidden_folders(options.out, options.scenario.name)
        require_files_of_policy(options.policy, params, hidden)
        _require_blind(options.policy, require_parameters(options.policy, params).needs)
        return replace(options, policy_params=params)
    params = completed(options.policy, options.policy_params, options.scenario)
    _require_blind(options.policy, create(options.policy, params).needs)
    if "checkpoint" not in options.policy_params:
        _tell_checkpoint(options.policy, params, options.scenario)
    return replace(options, policy_params=params)


def _require_blind(policy: str, needs: str) -> None:
    if needs != "observation":
        raise UserError(
            f"policy '{policy}' decides by the network's hidden state, which no device of "
            "an emulation has; './lab run SCENARIO --world simulator' can run it"
        )


def _tell_checkpoint(policy: str, params: dict[str, Any], scenario: Scenario) -> None:
    """Print which checkpoint the lab chose for a learner, on standard error."""
    if note := checkpoint_note(policy, params, scenario):
        say(note, err=True)


def emulate(
    scenario: str, *, on_folder: Callable[[Path], None] = lambda _: None, **asked: Any
) -> int:
    """Run one emulation as asked on the command line; returns the exit status.

    ``on_folder`` gets the result's folder as soon as it is there.
    """
    settings = parse_overrides(asked.pop("settings"))
    if (slots := asked.pop("slots")) is not None:
        settings["slots"] = slots
    resolved = load_scenario(scenario, settings)
    judged = asked.pop("judged")
    if judged and _is_given("seed"):
        raise click.UsageError(
            "--seed: no meaning with --judged: the seed is drawn after the policy was handed in."
        )
    options = RunOptions(
        scenario=resolved,
        policy=asked.pop("policy") or default_policy(resolved),
        policy_params=parse_assignments(asked.pop("params"), "--param"),
        command_line=tuple(sys.argv),
        **asked,
    )
    options = require_policy(options)
    if judged:
        require_walls()
        handed_in = HandedIn.of(options.policy, options.policy_params)
        # Its class has been read, behind walls, and no more; from here on it may not change.
        options = replace(options, judged=handed_in, seed=draw_seed())
    return run_session(require_machine(options), on_folder=on_folder)


def _is_given(option: str) -> bool:
    source = click.get_current_context().get_parameter_source(option)
    return source is ParameterSource.COMMANDLINE


@click.command(name="emulation.run")
@common_options
@emulation_options
def main(**asked: Any) -> None:
    """Emulate SCENARIO over a real network: Open vSwitch, tc queues, one process per device.

    SCENARIO is a name from scenarios/ (case1, case2, case3, mini, …) or a YAML file. Ends with a
    table of what happened and the path of a result folder. Ctrl-C once stops cleanly and keeps the
    partial result; twice stops at once. Exit status: 0 done, 1 the run broke, 2 bad input, 3 not
    valid (--strict), 130 interrupted.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    leave(emulate(**asked))


def leave(status: int) -> NoReturn:
    """End the program when all is done and told: what Ctrl-C could still change is the status."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(status)


def _answer() -> int:
    return status_of(lambda: main(prog_name="python -m emulation.run", standalone_mode=False))


if __name__ == "__main__":
    run_guarded(_answer)
