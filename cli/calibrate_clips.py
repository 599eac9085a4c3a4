"""Measure what transcoding costs on this machine, and write it down as a scenario."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from emulation.calibration.transcoding import Fit, fit, measure, scenario_text, steps
from emulation.host.capabilities import probe
from model.errors import UserError, as_user_error
from model.scenario import Scenario
from model.scenario.load import load_scenario
from model.shipped_scenarios import SCENARIO_FOLDER
from records.ownership import give_to_user
from records.streams import one_line, say


def calibrate_clips(name: str, out: Path | None) -> int:
    """Measure, print a line for each representation, write the file; returns the exit status."""
    scenario = load_scenario(name)
    count = steps(scenario)
    path = out or Path(f"{scenario.name}-here.yaml")
    extended = _extended(scenario, path)
    ffmpeg = probe()["ffmpeg"]
    if not ffmpeg.ok:
        raise UserError(f"{ffmpeg.detail}; {ffmpeg.follows}")
    with click.progressbar(
        length=count, label="transcoding", item_show_func=lambda what: what, file=sys.stderr
    ) as bar:
        fits = fit(measure(scenario, lambda what: bar.update(1, what)))
    for found in fits:
        say(_line(found))
    with as_user_error(f"{path}: cannot be written"):
        path.write_text(scenario_text(scenario, fits, extended), encoding="utf-8")
        give_to_user(path)
    say(f"written: {one_line(path)}; run it with: sudo ./lab run {one_line(path)}")
    return 0


def _extended(scenario: Scenario, out: Path) -> str:
    """The scenario as ``out`` has to name it: a shipped one's name, else the path from there.

    Raises ``UserError`` if ``out`` is the scenario's own file, which would extend itself.
    """
    own = Path(scenario.files[0])
    if own.parent == SCENARIO_FOLDER.resolve():
        return own.stem
    if own == out.resolve():
        raise UserError(f"{out}: is the scenario's own file; name another with --out")
    relative = os.path.relpath(own, out.resolve().parent)
    return relative if "/" in relative else f"./{relative}"


def _line(found: Fit) -> str:
    return (
        f"{found.name:<10} CPU {found.start_s:.3f} s + {found.slope:.4f} s per second of clip, "
        f"within {found.error_s:.3f} s"
    )
