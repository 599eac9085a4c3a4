"""Checkpoints: whatever a file holds, it is refused in a line or plays; nothing in it is run."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from model.errors import UserError
from rl.policies import checkpoint as weights
from rl.policies import checkpoint_file
from rl.policies.features import AGENT_COLUMNS, CANDIDATE_COLUMNS, Candidates
from rl.policies.numpy_actor import Network
from tests.fuzz.bounds import bounded, require_told, tries
from tests.fuzz.damage import damaged_bytes, damaged_data

SHIPPED = weights.SHIPPED / "case3" / "m2ppo-seed1.npz"
WHOLE = weights.load(str(SHIPPED))
META = json.loads(str(np.load(SHIPPED)["meta"]))
SMALL = dict(WHOLE.arrays)
Arrays = dict[str, Any]


def archive(arrays: Arrays, **options: Any) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        for name, array in arrays.items():
            with target.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, np.asanyarray(array), **options)
    return file.getvalue()


def play(path: Path) -> bool:
    """Whether a file is taken; what is taken decides, of random and of absurd observations."""
    weights.load.cache_clear()
    try:
        with bounded():
            checkpoint = weights.load(str(path))
    except UserError as error:
        require_told(error, about=str(path))
        return False
    meta = checkpoint.meta
    network = Network(checkpoint.arrays, meta.cell, prior=meta.prior)
    rng = np.random.default_rng(1)
    targets = 5
    with np.errstate(all="ignore"):
        state = network.start()
        for size in (1.0, 1e30):
            row = (size * rng.normal(size=len(AGENT_COLUMNS))).astype(np.float32)
            state = network.advance(row, state)
            columns = rng.normal(size=(1, targets, len(CANDIDATE_COLUMNS))).astype(np.float32)
            numbers = (rng.random((1, targets), dtype=np.float32) for _ in range(4))
            seen = Candidates(np.ones((1, targets), dtype=np.bool_), columns, *numbers)
            scores = network.score(network.lift(state[0][None]), seen, np.ones((1, 1)))
            assert scores.logits.shape == scores.values.shape == (1, targets)
            rates = scores.rate_logits(np.zeros(1, dtype=np.int64))
            assert rates.shape == (1, len(meta.rates_mbps))
    return True


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("checkpoints") / "fuzzed.npz"


@tries(250)
@given(damaged_bytes(SHIPPED.read_bytes()) | st.binary(max_size=300))
def test_damaged_files(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    event(f"taken: {play(path)}")


@tries(250)
@given(damaged_data(META))
def test_odd_descriptions(path: Path, meta: Any) -> None:
    text = json.dumps(meta)
    path.write_bytes(archive({"meta": np.array(text), **SMALL}))
    event(f"taken: {play(path)}")


@st.composite
def other_arrays(draw: st.DrawFn) -> Arrays:
    arrays: Arrays = dict(SMALL)
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(arrays)))
        shape = draw(st.lists(st.integers(0, 70), max_size=3))
        match draw(st.sampled_from(["shape", "remove", "add", "value", "type"])):
            case "shape":
                arrays[name] = np.zeros(shape if np.prod(shape) < 10**5 else (3,), np.float32)
            case "remove":
                del arrays[name]
            case "add":
                arrays[draw(st.text(max_size=5))] = np.zeros(2, np.float32)
            case "value":
                value = draw(st.floats(width=32))
                arrays[name] = np.full_like(arrays[name], value)
            case _:
                kind = draw(st.sampled_from(["f8", ">f4", "i4", "c8", "?", "S3", "U2", "f4,i2"]))
                arrays[name] = np.zeros(arrays[name].shape, kind)
    return arrays


@tries(250)
@given(other_arrays())
def test_other_arrays(path: Path, arrays: Arrays) -> None:
    path.write_bytes(archive({"meta": np.array(json.dumps(META)), **arrays}))
    event(f"taken: {play(path)}")


class Bait:
    """Unpickled, it would leave a file."""

    def __init__(self, mark: Path):
        self._mark = mark

    def __reduce__(self) -> Any:
        return (Path.touch, (self._mark,))


@pytest.mark.parametrize("place", ["meta", "price", "other"])
def test_nothing_is_unpickled(path: Path, tmp_path: Path, place: str) -> None:
    mark = tmp_path / "mark"
    arrays = {"meta": np.array(json.dumps(META)), **SMALL}
    arrays[place] = np.array([Bait(mark)], dtype=object)
    path.write_bytes(archive(arrays))
    assert not play(path)
    assert not mark.exists()
    with np.load(path, allow_pickle=True) as file:
        file[place]
    assert mark.exists(), "the bait does not work"


def entry(shape: str, kind: str = "<f4", content: bytes = b"") -> bytes:
    head = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + content


@pytest.mark.parametrize(
    "data",
    [
        entry("(1000000000000,)"),
        entry("(1" + "0" * 400 + ",)"),
        entry("(-1, -4)", content=bytes(16)),
        entry("(-2, -2)", content=bytes(16)),
        entry("(" * 3_000),
        entry("((((1,),),),)"),
        entry("(4,)", "|O", bytes(32)),
        entry("()", "<U100000000"),
        entry("(True,)", content=bytes(4)),
        entry("(0, 9999999999999999999)"),
        b"\x93NUMPY\x03\x00" + struct.pack("<I", 2**31),
        b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1),
    ],
)
def test_headers_that_lie(path: Path, data: bytes) -> None:
    for name in ("meta.npy", "price.npy"):
        whole = {"meta": np.array(json.dumps(META)), **SMALL}
        del whole[name.removesuffix(".npy")]
        file = io.BytesIO(archive(whole))
        with zipfile.ZipFile(file, "a") as target:
            target.writestr(name, data)
        path.write_bytes(file.getvalue())
        assert not play(path)


@cache
def packed_zeros() -> bytes:
    """An archive whose first array unpacks to more than may be used."""
    file, block, blocks = io.BytesIO(), bytes(4 * 1024 * 1024), 80
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as target:
        with target.open("price.npy", "w") as one:
            one.write(entry(f"({blocks * len(block) // 4},)"))
            for _ in range(blocks):
                one.write(block)
        text = io.BytesIO()
        np.lib.format.write_array(text, np.array(json.dumps(META)))
        target.writestr("meta.npy", text.getvalue())
    return file.getvalue()


def bomb(claimed: int | None) -> bytes:
    """The same, which may claim to be of another size."""
    data = bytearray(packed_zeros())
    if claimed is not None:
        for mark, at in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
            where = data.index(mark) + at
            data[where : where + 4] = struct.pack("<I", claimed)
    return bytes(data)


@pytest.mark.parametrize("claimed", [None, 1000, checkpoint_file.MOST_BYTES])
def test_archives_that_unpack_to_gigabytes(path: Path, claimed: int | None) -> None:
    path.write_bytes(bomb(claimed))
    assert not play(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_ways_of_packing(path: Path, method: int) -> None:
    with zipfile.ZipFile(path, "w", method) as target:
        target.writestr("meta.npy", bytes(100))
    assert not play(path)


def test_a_single_array_and_a_folder_are_no_checkpoints(path: Path, tmp_path: Path) -> None:
    path.write_bytes(entry("(1,)", content=bytes(4)))
    assert not play(path)
    assert not play(tmp_path)


def test_every_shipped_checkpoint_plays() -> None:
    found = sorted(weights.SHIPPED.glob("*/*.npz"))
    assert found
    assert all(map(play, found))
