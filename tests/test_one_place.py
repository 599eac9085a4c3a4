"""Rules that several packages need are written once, in a module that all of them may import."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from model import packet_sizes
from model.network import UNIT_KINDS
from model.observation import TARGET_KINDS
from model.scenario import LINK_CLASSES
from records.stages import stage
from tests.test_architecture import ROOMS, ROOT


def modules() -> Iterator[tuple[str, ast.Module]]:
    for room in ROOMS:
        for path in sorted((ROOT / room).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def constants(tree: ast.AST) -> set[object]:
    return {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}


def tables(tree: ast.AST) -> Iterator[set[object]]:
    """Yield the tuples, lists and sets of a module, each with its constants."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            yield {e.value for e in node.elts if isinstance(e, ast.Constant)}


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (packet_sizes.FRAME_BYTES, "model/packet_sizes.py"),
        (packet_sizes.SEGMENT_BYTES, "model/packet_sizes.py"),
        (stage(0.0, 0.0, 0.0), "records/stages.py"),
        (stage(0.0, 0.0, float("nan")), "records/stages.py"),
    ],
)
def test_a_shared_constant_is_written_once(value: object, place: str) -> None:
    written = [name for name, tree in modules() if value in constants(tree)]
    assert set(written) <= {place}


@pytest.mark.parametrize(
    ("names", "places"),
    [
        (LINK_CLASSES, {"model/scenario/schema.py"}),
        (UNIT_KINDS, {"model/network.py"}),
        (TARGET_KINDS, {"model/observation.py"}),
    ],
)
def test_a_list_of_names_is_written_once(names: tuple[str, ...], places: set[str]) -> None:
    assert {name for name, tree in modules() if set(names) in list(tables(tree))} == places


def test_aliases_of_arrays_are_defined_once() -> None:
    known = {"NDArray[np.float64]", "NDArray[np.float32]", "NDArray[np.int64]",
             "NDArray[np.int32]", "NDArray[np.bool_]", "bool | int | float | str"}  # fmt: skip
    found = [
        (name, ast.unparse(node))
        for name, tree in modules()
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.value) in known
    ]
    assert {name for name, _ in found} == {"model/aliases.py"}
    assert len(found) == len(known)


def test_sizes_of_packets_add_up() -> None:
    assert packet_sizes.PING_HEADERS_BYTES == packet_sizes.UDP_HEADERS_BYTES == 42
    assert packet_sizes.TCP_HEADERS_BYTES == 66
    assert packet_sizes.WIRE_OVERHEAD == 1514 / 1448
    assert packet_sizes.PAYLOAD_PER_WIRE_BYTE == 1448 / 1514
