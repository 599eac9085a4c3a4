"""Ways to damage files: bytes changed, cut out, repeated, put in, and values made absurd."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

ODD_NUMBERS = st.sampled_from(
    [0, -1, 1, 2**31, 2**63, 2**64, 10**299, 1e-308, 5e-324, 1e308, 1e15, -1e308, float("inf"),
     float("nan"), 0.1, True]
)  # fmt: skip
ODD_VALUES = (
    ODD_NUMBERS
    | st.none()
    | st.text(max_size=8)
    | st.sampled_from(["case1", "../x", "/", "\0", "\ud800", "1" * 5000, [], {}, [[]], {"": None}])
    | st.lists(ODD_NUMBERS, max_size=3)
)
Path = tuple[str | int, ...]


@st.composite
def damaged_bytes(draw: st.DrawFn, whole: bytes) -> bytes:
    """A file with some places overwritten, cut out, repeated, or its end missing."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(data) - 1)))
        length = draw(st.sampled_from([1, 2, 4, 8, 100]))
        match draw(st.sampled_from(["set", "cut", "repeat", "truncate", "insert"])):
            case "set":
                data[at : at + length] = draw(
                    st.binary(min_size=length, max_size=length)
                    | st.sampled_from([b"\0" * length, b"\xff" * length, b"\x7f" + b"\xff" * 7])
                )
            case "cut":
                del data[at : at + length]
            case "repeat":
                data[at:at] = data[at : at + length] * 3
            case "truncate":
                del data[at:]
            case _:
                data[at:at] = draw(st.binary(max_size=20))
    return bytes(data)


def places(value: Any, above: Path = ()) -> list[Path]:
    """Key paths of everything in plain data."""
    inner: Any = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    found = [(*above, k) for k, _ in inner]
    return found + [p for k, v in inner for p in places(v, (*above, k))]


@st.composite
def damaged_data(draw: st.DrawFn, whole: Any) -> Any:
    """Plain data (not changed itself) with some values replaced, removed, moved or put in."""
    import copy

    data = copy.deepcopy(whole)
    for _ in range(draw(st.integers(1, 3))):
        spots = places(data)
        if not spots:
            break
        *above, last = draw(st.sampled_from(spots))
        section = data
        for part in above:
            section = section[part]
        match draw(st.sampled_from(["odd", "odd", "remove", "swap", "new"])):
            case "odd":
                section[last] = draw(ODD_VALUES)
            case "remove":
                del section[last]
            case "swap":
                section[last] = copy.deepcopy(draw(st.sampled_from([data, section])))
            case _ if isinstance(section, dict):
                section[draw(st.text(max_size=6))] = draw(ODD_VALUES)
            case _:
                section.append(draw(ODD_VALUES))
    return data
