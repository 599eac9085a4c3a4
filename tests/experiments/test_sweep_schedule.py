"""Carrying a sweep out: order, what is lost or fails, what is kept, and the index over it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from experiments.sweep.book import Book, ask, locked
from experiments.sweep.cell import Cell, RunCell
from experiments.sweep.execute import Job, Outcome, execute
from experiments.sweep.lanes import LOST, Ended
from experiments.sweep.pace import Pace
from experiments.sweep.plan import Plan, make_plan
from experiments.sweep.schedule import MOST_ATTEMPTS, Tally, carry_out
from experiments.sweep.spec import SweepFile
from metrics.summary import summarise
from model.errors import UserError
from records.reader import find_results, open_result

ROOT = Path(__file__).resolve().parents[2]
TEXT = """\
name: test
train:
  learners: {algorithms: [mappo], scenarios: [mini], seeds: 1-2, settings: {slots: 20}}
run:
  test:
    scenarios: [mini]
    policies: [own-edge, {policy: mappo, checkpoints: learners}]
    seeds: 0-2
    worlds: [simulator, emulation]
    set: {slots: 5}
"""


class Told:
    def __init__(self) -> None:
        self.begun_cells: list[Cell] = []
        self.ended_cells: list[tuple[Cell, Outcome]] = []
        self.losses: list[int] = []
        self.moments = 0

    def begun(self, cell: Cell) -> None:
        self.begun_cells.append(cell)

    def ended(self, cell: Cell, outcome: Outcome) -> None:
        self.ended_cells.append((cell, outcome))

    def passed(self) -> None:
        self.moments += 1

    def lost(self, _: Cell, attempt: int) -> None:
        self.losses.append(attempt)


class Pretending:
    """An executor with two places that does nothing and says what it is told to say."""

    def __init__(self, answer: Callable[[Cell], Outcome | None]):
        self._answer = answer
        self._running: list[Job] = []
        self.asked_to_stop = 0
        self.together: list[set[str]] = []

    def has_room(self, _: Cell) -> bool:
        return len(self._running) < 2

    def begin(self, job: Job, checkpoint: Path | None) -> None:
        needs = isinstance(job.cell, RunCell) and job.cell.trained is not None
        assert (checkpoint is not None) == needs
        self._running.append(job)
        self.together.append({j.cell.kind for j in self._running})

    def ended(self, timeout_s: float) -> list[Ended]:
        assert timeout_s > 0
        job = self._running.pop(0)
        return [(job.cell.key, self._answer(job.cell))]

    def ask_to_stop(self) -> None:
        self.asked_to_stop += 1

    def close(self, *, kill: bool) -> None:
        raise NotImplementedError


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    path = tmp_path / "test.yaml"
    path.write_text(TEXT)
    return make_plan(SweepFile(path))


def book_in(tmp_path: Path) -> Book:
    book = Book(tmp_path / "out")
    book.begin("test", TEXT)
    return book


def done(_: Cell) -> Outcome:
    return Outcome("done", seconds=1.0, result="x")


def carry(
    plan: Plan, book: Book, answer: Callable[[Cell], Outcome | None], **how: object
) -> tuple[Tally, Told, Pretending]:
    told, executor = Told(), Pretending(answer)
    make_job = partial(Job, sweep=plan.name)
    tally = carry_out(plan, book, executor, told, make_job, **how)  # type: ignore[arg-type]
    return tally, told, executor


def test_runs_wait_for_their_training_and_emulations_for_everything(
    tmp_path: Path, plan: Plan
) -> None:
    tally, told, executor = carry(plan, book_in(tmp_path), done)
    assert sorted(tally.done) == sorted(plan.cells)
    kinds = [c.kind for c in told.begun_cells]
    assert kinds[:2] == ["training", "training"]
    first = kinds.index("emulation")
    assert set(kinds[first:]) == {"emulation"}
    assert {"simulator", "emulation"} not in executor.together


def test_a_second_call_does_only_what_is_open(tmp_path: Path, plan: Plan) -> None:
    book = book_in(tmp_path)
    stop_after = iter([False] * 4 + [True] * 100)
    tally, _, executor = carry(plan, book, done, should_stop=lambda: next(stop_after))
    assert tally.stopped
    assert executor.asked_to_stop == 1
    assert 0 < len(tally.done) < len(plan.cells)
    again, told, _ = carry(plan, book, done)
    assert sorted([*tally.done, *again.done]) == sorted(plan.cells)
    assert not {c.key for c in told.begun_cells} & set(tally.done)


def test_a_lost_cell_comes_back_and_at_last_fails(tmp_path: Path, plan: Plan) -> None:
    victim = next(k for k, c in plan.cells.items() if c.policy == "own-edge")
    times = iter(range(100))

    def once(cell: Cell) -> Outcome | None:
        return LOST if cell.key == victim and next(times) == 0 else done(cell)

    tally, told, _ = carry(plan, book_in(tmp_path), once)
    assert told.losses == [1]
    assert victim in tally.done

    def always(cell: Cell) -> Outcome | None:
        return LOST if cell.key == victim else done(cell)

    other = Book(tmp_path / "other")
    other.begin("test", TEXT)
    tally, told, _ = carry(plan, other, always)
    assert tally.failed == [victim]
    assert len(told.losses) == MOST_ATTEMPTS - 1
    found = other.outcome(victim)
    assert found is not None
    assert "killed 3 times" in found.reason


def test_what_waits_for_a_failed_training_is_left_and_says_so(tmp_path: Path, plan: Plan) -> None:
    def answer(cell: Cell) -> Outcome:
        bad = cell.kind == "training" and cell.seed == 2
        return Outcome("failed", "no luck") if bad else done(cell)

    tally, _, _ = carry(plan, book_in(tmp_path), answer)
    assert len(tally.failed) == 1
    assert set(tally.left.values()) == {"train mappo mini seed 2 failed: no luck"}
    assert len(tally.left) == 6


def test_what_cannot_be_done_here_is_left(tmp_path: Path, plan: Plan) -> None:
    tally, told, _ = carry(
        plan, book_in(tmp_path), done, cannot=lambda c: "no" if c.kind == "emulation" else ""
    )
    assert set(tally.left.values()) == {"no"}
    assert "emulation" not in {c.kind for c in told.begun_cells}
    assert len(tally.done) + len(tally.left) == len(plan.cells)


def test_a_full_disk_stops_the_sweep_and_leaves_the_cell_open(tmp_path: Path, plan: Plan) -> None:
    book = book_in(tmp_path)
    with pytest.raises(UserError, match="disk full; the sweep stops here"):
        carry(plan, book, lambda _: Outcome("unwritable", "disk full"))
    assert not [k for k in plan.cells if book.outcome(k)]


def job(plan: Plan, policy: str, world: str = "simulator") -> Job:
    found = (c for c in plan.cells.values() if isinstance(c, RunCell))
    return Job(next(c for c in found if (c.policy, c.world) == (policy, world)), "test")


def test_the_index_says_what_the_results_say(tmp_path: Path, plan: Plan) -> None:
    book = book_in(tmp_path)
    mine = job(plan, "own-edge")
    book.note(mine.cell, execute(mine, book.cell_folder(mine.cell.key), None))
    index = book.write_index(plan)
    assert len(pq.read_table(index)) == len(plan.cells)
    names, rows = ask(index, "SELECT * FROM cells WHERE status = 'done'")
    row = dict(zip(names, rows[0], strict=True))
    assert len(rows) == 1
    result = open_result(book.folder / row["result"])
    assert [result.folder] == find_results(book.folder)
    summary = summarise(result)
    assert row["unit_delay"] == summary.unit_delay
    assert row["link_load_access"] == summary.link_load["access"]
    assert row["tasks_done"] == summary.tasks["done"]
    assert (row["devices"], row["slots"], row["seed"]) == (4, 5, mine.cell.seed)
    assert json.loads(row["settings"]) == {"slots": 5}
    assert result.manifest["sweep"]["cell"] == mine.cell.key
    assert dict(ask(index, "SELECT status, count(*) FROM cells GROUP BY 1")[1]) == {
        "done": 1, "open": len(plan.cells) - 1,
    }  # fmt: skip
    with pytest.raises(UserError, match="--query"):
        ask(index, "SELECT nonsense FROM cells")


def test_what_a_killed_attempt_left_is_replaced(tmp_path: Path, plan: Plan) -> None:
    book = book_in(tmp_path)
    mine = job(plan, "own-edge")
    folder = book.cell_folder(mine.cell.key)
    for _ in range(2):
        assert execute(mine, folder, None).status == "done"
        assert len(find_results(folder)) == 1


def test_a_damaged_note_opens_the_cell_again(tmp_path: Path, plan: Plan) -> None:
    book = book_in(tmp_path)
    key, cell = next(iter(plan.cells.items()))
    book.note(cell, done(cell))
    assert book.outcome(key) == done(cell)
    (book.cell_folder(key) / "cell.json").write_text('{"status": "do')
    assert book.outcome(key) is None


def test_cells_of_another_version_are_found_and_pruned(tmp_path: Path, plan: Plan) -> None:
    book = book_in(tmp_path)
    cell = next(iter(plan.cells.values()))
    book.note(cell, done(cell))
    old = book.folder / "cells" / "0123"
    old.mkdir()
    assert book.strangers(plan) == [old]
    assert book.prune(plan) == 1
    assert book.strangers(plan) == []
    assert book.outcome(cell.key) is not None


def test_a_folder_is_of_one_sweep(tmp_path: Path) -> None:
    book = book_in(tmp_path)
    book.begin("test", TEXT + "# changed\n")
    with pytest.raises(UserError, match="folder of another sweep"):
        book.begin("other", TEXT)
    assert (book.folder / "sweep.yaml").read_text().endswith("# changed\n")


def test_unwritable_places_are_told_from_faults_of_a_cell(tmp_path: Path, plan: Plan) -> None:
    mine = job(plan, "own-edge")
    (tmp_path / "file").write_text("")
    outcome = execute(mine, tmp_path / "file" / "below", None)
    assert outcome.status == "unwritable"
    assert "Not a directory" in outcome.reason
    with pytest.raises(UserError, match="cannot be written"), locked(tmp_path / "file" / "x"):
        pass


def test_what_a_policy_may_not_read_is_the_policy_s_fault(
    tmp_path: Path, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/some/model.bin")

    monkeypatch.setattr("experiments.simulated.simulate", forbidden)
    outcome = execute(job(plan, "own-edge"), tmp_path / "cell", None)
    assert (outcome.status, outcome.reason.partition(":")[0]) == ("failed", "PermissionError")


def other_process_locks(folder: Path, shard: str = "") -> str:
    code = (
        "import sys\nfrom pathlib import Path\nfrom experiments.sweep.book import locked\n"
        "from model.errors import UserError\n"
        "try:\n    with locked(Path(sys.argv[1]), sys.argv[2]): print('free')\n"
        "except UserError as error: print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(folder), shard]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment, timeout=60
    ).stdout.strip()


def test_one_sweep_at_a_time_but_shards_side_by_side(tmp_path: Path) -> None:
    with locked(tmp_path):
        said = other_process_locks(tmp_path)
        assert "a sweep is under way there" in said
        assert f"process {os.getpid()} on {os.uname().nodename}" in said
        assert "under way" in other_process_locks(tmp_path, "1/2")
    with locked(tmp_path, "1/2"):
        assert other_process_locks(tmp_path, "2/2") == "free"
        assert "under way" in other_process_locks(tmp_path, "1/2")
        assert "under way" in other_process_locks(tmp_path)
    assert other_process_locks(tmp_path) == "free"


def test_expectations_come_from_measured_cells(plan: Plan) -> None:
    cells = list(plan.cells.values())
    run = next(c for c in cells if c.kind == "simulator" and c.policy == "own-edge")
    emulation = next(c for c in cells if c.kind == "emulation")
    pace = Pace()
    assert pace.source(run) == "stated rate"
    assert pace.expect(emulation) > emulation.scenario.duration_s
    pace.learn(run, 4.0)
    assert pace.expect(run) == pytest.approx(4.0)
    assert pace.source(run) == "1 measured"
    learned = next(c for c in cells if c.kind == "simulator" and c.policy == "mappo")
    assert pace.expect(learned) == pytest.approx(4.0)
    assert pace.source(learned) == "1 measured of others"
    pace.learn(emulation, emulation.scenario.duration_s + 11.0)
    assert pace.expect(emulation) == pytest.approx(emulation.scenario.duration_s + 11.0)
