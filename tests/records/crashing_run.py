"""A run that writes for ever, to be killed: ``python -m tests.records.crashing_run FOLDER``."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from model.scenario.load import load_scenario
from records.writer import ResultWriter, RunInfo


def main(folder: Path) -> None:
    info = RunInfo(load_scenario("mini", {"slots": 1_000_000}), "local", 1, "simulation")
    writer = ResultWriter(folder, info, flush_s=0.05)
    for task in range(10**9):
        born = task * 0.01
        # Before its row: a kill may fall between the two, and the log is what loses nothing.
        writer.log("task", task=task)
        writer.append(
            "tasks",
            [
                {
                    "task": task,
                    "device": "c1d1",
                    "born_s": born,
                    "work_ghz_s": 1.0,
                    "data_mb": 1.0,
                    "outcome": "unfinished",
                }
            ],
        )
        writer.append("units", [{"slot": task, "time_s": born, "unit": "e1", "kind": "edge"}])
        time.sleep(0.001)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
