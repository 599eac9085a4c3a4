"""Result folders: damaged ones are refused in a line, the others measured, judged and drawn."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from analysis.collection import collect
from analysis.compare import columns, differences
from analysis.pcap.points import names_around
from metrics.fidelity import judge
from metrics.summary import summarise
from model.errors import UserError
from records import reader
from records.reader import open_result
from records.schema import TABLES
from tests.analysis.results import emulated, simulated
from tests.fuzz.bounds import bounded, require_told, tries
from tests.fuzz.damage import damaged_bytes, damaged_data


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("whole")
    return emulated(simulated(root, "self-biased", 1), root / "emulated", "valid")


@pytest.fixture(scope="module")
def folder(whole: Path) -> Path:
    """A copy to be damaged."""
    return Path(shutil.copytree(whole, whole.parent / "damaged"))


def use(folder: Path, whole: Path) -> bool:
    """Whether a folder is taken by all that reads results."""
    try:
        with bounded(512, 10.0), np.errstate(all="ignore"):
            result = open_result(folder)
            summarise(result).to_dict()
            judge(result).to_dict()
    except UserError as error:
        require_told(error)
        return False
    finally:
        names_around(folder / "pcap" / "a-b.pcap")
    found = [(f, collect([f], keep_invalid=True, partial=True)) for f in (whole, folder)]
    if all(c.groups for _, c in found):
        with suppress(UserError), np.errstate(all="ignore"):
            differences(columns(found))
    return True


@pytest.fixture(scope="module", params=sorted(TABLES))
def table(request: pytest.FixtureRequest, folder: Path, whole: Path) -> Iterator[Path]:
    path = folder / f"{request.param}.parquet"
    yield path
    shutil.copy(whole / path.name, path)


@tries(15)
@given(st.data())
def test_damaged_tables(table: Path, folder: Path, whole: Path, data: st.DataObject) -> None:
    table.write_bytes(data.draw(damaged_bytes((whole / table.name).read_bytes())))
    event(f"taken: {use(folder, whole)}")


TYPES = st.sampled_from(
    [pa.int8(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.large_string(), pa.bool_(),
     pa.binary(), pa.timestamp("ms"), pa.null(), pa.list_(pa.int64()), pa.date32(),
     pa.dictionary(pa.int32(), pa.string())]
)  # fmt: skip


@st.composite
def other_table(draw: st.DrawFn, whole: pa.Table) -> pa.Table:
    """The table with a column gone, of another type, with nulls or with other values in it."""
    name = draw(st.sampled_from(whole.column_names))
    at = whole.column_names.index(name)
    field = whole.schema.field(name)
    match draw(st.sampled_from(["drop", "type", "nulls", "values", "twice", "rows"])):
        case "drop":
            return whole.drop_columns([name])
        case "type":
            kind = draw(TYPES)
            return whole.set_column(at, pa.field(name, kind), pa.nulls(len(whole), kind))
        case "nulls":
            return whole.set_column(at, field, pa.nulls(len(whole), field.type))
        case "twice":
            return whole.append_column(field, whole[name])
        case "rows":
            chosen = draw(st.lists(st.integers(0, max(0, len(whole) - 1)), max_size=5))
            return whole.take(pa.array(chosen if len(whole) else [], pa.int64()))
    values: Any = {
        "string": st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
        "bool": st.booleans(),
        "double": st.floats(),
        "int64": st.integers(-(2**63), 2**63 - 1),
        "int32": st.integers(-(2**31), 2**31 - 1),
    }[str(field.type)]
    one = draw(values)
    return whole.set_column(at, field, pa.array([one] * len(whole), field.type))


@tries(25)
@given(st.data())
def test_other_tables(table: Path, folder: Path, whole: Path, data: st.DataObject) -> None:
    pq.write_table(data.draw(other_table(pq.read_table(whole / table.name))), table)
    event(f"taken: {use(folder, whole)}")


@tries(200)
@given(st.data())
def test_odd_manifests(folder: Path, whole: Path, data: st.DataObject) -> None:
    text = (whole / "manifest.json").read_text()
    damaged = st.one_of(
        damaged_data(json.loads(text)).map(lambda m: json.dumps(m).encode()),
        damaged_bytes(text.encode()),
        st.sampled_from([b"", b"[" * 10**6, b"[]", b"null", b'{"a":' * 10**5, b"\xff"]),
    )
    (folder / "manifest.json").write_bytes(data.draw(damaged))
    event(f"taken: {use(folder, whole)}")
    shutil.copy(whole / "manifest.json", folder)


def test_a_small_file_of_a_billion_values(
    folder: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, rows = folder / "probes.parquet", 1_000_000
    column = pa.array(np.zeros(rows))
    words = pa.array(["c1d1"]).take(pa.array(np.zeros(rows, np.int32)))
    names = pa.table([column, words, words, column], TABLES["probes"])
    pq.write_table(names, path)
    assert path.stat().st_size < 100_000
    assert use(folder, whole)
    monkeypatch.setattr(reader, "MOST_VALUES", 4 * rows - 1)
    with pytest.raises(UserError, match="more than can be read at once"):
        open_result(folder).table("probes")
    shutil.copy(whole / path.name, path)


def test_what_is_no_file(tmp_path: Path, whole: Path) -> None:
    folder = Path(shutil.copytree(whole, tmp_path / "copy"))
    (folder / "tasks.parquet").unlink()
    (folder / "tasks.parquet").mkdir()
    assert not use(folder, whole)
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").mkdir()
    assert not use(folder, whole)


def test_the_whole_folder_is_taken(whole: Path) -> None:
    assert use(whole, whole)
