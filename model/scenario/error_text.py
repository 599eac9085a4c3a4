"""A validator's findings in the words of a file's author: where, what is wrong, what is allowed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import UnionType
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from model.errors import nearest
from model.scenario import NODE_NAME, Scenario
from model.scenario.consistency import Mistake
from model.scenario.yaml_reader import KeyPath
from model.text import how_to_write

_WORDS = {
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": "must be text",
    "tuple_type": "must be a list",
    "finite_number": "must be a finite number",
    "model_type": "must be a section with keys",
    "model_attributes_type": "must be a section with keys",
}
_PATTERNS = {
    NODE_NAME: "must be at most 6 lower-case letters and digits, beginning with a letter",
}
_NAME_RULE = "must be at most 41 lower-case letters, digits, '-' and '_'"
_NUMBER_AND_UNIT = re.compile(r"^\s*[-+]?[0-9.]+\s*([%a-zA-Zµ/·]+)\s*$")


def section_at(path: KeyPath, root: type[BaseModel] = Scenario) -> type[BaseModel] | None:
    """The section of a file that stands at a key path, or None where a value stands.

    ``root``: what the whole file is; a scenario, or another model of sections.
    """
    current: Any = root
    for part in path:
        inner = get_args(current)
        if get_origin(current) is dict:
            current = inner[1]
        elif isinstance(part, int):
            current = inner[0] if get_origin(current) is tuple and inner else None
        elif isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(part)
            current = _without_none(field.annotation) if field else None
        else:
            return None
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _without_none(annotation: Any) -> Any:
    """A section that may be left out is that section."""
    given = [a for a in get_args(annotation) if a is not type(None)]
    return given[0] if isinstance(annotation, UnionType) and len(given) == 1 else annotation


def keys_at(path: KeyPath, root: type[BaseModel] = Scenario) -> list[str]:
    """Keys that a section may have; empty where no section stands."""
    section = section_at(path, root)
    return list(section.model_fields) if section else []


def mistakes_of(
    error: ValidationError, data: object, root: type[BaseModel] = Scenario
) -> list[Mistake]:
    """One mistake for each place that the validator complains about.

    The first unknown key of a section lists the keys that are allowed there.
    """
    found: dict[KeyPath, list[str]] = {}
    first: dict[KeyPath, KeyPath] = {}
    for detail in error.errors(include_url=False):
        path, words = _mistake(detail, data, root)
        if detail["type"] == "extra_forbidden" and first.setdefault(path[:-1], path) == path:
            words += f"{'' if words.endswith('?') else '.'} Allowed here: "
            words += ", ".join(keys_at(path[:-1], root))
        messages = found.setdefault(path, [])
        if words not in messages:
            messages.append(words)
    return [(path, _joined(messages)) for path, messages in found.items()]


def _joined(messages: list[str]) -> str:
    # Alternatives of one value ("a number or a list") come as one complaint each.
    got = re.compile(r", not .*$")
    *firsts, last = messages
    return " or ".join(
        [*(got.sub("", m) for m in firsts), last.removeprefix("must be ") if firsts else last]
    )


def _real_path(loc: tuple[str | int, ...], data: object, *, keep_last: bool) -> KeyPath:
    """The key path of a finding: its location without the validator's names of alternatives."""
    path: list[str | int] = []
    here: Any = data
    for k, part in enumerate(loc):
        if isinstance(here, Mapping):
            inside = part in here
        else:
            inside = isinstance(here, list) and isinstance(part, int) and part < len(here)
        if inside:
            here = here[part]
        if inside or (keep_last and k == len(loc) - 1):
            path.append(part)
    return tuple(path)


def _mistake(detail: ErrorDetails, data: object, root: type[BaseModel]) -> Mistake:
    kind, value = detail["type"], detail["input"]
    path = _real_path(detail["loc"], data, keep_last=kind == "missing")
    if kind == "extra_forbidden":
        return path, f"unknown key{nearest(str(path[-1]), keys_at(path[:-1], root))}"
    if kind == "missing":
        return path, f"missing; it has no default{_described(path, root)}"
    if kind == "value_error":
        return _by_validator(path, detail["msg"].removeprefix("Value error, "), root)
    if value is None:
        return path, "has no value; give one, or leave the key out for its default"
    if isinstance(value, str) and (unit := _unit_words(path, value, kind)):
        return path, unit
    hint = _suggested(detail) or _rewritten(kind, value)
    return path, f"{_words(detail, path, root)}, not {_shown(value)}{hint}"


def _rewritten(kind: str, value: object) -> str:
    """Say how to write a value that is right but for its form."""
    if kind == "string_type" and isinstance(value, bool | int | float):
        return "; put it in quotes"
    return how_to_write(value) if kind.startswith(("int", "float")) else ""


def _words(detail: ErrorDetails, path: KeyPath, root: type[BaseModel]) -> str:
    kind = detail["type"]
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(detail.get("ctx", {}).get("pattern", ""), _NAME_RULE)
    if kind in ("too_long", "missing") or (kind == "too_short" and section_at(path, root) is None):
        context = detail.get("ctx", {})
        if limit := context.get("max_length"):
            return f"must have at most {limit} entries"
        return f"must have at least {context.get('min_length', 1)}"
    message = _WORDS.get(kind, detail["msg"])
    return re.sub(r"^(Input|Value|List|Tuple|String) should (be|have|match)", r"must \2", message)


def _by_validator(path: KeyPath, message: str, root: type[BaseModel]) -> Mistake:
    # A section's own validator begins with the key that it speaks of, as "clusters.0.bs: ".
    dotted, colon, rest = message.partition(": ")
    keys = dotted.split(".")
    if colon and keys[0] in keys_at(path, root):
        return (*path, *(int(k) if k.isdecimal() else k for k in keys)), rest
    return path, message


def _described(path: KeyPath, root: type[BaseModel]) -> str:
    section = section_at(path[:-1], root)
    field = section.model_fields.get(str(path[-1])) if section else None
    return f" ({field.description})" if field and field.description else ""


def _unit_words(path: KeyPath, value: str, kind: str) -> str:
    key = next((p for p in reversed(path) if isinstance(p, str)), "")
    match = _NUMBER_AND_UNIT.match(value)
    if not kind.startswith(("float", "int", "finite")):
        return ""
    if match and match[1] == "%":
        return f"'{value}': write a plain number; a share is written as 0.25, not as 25%"
    if match:
        return f"'{value}': write the number alone; its unit is fixed ({_unit_of(key)})"
    return ""


def _unit_of(key: str) -> str:
    units = {
        "_ghz_s": "GHz·s", "_mbps": "Mbps", "_ghz": "GHz", "_mb": "MB", "_ms": "ms", "_s": "s",
        "_bytes": "bytes", "_percent": "%", "_m": "m",
    }  # fmt: skip
    found = next((unit for suffix, unit in units.items() if key.endswith(suffix)), "")
    return f"{found}, as the key's name says" if found else f"see the description of {key}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "a section with keys"
    text = str(value)
    return f"'{text[:40]}'" if isinstance(value, str) else text[:40]


def _suggested(detail: ErrorDetails) -> str:
    expected = detail.get("ctx", {}).get("expected")
    if detail["type"] != "literal_error" or not isinstance(expected, str):
        return ""
    return nearest(str(detail["input"]), re.findall(r"'([^']*)'", expected))
