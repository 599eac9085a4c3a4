"""Sweep files: what is read, what is refused and how, and which cells come of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from experiments.sweep.cell import RunCell, TrainCell, device_count, origin
from experiments.sweep.plan import Plan, make_plan
from experiments.sweep.spec import SWEEP_FOLDER, SweepFile, find_sweep
from model.errors import UserError
from model.network import build_network

BASE = """\
name: test
train:
  learners:
    algorithms: [m2ppo, mappo]
    scenarios: [mini, case1]
    seeds: 1-2
    settings: {slots: 100}
run:
  test:
    scenarios: [mini]
    policies: [own-edge, {policy: m2ppo, checkpoints: learners}]
    seeds: [0, 5]
"""


def read(tmp_path: Path, text: str) -> SweepFile:
    path = tmp_path / "sweep.yaml"
    path.write_text(text)
    return SweepFile(path)


def plan(tmp_path: Path, text: str) -> Plan:
    return make_plan(read(tmp_path, text))


def test_products_and_what_a_run_waits_for(tmp_path: Path) -> None:
    found = plan(tmp_path, BASE)
    assert Counter(c.kind for c in found.cells.values()) == {"training": 8, "simulator": 6}
    learned = [c for c in found.cells.values() if isinstance(c, RunCell) and c.trained]
    assert {(c.seed, c.trained.seed) for c in learned if c.trained} == {
        (0, 1), (0, 2), (5, 1), (5, 2)
    }  # fmt: skip
    for cell in learned:
        assert cell.trained is not None
        assert cell.trained.scenario.name == "mini"
        assert cell.trained.policy == "m2ppo"
        assert cell.trained.key in found.cells
        said = origin(cell, "test")["sweep"]
        assert (said["training_seed"], said["training_cell"]) == (
            cell.trained.seed, cell.trained.key
        )  # fmt: skip


@pytest.mark.parametrize(
    ("seeds", "expected"), [("3", (3,)), ("0-2", (0, 1, 2)), ("'4 - 5'", (4, 5)), ("[7]", (7,))]
)
def test_seeds(tmp_path: Path, seeds: str, expected: tuple[int, ...]) -> None:
    file = read(tmp_path, BASE.replace("[0, 5]", seeds))
    assert file.sweep.run["test"].seeds == expected


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("policies:", "polices:", 11, "unknown key; did you mean 'policies'?"),
        ("checkpoints: learners", "chekpoints: learners", 11, "did you mean 'checkpoints'?"),
        ("run:", "runs:", 8, "did you mean 'run'?"),
        ("seeds: [0, 5]", "seeds: zero", 12, "'zero': must be seeds, as 3, [1, 2, 3] or 0-15"),
        ("seeds: [0, 5]", "seeds: 9-3", 12, "must be FIRST-LAST"),
        ("seeds: [0, 5]", "seeds: [true]", 12, "must be a whole number, not true"),
        ("seeds: [0, 5]", "seeds: 0\n    worlds: [simulater]", 13, "did you mean 'simulator'?"),
        ("seeds: [0, 5]", "seeds: 0\n    speedup: fast", 13, "must be a number, not 'fast'"),
        ("seeds: [0, 5]", "seeds: 0\n    set: {slot: 5}", 10, "did you mean 'slots'?"),
        ("seeds: [0, 5]", "seeds: 0\n    vary: {slots: []}", 13, "must have at least 1"),
        ("scenarios: [mini]", "scenarios: [minni]", 10, "did you mean 'mini'?"),
        ("[own-edge,", "[own-egde,", 11, "did you mean 'own-edge'?"),
        ("[own-edge,", "[{policy: own-edge, params: {x: 1}},", 11, "no parameter 'x'"),
        ("[own-edge,", "[no.module:Here,", 11, "cannot import"),
        ("[own-edge,", "[{policy: threshold, tuned: true},", 11, "is not tuned for mini"),
        ("checkpoints: learners", "checkpoints: learner", 11, "did you mean 'learners'?"),
        ("{policy: m2ppo, ", "{policy: maa3c, ", 11, "trains no maa3c for mini"),
        ("[m2ppo, mappo]", "[m2ppo, mapo]", 4, "there is no algorithm 'mapo'"),
        ("{slots: 100}", "{slot: 100}", 7, "did you mean 'slots'?"),
        ("  learners:\n    algo", "  best:\n    algo", 2, "the name 'best' is taken"),
        ("name: test", "name: Te st", 1, "lower-case letters"),
    ],
)
def test_mistakes_are_named_with_their_line(
    tmp_path: Path, old: str, new: str, line: int, says: str
) -> None:
    assert old in BASE
    with pytest.raises(UserError) as error:
        plan(tmp_path, BASE.replace(old, new))
    lines = str(error.value).splitlines()
    mine = [x for x in lines if says in x]
    assert mine, lines
    assert mine[0].startswith(f"{tmp_path}/sweep.yaml:{line}: "), mine


def test_nothing_to_do_and_no_such_sweep(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to do"):
        plan(tmp_path, "name: empty")
    with pytest.raises(UserError, match="did you mean 'paper'"):
        find_sweep("papr")
    with pytest.raises(UserError, match="no such file"):
        find_sweep("elsewhere/paper.yaml")


def test_tuning_seeds_are_not_for_comparing_tuned_rules(tmp_path: Path) -> None:
    text = BASE.replace("[own-edge,", "[{policy: self-biased, tuned: true},")
    text = text.replace("scenarios: [mini]", "scenarios: [case1]").replace("[0, 5]", "990-1005")
    with pytest.raises(UserError, match=r"run\.test\.seeds: 1000 … 1011 are the seeds of tuning"):
        plan(tmp_path, text)


def test_key_is_what_decides_the_outcome(tmp_path: Path) -> None:
    keys = set(plan(tmp_path, BASE).cells)
    same = BASE.replace("name: test", "name: other\norder_seed: 5").replace("  test:", "  again:")
    assert set(plan(tmp_path, same).cells) == keys
    longer = plan(tmp_path, BASE + "    set: {slots: 31}\n").cells
    assert len(set(longer) & keys) == 8, "the trainings alone stay"
    retrained = plan(tmp_path, BASE.replace("{slots: 100}", "{slots: 101}")).cells
    assert len(set(retrained) & keys) == 2, "the rule's runs alone stay"
    real = plan(tmp_path, BASE + "    worlds: [emulation]\n").cells
    faster = plan(tmp_path, BASE + "    worlds: [emulation]\n    speedup: 2\n").cells
    assert len(set(real) & keys) == len(set(real) & set(faster)) == 8


def test_blocks_share_cells(tmp_path: Path) -> None:
    more = "  rules:\n    scenarios: [mini]\n    policies: [own-edge]\n    seeds: 0-5\n"
    found = plan(tmp_path, BASE + more)
    both = [names for names in found.blocks.values() if len(names) == 2]
    assert both == [("test", "rules")] * 2
    assert len(found.cells) == 8 + 6 + 4


def test_order_is_drawn_within_each_kind(tmp_path: Path) -> None:
    text = BASE.replace("[0, 5]", "0-19")
    orders = [
        [(c.policy, c.seed) for c in plan(tmp_path, t).cells.values() if isinstance(c, RunCell)]
        for t in (text, text, text.replace("name: test", "name: test\norder_seed: 1"))
    ]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert sorted(orders[0]) == sorted(orders[2])
    changes = sum(a[0] != b[0] for a, b in zip(orders[0], orders[0][1:], strict=False))
    assert changes > 10, "policies take turns"


def test_shards_are_a_partition_and_keep_a_run_with_its_training(tmp_path: Path) -> None:
    whole = plan(tmp_path, BASE)
    parts = [whole.shard(k, 3) for k in (1, 2, 3)]
    assert sorted(key for part in parts for key in part.cells) == sorted(whole.cells)
    for part in parts:
        for cell in part.cells.values():
            if isinstance(cell, RunCell) and cell.trained:
                assert cell.trained.key in part.cells


@pytest.mark.parametrize("devices", [1, 2, 5, 6, 45, 300, 1000])
def test_devices_are_spread_evenly(tmp_path: Path, devices: int) -> None:
    text = BASE.replace("[mini]\n    policies", "[case3]\n    policies")
    text = text.replace("{policy: m2ppo, checkpoints: learners}", "greedy")
    found = plan(tmp_path, text + f"    devices: [{devices}]\n")
    cell = next(c for c in found.cells.values() if isinstance(c, RunCell))
    assert device_count(cell.scenario) == devices
    assert cell.settings["devices"] == devices
    sizes = Counter(d.cell for d in build_network(cell.scenario).devices)
    assert max(sizes.values()) - min(sizes.values()) <= max(2, devices // 50)
    assert len(sizes) == min(3, devices)


def test_shipped_checkpoints(tmp_path: Path) -> None:
    text = BASE.replace("[mini]\n    policies", "[case2]\n    policies")
    for word, many in (("shipped", None), ("best", 1)):
        found = plan(tmp_path, text.replace("checkpoints: learners", f"checkpoints: {word}"))
        paths = {c.params["checkpoint"] for c in found.cells.values() if c.policy == "m2ppo"
                 and isinstance(c, RunCell)}  # fmt: skip
        shipped = list((SWEEP_FOLDER.parent / "rl/checkpoints/case2").glob("m2ppo-seed*.npz"))
        assert len(paths) == (many or len(shipped))


def test_the_document_s_example_is_a_sweep(tmp_path: Path) -> None:
    text = (SWEEP_FOLDER.parent / "docs" / "sweeps.md").read_text("utf-8")
    found = plan(tmp_path, text.partition("```yaml\n")[2].partition("```")[0])
    assert Counter(found.blocks.values()).keys() == {("learners",), ("test",), ("rules",)}
    assert {c.kind for c in found.cells.values()} == {"training", "simulator", "emulation"}


def needed(name: str) -> dict[str, set[tuple[str, str]]]:
    """Block → (scenario, policy) of its cells."""
    found = make_plan(SweepFile(SWEEP_FOLDER / f"{name}.yaml"))
    blocks: dict[str, set[tuple[str, str]]] = {}
    for key, cell in found.cells.items():
        for block in found.blocks[key]:
            blocks.setdefault(block, set()).add((cell.scenario.name, cell.policy))
    return blocks


def test_ci_is_the_paper_in_small() -> None:
    paper, small = needed("paper"), needed("ci")
    assert paper == small
    cases, learners = ("case1", "case2", "case3"), ("m2ppo", "mappo", "maa3c", "madqn")
    product = {(case, learner) for case in cases for learner in learners}
    assert small["learners"] == small["load"] == product
    assert product < small["test"]
    assert small["critics"] == {(case, "m2ppo") for case in cases}


def test_critics_ablation_shares_the_mean_with_the_learners() -> None:
    found = make_plan(SweepFile(SWEEP_FOLDER / "paper.yaml"))
    critics = [c for k, c in found.cells.items() if "critics" in found.blocks[k]]
    assert all(isinstance(c, TrainCell) for c in critics)
    assert Counter(c.config.critics for c in critics if isinstance(c, TrainCell)) == {
        "single": 9, "min": 9, "mean": 9,
    }  # fmt: skip
    both = [k for k, names in found.blocks.items() if names == ("learners", "critics")]
    assert len(both) == 9


def test_ablations_share_m2ppo_as_it_is() -> None:
    found = make_plan(SweepFile(SWEEP_FOLDER / "ablation.yaml"))
    trained = [names for k, names in found.blocks.items() if found.cells[k].kind == "training"]
    assert len(trained) == 12
    assert Counter(trained)["critics", "mixing", "credit"] == 2


def test_emulation_sweep_is_of_both_worlds() -> None:
    found = make_plan(SweepFile(SWEEP_FOLDER / "emulation.yaml"))
    worlds = Counter(c.kind for c in found.cells.values())
    assert worlds["emulation"] == worlds["simulator"] > 0
    sizes = {device_count(c.scenario) for k, c in found.cells.items() if "size" in found.blocks[k]}
    assert (min(sizes), max(sizes)) == (10, 60)
