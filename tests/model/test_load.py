"""Scenario files: what is read, and what each mistake is answered with."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from model.errors import ScenarioError
from model.scenario import Scenario
from model.scenario.error_text import keys_at
from model.scenario.json_schema import schema_text
from model.scenario.load import (
    load_scenario,
    parse_assignments,
    parse_overrides,
)
from model.scenario.yaml_reader import MAX_BYTES, dump_yaml, read_yaml
from model.shipped_scenarios import SCENARIO_FOLDER, scenario_names
from tests.model.complaining import Writer, complaint

WORKLOAD = "workload: {tasks_per_epoch: 1, work_ghz_s: 2, data_mb: 3}\n"


@pytest.mark.parametrize("name", scenario_names())
def test_scenarios_of_the_lab(name: str) -> None:
    scenario = load_scenario(name)
    assert scenario.name == name
    assert len(scenario.description) > 40
    text = (SCENARIO_FOLDER / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=schema.json\n")
    # Every value survives JSON, which is how manifests keep a scenario.
    assert Scenario.model_validate_json(scenario.model_dump_json()) == scenario


@pytest.mark.parametrize(
    ("name", "means"), [("case1", (1, 24, 6)), ("case2", (6, 6, 1)), ("case3", (12, 3, 0.5))]
)
def test_cases_are_the_papers(name: str, means: tuple[float, ...]) -> None:
    scenario = load_scenario(name)
    load = scenario.workload
    assert (load.tasks_per_epoch, load.work_ghz_s, load.data_mb) == means
    # Beside the load, what the files write down is what the model has as defaults.
    plain = Scenario(name=name, description=scenario.description, workload=load)
    for part in ("network", "compute", "cloud", "decision", "probes", "transfer", "events"):
        found, default = (getattr(s, part).model_dump() for s in (scenario, plain))
        assert found == default, part


def test_schema_is_current() -> None:
    assert (SCENARIO_FOLDER / "schema.json").read_text(encoding="utf-8") == schema_text()


def test_every_key_is_described() -> None:
    for name, section in json.loads(schema_text())["$defs"].items():
        for key, what in section["properties"].items():
            known = "description" in what or "$ref" in json.dumps(what) or key in ("name", "factor")
            assert known or key == "link_class", f"{name}.{key}"


def test_extends_merges_in_a_chain(write: Writer) -> None:
    write(WORKLOAD + "description: base\nnetwork:\n  e2d: {rate_mbps: 5, buffer_mb: 1}\n", "a.yaml")
    write("extends: a.yaml\nnetwork:\n  e2d: {rate_mbps: 6}\n", "b.yml")
    path = write("extends: b.yml\nworkload: {data_mb: 9}\n", "c.yaml")
    scenario = load_scenario(path)
    assert (scenario.name, scenario.description) == ("c", "")
    assert (scenario.network.e2d.rate_mbps, scenario.network.e2d.buffer_mb) == (6, 1)
    assert (scenario.workload.work_ghz_s, scenario.workload.data_mb) == (2, 9)
    assert load_scenario(write("extends: case3\n")).workload.data_mb == 0.5


def test_lists_are_replaced(write: Writer) -> None:
    path = write("extends: case1\nnetwork:\n  clusters: [{name: c1, bs: bs2, devices: 3}]\n")
    assert [c.bs for c in load_scenario(path).network.clusters] == ["bs2"]


def test_part_of_a_section_keeps_the_other_defaults(write: Writer) -> None:
    scenario = load_scenario(write(WORKLOAD + "network:\n  backbone: {rate_mbps: 5}\n"))
    assert (scenario.network.backbone.rate_mbps, scenario.network.backbone.delay_ms) == (5, 50)


def test_overrides() -> None:
    given = parse_overrides(
        [
            "network.e2d.rate_mbps=5",
            "decision.rates_mbps=[5, 10]",
            "network.clusters.1.devices=3",
            "workload.arrival=burst",
            "events.failures=[{at_s: 3, link: bs1-bs2, down_s: 4}]",
        ]
    )
    scenario = load_scenario("case1", given)
    assert scenario.network.e2d.rate_mbps == 5
    assert list(scenario.decision.rates_mbps) == [5, 10]
    assert scenario.network.clusters[1].devices == 3
    assert scenario.workload.arrival == "burst"
    assert scenario.events.failures[0].link == "bs1-bs2"
    assert load_scenario("case1", {"slots": 7}).slots == 7
    assert load_scenario("case1").slots == 300


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("network:\n  e2d: {rate_mbsp: 5}", 3, "network.e2d.rate_mbsp: unknown key; did you mean "
         "'rate_mbps'? Allowed here: rate_mbps, delay_ms, loss_percent, buffer_mb"),
        ("xyz: red", 2, "xyz: unknown key. Allowed here: name, description, slots"),
        ("network:\n  e2d:\n    rate_mbps: 10Mbps", 4, "network.e2d.rate_mbps: '10Mbps': write the "
         "number alone; its unit is fixed (Mbps, as the key's name says)"),
        ("compute:\n  device: {idle_probability: 65%}", 3, "a share is written as 0.25"),
        ("slots: 1.5", 2, "slots: must be a whole number, not 1.5"),
        ("slots: true", 2, "slots: must be a whole number, not true"),
        ("slots: '300'", 2, "slots: must be a whole number, not '300'"),
        ("slots: 0", 2, "slots: must be greater than or equal to 1, not 0"),
        ("slots:", 2, "slots: has no value"),
        ("slot_s: .inf", 2, "slot_s: must be a finite number, not inf"),
        ("slot_s: 1e400", 2, "slot_s: must be a finite number"),
        ("decision: {alpha: yes}", 2, "decision.alpha: must be a number, not 'yes'"),
        ("name: My Case", 2, "name: must be at most 41 lower-case letters"),
        ("cloud: 3", 2, "cloud: must be a section with keys, not 3"),
        ("network: {wireless_scope: clusters}", 2, "network.wireless_scope: must be 'device' or "
         "'cluster', not 'clusters'; did you mean 'cluster'?"),
        ("network:\n  clusters:\n    - {name: c1, bs: bs9}", 4, "'bs9' does not exist"),
        ("network:\n  clusters:\n    - {bs: bs1}", 4, "network.clusters.0.name: missing"),
        ("network:\n  clusters: []", 3, "network.clusters: at least one is needed"),
        ("network:\n  clusters:\n    - {name: C1, bs: bs1}", 4, "at most 6 lower-case letters"),
        ("network:\n  clusters:\n    - {name: c1, bs: bs1, devices: [9, 5]}", 4, "low <= high"),
        ("network:\n  clusters:\n    - {name: c1, bs: bs1, devices: many}", 4,
         "network.clusters.0.devices: must be a whole number or a list, not 'many'"),
        ("network:\n  clusters:\n    - {name: c, bs: bs1, devices: 2}\n    - {name: cd1, bs: bs1}",
         4, "its device 'cd1' would have the name of a cluster"),
        ("network:\n  clusters:\n" + "".join(f"    - {{name: k{k}, bs: bs1, devices: 99}}\n"
         for k in range(21)), 3, "hosts; at most 2000 are allowed"),
        ("decision: {rates_mbps: [5, 20]}", 2, "no rate may exceed max_rate_mbps"),
        ("decision: {rates_mbps: [5, 2.5]}", 2, "rates_mbps: must increase"),
        ("decision: {rates_mbps: []}", 2, "decision.rates_mbps: must have at least 1"),
        ("workload: {epoch_gap_s: [0.00001, 0.00001]}", 2, "tasks are allowed"),
        ("workload: {epoch_gap_s: [1, 2, 3]}", 2, "workload.epoch_gap_s: must have at most 2"),
        ("compute:\n  device: {busy_dwell_s: 0.0001}", 3, "busy periods in this run"),
        ("probes: {peers_per_slot: 50}", 2, "no device has more than 16 peers in its cell"),
        ("events:\n  failures:\n    - {at_s: 1, link: bs1-bs4, down_s: 5}", 4,
         "events.failures.0.link: there is no link 'bs1-bs4'; did you mean 'bs1-bs"),
        ("events:\n  capacity:\n    - {at_s: 1, link: cloud>core, rate_mbps: 5}", 4,
         "there is no link 'cloud>core'"),
        ("events:\n  capacity:\n    - {at_s: 300, link: bs1-bs2, rate_mbps: 5}", 4,
         "300 s is not before the end of the run, 300 s"),
        ("events:\n  failures:\n    - {at_s: 1, link: bs1-bs2, down_s: 50}\n"
         "    - {at_s: 9, link: bs2-bs1, down_s: 5}", 5, "is still down then"),
        ("events:\n  capacity_process: [{link_class: backbone, every_s: 5}]", 3,
         "no backbone links without a cloud"),
        ("events:\n  capacity_process: [{link_class: e2d, every_s: 0.1}]", 3, "draw less often"),
        ("events:\n  capacity_process: [{link_class: e2d, every_s: 5, factor: [2, 1]}]", 3,
         "factor: low must not exceed high"),
    ],
)  # fmt: skip
def test_mistakes_name_file_line_key_and_remedy(
    write: Writer, text: str, line: int, words: str
) -> None:
    message = complaint(write(f"extends: case1\n{text}\n"))
    assert message.startswith(f"mine.yaml:{line}: ")
    assert words in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("slots: 1\nslots: 2\n", "mine.yaml:2: slots: given twice, first on line 1"),
        ("a: [1\n", "not YAML"),
        ("\x00", "not YAML"),
        ("a: 1\n---\nb: 2\n", "not YAML"),
        ("a: !!python/object/apply:os.system [id]\n", "'!!python/object/apply:os.system' is no"),
        ("? [a]\n: 1\n", "a key must be a word"),
        ("- 1\n", "must be a section with keys"),
        ("", "must be a section with keys"),
        ("a: &a [*a]\n", "nested deeper than 20 levels"),
        ("[" * 5000, "nested deeper|not YAML"),
        ("a: &a [1,1,1,1,1,1,1,1,1,1]\n" + "".join(
            f"{b}: &{b} [{','.join(['*' + a] * 10)}]\n" for a, b in ("ab", "bc", "cd", "de")),
         "more than 20000 values"),
        ("# " + "x" * MAX_BYTES, "larger than 256 KiB"),
        ("slots: 5\n", "workload: missing; it has no default"),
        ("extends: csae1\n", "mine.yaml:1: extends: there is no scenario 'csae1'; did you mean "
         "'case1'\\?"),
        ("extends: no/such.yaml\n", "no/such.yaml: there is no such file"),
        ("extends: [case1]\n", "mine.yaml:1: extends: must be one scenario's name or path"),
        ("extends: mine.yaml\n", "goes round in a circle: mine.yaml > mine.yaml"),
    ],
)  # fmt: skip
def test_files_that_cannot_be_read(write: Writer, text: str, words: str) -> None:
    path = write(text)
    with pytest.raises(ScenarioError, match=words):
        load_scenario(path)


def test_circle_of_two(write: Writer) -> None:
    write("extends: b.yaml\n", "a.yaml")
    message = complaint(write("extends: a.yaml\n", "b.yaml"))
    assert "a.yaml:1: extends: goes round in a circle: b.yaml > a.yaml > b.yaml" in message


def test_mistake_in_a_parent_names_the_parent(write: Writer) -> None:
    write(WORKLOAD + "slots: -1\n", "a.yaml")
    assert complaint(write("extends: a.yaml\n")).startswith("a.yaml:2: slots: ")


def test_unknown_name_and_file(tmp_path: Path) -> None:
    message = complaint("csae3")
    assert message.startswith("there is no scenario 'csae3'; did you mean 'case3'? There are: ")
    assert all(name in message for name in scenario_names())
    assert "there is no such file" in complaint(tmp_path / "x.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe4\n")
    assert "is not UTF-8 text" in complaint(tmp_path / "latin.yaml")


def test_several_mistakes_take_one_line_each(write: Writer) -> None:
    text = "".join(f"key{k}: 1\n" for k in range(30))
    lines = complaint(write("extends: case1\n" + text)).splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("mine.yaml:2: key0: unknown key")
    assert lines[-1].endswith("... and 21 more mistakes")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("network.e2d.rate", "5", "--set network.e2d.rate: unknown key 'rate'; did you mean"),
        (
            "network.e2d.rate_mbps",
            "5Mbps",
            "--set network.e2d.rate_mbps: '5Mbps': write the number",
        ),
        ("network.clusters.9.devices", "3", "'9' must be a position in the list (0 to 5)"),
        ("slots.more", "3", "'slots' has no keys below it"),
        ("slots", "[1", "not YAML"),
        ("extends", "case2", "unknown key 'extends'"),
        ("events.failures.0.at_s", "5", "give the whole list"),
        ("network", "5", "--set network: must be a section with keys, not 5"),
    ],
)
def test_mistakes_in_overrides(key: str, value: str, words: str) -> None:
    assert words in complaint("case1", {key: value})


@pytest.mark.parametrize("item", ["slots", "=5", " =5"])
def test_override_without_key_or_value(item: str) -> None:
    with pytest.raises(ScenarioError, match="must be KEY=VALUE"):
        parse_overrides([item])


def test_numbers_follow_yaml_1_2(write: Writer) -> None:
    path = write(WORKLOAD + "slots: 010\nslot_s: 1e0\ndescription: 1:30\n")
    scenario = load_scenario(path)
    assert (scenario.slots, scenario.slot_s, scenario.description) == (10, 1.0, "1:30")


SPELLINGS = (
    "2026-11-27", "010", "1:30", "1e2", "1e+2", "1_000", "0x10", "0o7", "on", "yes", "No", "y",
    "true", "True", "~", "null", "", ".inf", ".NaN", ".5", "+7", "12:30:00", "2026-11-27T10:00:00Z",
    "[1, 2]", "{a: 1}", "'5'", '"5"', "=", "<<", "1.", "1e", "0b1", "!!int 5", "a: b", "a #b",
)  # fmt: skip


def outcome(read: Callable[[], Scenario]) -> object:
    """A description as it was read, or what is wrong with it, without the place."""
    try:
        return read().description
    except ScenarioError as error:
        return (
            str(error).rpartition("description: ")[2].partition("not YAML: ")[2]
            or str(error).rpartition(": ")[2]
        )


@pytest.mark.parametrize("text", SPELLINGS)
def test_set_reads_values_as_files_do(write: Writer, text: str) -> None:
    path = write(f"{WORKLOAD}description: {text}\n")
    plain = write(WORKLOAD, "plain.yaml")
    typed = outcome(lambda: load_scenario(plain, parse_overrides([f"description={text}"])))
    from_file = outcome(lambda: load_scenario(path))
    if text != "a: b":  # In a file this is another mistake: a key within a key.
        assert typed == from_file
    parsed = outcome(
        lambda: load_scenario(
            plain, parse_assignments([f"description={text}"], "--set"), text_is_yaml=False
        )
    )
    assert parsed == typed


@pytest.mark.parametrize("text", [t for t in SPELLINGS if t] + ["a\nb", "ä", "x" * 200, " x "])
def test_what_is_shown_can_be_read_again(text: str) -> None:
    data = {"description": text, "number": 1e-05, "whole": 10, "none": None, "yes": [True, 1e300]}
    assert read_yaml(dump_yaml(data), "shown").data == data


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("slots=1e2", "--set slots: must be a whole number, not 100.0; write 100"),
        ("slots=1_000", "--set slots: must be a whole number, not '1_000'; write 1000"),
        ("slots=0x10", "; write 16"),
        ("slots=1:30", "must be a whole number, not '1:30'"),
        ("slots='5'", "; leave the quotes out"),
        ("network.e2d.rate_mbps=1_000.5", "; write 1000.5"),
        ("name=10", "must be text, not 10; put it in quotes"),
        ("slots=", "has no value"),
        ("slots=[1", "--set slots: not YAML"),
    ],
)
def test_how_a_number_is_written(override: str, says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        load_scenario("mini", parse_overrides([override]))
    assert says in str(caught.value)


def test_a_key_is_set_once() -> None:
    with pytest.raises(ScenarioError, match="--param a=2: a is given twice, first as 1"):
        parse_assignments(["a=1", "a=2"], "--param")
    with pytest.raises(ScenarioError, match="datetime is no value"):
        load_scenario("mini", {"name": datetime(2026, 11, 27, tzinfo=UTC)})


def test_a_scenario_knows_its_files_and_equals_by_value(write: Writer) -> None:
    write("extends: case1\n", "base.yaml")
    path = write("extends: base.yaml\nname: mine\n")
    scenario = load_scenario(path)
    assert [Path(f).name for f in scenario.files] == ["mine.yaml", "base.yaml", "case1.yaml"]
    assert scenario.model_copy(update={"slots": 5}).files == scenario.files
    assert pickle.loads(pickle.dumps(scenario)).files == scenario.files  # noqa: S301 - made here
    bare = Scenario.model_validate_json(scenario.model_dump_json())
    assert bare == scenario
    assert hash(bare) == hash(scenario)
    assert bare.files == ()
    assert bare != scenario.model_copy(update={"slots": 5})


def test_keys_of_sections() -> None:
    assert keys_at(("network", "e2d"))[0] == "rate_mbps"
    assert keys_at(("network", "clusters", 3)) == ["name", "bs", "devices"]
    assert keys_at(("slots",)) == []
    assert keys_at(("no", "such")) == []


def test_the_keys_that_are_allowed_are_listed_once_a_place(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("extends: mini\nxyz: 1\nslotz: 2\nabc: 3\nnetwork:\n  e2d: {rate: 1, lag: 2}\n")
    with pytest.raises(ScenarioError) as refused:
        load_scenario(path)
    lines = str(refused.value).splitlines()
    assert len(lines) == 5
    at_top = [line for line in lines if "network." not in line]
    assert [("Allowed here: name, desc" in line) for line in at_top] == [True, False, False]
    assert at_top[1].endswith("mine.yaml:3: slotz: unknown key; did you mean 'slots'?")
    assert at_top[2].endswith("mine.yaml:4: abc: unknown key")
    assert sum("Allowed here: rate_mbps" in line for line in lines) == 1
