"""YAML as all input uses it: plain data with line numbers, from untrusted files.

Scenario files, sweep files and the values of ``--set`` and ``--param`` are one language. Only
mappings with text keys, lists and scalars are read. Scalars follow YAML 1.2 rather than 1.1, so
``1e3`` is a number, ``yes`` a word and ``1:30`` no count of seconds. Refused: other tags, a key
given twice, merge keys, and files or expansions of aliases beyond a sensible size.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, field

import yaml

from model.errors import ScenarioError
from model.text import is_unicode

MAX_BYTES = 256 * 1024
MAX_VALUES = 20_000
"""Values in a file after its aliases are followed: more is an accident or an alias bomb."""
MAX_CHARACTERS = 4 * MAX_BYTES
"""Text in a file after its aliases are followed, for the same reason."""
MAX_DEPTH = 20

_COLLECTIONS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")

KeyPath = tuple[str | int, ...]


@dataclass(slots=True)
class Document:
    """A YAML file as plain data, and the line (from 1) on which each key path stands."""

    label: str
    data: object
    lines: dict[KeyPath, int] = field(default_factory=dict)


class _Loader(yaml.SafeLoader):
    """The safe loader with the scalars of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


for _tag, _pattern, _first in (
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    ("int", r"[-+]?[0-9]{1,300}", list("-+0123456789")),
    ("float", r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", list("-+.0123456789")),
    ("float", r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.")),
):
    _Loader.add_implicit_resolver(
        f"tag:yaml.org,2002:{_tag}", re.compile(f"^(?:{_pattern})$"), _first
    )


def _scalar(label: str, node: yaml.ScalarNode) -> object:
    kind = node.tag.rpartition(":")[2]
    text = node.value
    try:
        if kind == "str":
            return text
        if kind == "null":
            return None
        if kind == "bool":
            return {"true": True, "false": False}[text.lower()]
        if kind == "int":
            return int(text)
        if kind == "float":
            return float(text.replace(".inf", "inf").replace(".nan", "nan"))
    except (ValueError, KeyError):
        pass
    raise _refused(label, node)


def _refused(label: str, node: yaml.Node) -> ScenarioError:
    tag = node.tag.replace("tag:yaml.org,2002:", "!!")
    return ScenarioError(f"{label}:{_line(node)}: '{tag}' is no value that a scenario can have")


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


class _Reader:
    """Turns a node graph into data, following aliases as long as the result stays small."""

    def __init__(self, label: str):
        self.document = Document(label, None)
        self._count = self._characters = 0

    def value(self, node: yaml.Node, path: KeyPath) -> object:
        label = self.document.label
        self._count += 1
        if self._count > MAX_VALUES:
            raise ScenarioError(f"{label}: more than {MAX_VALUES} values, aliases included")
        if len(path) > MAX_DEPTH:
            raise ScenarioError(f"{label}:{_line(node)}: nested deeper than {MAX_DEPTH} levels")
        self.document.lines.setdefault(path, _line(node))
        if not isinstance(node, yaml.ScalarNode) and node.tag not in _COLLECTIONS:
            raise _refused(label, node)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.ScalarNode):
            self._count_text(node)
            return _scalar(label, node)
        return [self.value(item, (*path, k)) for k, item in enumerate(node.value)]

    def _count_text(self, node: yaml.ScalarNode) -> None:
        label = self.document.label
        self._characters += len(node.value)
        if self._characters > MAX_CHARACTERS:
            raise ScenarioError(f"{label}: more than {MAX_CHARACTERS} letters, aliases included")
        if not is_unicode(node.value):
            raise ScenarioError(f"{label}:{_line(node)}: half a surrogate pair is no text")

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        found: dict[str, object] = {}
        seen: dict[Hashable, int] = {}
        for key_node, value_node in node.value:
            where = f"{self.document.label}:{_line(key_node)}"
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            if not isinstance(key, str):
                raise ScenarioError(f"{where}: a key must be a word")
            self._count_text(key_node)
            dotted = ".".join(map(str, (*path, key)))
            if key in seen:
                raise ScenarioError(f"{where}: {dotted}: given twice, first on line {seen[key]}")
            seen[key] = _line(key_node)
            self.document.lines[(*path, key)] = _line(key_node)
            found[key] = self.value(value_node, (*path, key))
        return found


class _Dumper(yaml.SafeDumper):
    """The safe dumper, which puts text into quotes that YAML 1.1 or 1.2 reads as something else."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [
            *yaml.SafeDumper.yaml_implicit_resolvers.get(first, []),
            *_Loader.yaml_implicit_resolvers.get(first, []),
        ]
        for first in {*yaml.SafeDumper.yaml_implicit_resolvers, *_Loader.yaml_implicit_resolvers}
    }


def dump_yaml(data: object) -> str:
    """Write plain data as YAML that ``read_yaml`` reads as the same data."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=96)
    return text


def read_value(text: str, label: str) -> object:
    """Read one value as a file would have it: ``1e3`` is a number, ``2026-11-27`` is text.

    ``label`` names the value in errors, as ``--set slots``. Raises ``ScenarioError``.
    """
    try:
        return read_yaml(text, label).data
    except ScenarioError as error:
        raise ScenarioError(str(error).replace(f"{label}:1:", f"{label}:", 1)) from None


def read_yaml(text: str, label: str) -> Document:
    """Parse one YAML document; ``label`` names it in errors.

    Raises ``ScenarioError`` for what is not YAML, and for what this module refuses.
    """
    if not is_unicode(text):
        raise ScenarioError(f"{label}: is not UTF-8 text")
    if len(text.encode()) > MAX_BYTES:
        raise ScenarioError(f"{label}: larger than {MAX_BYTES // 1024} KiB; that is no scenario")
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark else ""
        raise ScenarioError(f"{label}{line}: not YAML: {error.problem or error.context}") from None
    except yaml.YAMLError as error:
        raise ScenarioError(f"{label}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ScenarioError(f"{label}: nested deeper than {MAX_DEPTH} levels") from None
    reader = _Reader(label)
    reader.document.data = None if node is None else reader.value(node, ())
    return reader.document
