"""Scenarios from YAML: by name or path, on top of another one, with values overridden.

A file may say ``extends: case1`` (a name, or a path relative to the file) and then only what
differs: sections merge key by key, lists and values replace. ``name`` (else the file's stem) and
``description`` are a file's own. Below everything lie the defaults of ``model.scenario``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from model.errors import ScenarioError, nearest
from model.scenario import Scenario, WorkloadSpec
from model.scenario.blame import culprit, name_for
from model.scenario.consistency import Mistake, mistakes
from model.scenario.error_text import keys_at, mistakes_of
from model.scenario.late_events import late_events, without
from model.scenario.yaml_reader import MAX_BYTES, Document, KeyPath, read_value, read_yaml
from model.shipped_scenarios import SCENARIO_FOLDER, scenario_names

MAX_MISTAKES = 10
_OWN = ("name", "description")
"""What a scenario does not inherit."""

_A_SCENARIO = "a scenario is a YAML file ('./lab scenario list' names those of the lab)"
_logger = logging.getLogger(__name__)
_said: set[str] = set()


@dataclass(slots=True)
class _Draft:
    """A scenario on the way: its data, where each key of it was written, and its files.

    Attributes:
        data: the values so far.
        origins: ``"file:line"`` by key path.
        files: its own file, the one that this extends, and so on.
    """

    data: dict[str, Any]
    origins: dict[KeyPath, str] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    labels: list[str] = field(default_factory=list)

    def written(self, path: KeyPath) -> int:
        """Return in which file a key was written, 0 for the lowest of a chain; -1 for none."""
        origin = next((self.origins[path[:k]] for k in range(len(path), 0, -1)
                       if path[:k] in self.origins), "")  # fmt: skip
        file = origin.rpartition(":")[0]
        if file in self.labels:
            return self.labels.index(file)
        return len(self.labels) if origin else -1

    def origin(self, path: KeyPath) -> str:
        """``"file:line"`` of the nearest thing that was written down."""
        return next(
            (self.origins[path[:k]] for k in range(len(path), -1, -1) if path[:k] in self.origins),
            "",
        )

    def lay(
        self, path: KeyPath, entries: Mapping[Any, object], origins: Mapping[KeyPath, str]
    ) -> None:
        """Put entries into what stands at a path: mappings merge, everything else replaces."""
        section: Any = self.data
        for part in path:
            section = section[part]
        merged: set[KeyPath] = set()
        replaced: set[KeyPath] = set()
        _merge(section, entries, path, merged, replaced)
        # One pass over all origins, not one for each entry: a file may have thousands of both.
        kept = {p: o for p, o in self.origins.items() if not _within(p, replaced)}
        new = {p: o for p, o in origins.items() if p in merged or _within(p, replaced)}
        self.origins = kept | new


def _merge(
    section: Any,
    entries: Mapping[Any, object],
    path: KeyPath,
    merged: set[KeyPath],
    replaced: set[KeyPath],
) -> None:
    for key, value in entries.items():
        here = (*path, key)
        old = section.get(key) if isinstance(section, dict) else section[key]
        if isinstance(old, dict) and isinstance(value, dict):
            merged.add(here)
            _merge(old, value, here, merged, replaced)
        else:
            replaced.add(here)
            section[key] = value


def _within(path: KeyPath, places: set[KeyPath]) -> bool:
    return any(path[:k] in places for k in range(1, len(path) + 1))


def find_scenario(name_or_path: str | Path, beside: Path | None = None) -> Path:
    """The file of a scenario: a path (relative to ``beside``, if given) or a name.

    What ends in ``.yaml`` or ``.yml`` or has a slash is a path, and so is what is no name but is
    there. Raises ``ScenarioError``.
    """
    text = str(name_or_path)
    names = scenario_names()
    path = (beside or Path()) / text
    if "/" in text or text.endswith((".yaml", ".yml")) or (text not in names and _is_there(path)):
        return required_file(path, text)
    path = SCENARIO_FOLDER / f"{text}.yaml"
    if text not in names:
        raise ScenarioError(
            f"there is no scenario '{text}'{nearest(text, list(names)) or '.'} There are: "
            f"{', '.join(names)}; or give the path of a .yaml file"
        )
    return path


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:
        return False


def required_file(path: Path, text: str) -> Path:
    """Return a path, called ``text`` in messages, that can be read. Raises ``ScenarioError``."""
    try:
        found = path.exists()
        if found and path.is_dir():
            inside = sorted(p.name for p in path.iterdir() if p.suffix in (".yaml", ".yml"))
            hint = f"; in it are {', '.join(inside[:5])}" if inside else ""
            raise ScenarioError(f"{text[:200] or path}: is a folder, not a YAML file{hint}")
    except OSError as error:
        raise ScenarioError(f"{text[:200]}: cannot be read: {error.strerror}") from None
    if not found:
        raise ScenarioError(f"{path}: there is no such file")
    return path


def load_scenario(
    name_or_path: str | Path,
    overrides: Mapping[str, object] | None = None,
    *,
    text_is_yaml: bool = True,
) -> Scenario:
    """Read, merge and check a scenario.

    Args:
        name_or_path: ``"case1"`` or the path of a YAML file.
        overrides: values by dotted key, e.g. ``{"network.e2d.rate_mbps": "5"}``; list entries
            are addressed by position (``network.clusters.0.devices``).
        text_is_yaml: whether a value that is text is read as YAML, as ``--set`` does; False for
            values that come from a file, which has been read already.

    Raises:
        ScenarioError: for every mistake one line (at most ten): file and line, key path, what is
            wrong, what is allowed.
    """
    draft = _inherit(find_scenario(name_or_path), ())
    for key, value in (overrides or {}).items():
        is_text = isinstance(value, str) and text_is_yaml
        _override(draft, key, read_value(str(value), f"--set {key}") if is_text else value)
    return _validated(draft)


def parse_overrides(
    items: Iterable[str], option: str = "--set", example: str = "network.e2d.rate_mbps=5"
) -> dict[str, object]:
    """``["a.b=1", ...]`` of a command line as text by key, which ``load_scenario`` takes.

    Raises ``ScenarioError`` for an item without ``=``, and for a key that is given twice.
    """
    overrides: dict[str, object] = {}
    for item in items:
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals or not key:
            raise ScenarioError(f"{option} {item}: must be KEY=VALUE, as {example}")
        if key in overrides:
            raise ScenarioError(f"{option} {item}: {key} is given twice, first as {overrides[key]}")
        overrides[key] = value
    return overrides


def parse_assignments(
    items: Iterable[str], option: str, example: str = "patience_s=0.5"
) -> dict[str, Any]:
    """``["a=1", "b=x"]`` → ``{"a": 1, "b": "x"}``: values as a scenario file would have them.

    Raises ``ScenarioError`` for what is not KEY=VALUE, a key given twice, and what is not YAML.
    """
    texts = parse_overrides(items, option, example)
    return {key: read_value(str(text), f"{option} {key}") for key, text in texts.items()}


def _defaults() -> dict[str, Any]:
    anything = WorkloadSpec(tasks_per_epoch=1, work_ghz_s=1, data_mb=1)
    dumped = Scenario(name="x", workload=anything).model_dump(mode="json", exclude={"workload"})
    return {key: value for key, value in dumped.items() if key not in _OWN}


def _shown(path: Path) -> str:
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _read(path: Path) -> Document:
    label = _shown(path)
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1).decode()
    except OSError as error:
        raise ScenarioError(f"{label}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ScenarioError(f"{label}: is not UTF-8 text") from None
    try:
        return read_yaml(text, label)
    except ScenarioError as error:
        if path.suffix in (".yaml", ".yml") or path.is_fifo() or ": not YAML: " not in str(error):
            raise
        raise ScenarioError(f"{error}; {_A_SCENARIO}") from None


def _inherit(path: Path, below: tuple[Path, ...]) -> _Draft:
    document = _read(path)
    own = document.data
    if not isinstance(own, dict):
        hint = "" if path.suffix in (".yaml", ".yml") else f"; {_A_SCENARIO}"
        raise ScenarioError(f"{document.label}: must be a section with keys, as 'workload:'{hint}")
    here = (*below, path.resolve())
    origins = {p: f"{document.label}:{line}" for p, line in document.lines.items()}
    parent = own.pop("extends", None)
    draft = _Draft(_defaults())
    if parent is not None:
        draft = _parent(parent, path, here, origins[("extends",)])
    for key in _OWN:
        draft.data.pop(key, None)
        draft.origins.pop((key,), None)
    draft.lay((), own, origins)
    draft.origins[()] = document.label
    draft.labels.append(document.label)
    draft.data.setdefault("name", path.stem)
    draft.files = (path.resolve(), *draft.files)
    return draft


def _parent(parent: object, path: Path, here: tuple[Path, ...], origin: str) -> _Draft:
    if not isinstance(parent, str):
        raise ScenarioError(f"{origin}: extends: must be one scenario's name or path")
    try:
        base = find_scenario(parent, path.parent)
    except ScenarioError as error:
        raise ScenarioError(f"{origin}: extends: {error}") from None
    if base.resolve() in here:
        chain = " > ".join(p.name for p in (*here, base.resolve()))
        raise ScenarioError(f"{origin}: extends: goes round in a circle: {chain}")
    return _inherit(base, here)


def _override(draft: _Draft, key: str, value: object) -> None:
    origin = f"--set {key}"
    path: list[str | int] = []
    here: Any = draft.data
    parts = key.split(".")
    for k, part in enumerate(parts):
        if isinstance(here, list):
            if part not in map(str, range(len(here))):
                many = f"0 to {len(here) - 1}" if here else "none; give the whole list"
                raise ScenarioError(f"{origin}: '{part}' must be a position in the list ({many})")
            path.append(int(part))
        elif isinstance(here, dict):
            allowed = keys_at(tuple(path))
            if part not in allowed:
                raise ScenarioError(
                    f"{origin}: unknown key '{part}'{nearest(part, allowed) or '.'} "
                    f"Allowed here: {', '.join(allowed)}"
                )
            path.append(part)
            if part not in here and k + 1 < len(parts):
                here[part] = {}
        else:
            raise ScenarioError(f"{origin}: '{'.'.join(parts[:k])}' has no keys below it")
        here = here.get(part) if isinstance(here, dict) else here[int(part)]
    *above, last = path
    draft.lay(tuple(above), {last: _plain(value, origin)}, {tuple(path): "--set"})


def _plain(value: object, origin: str) -> object:
    """Copy a value as the data that a file could have: a caller's tuples become lists."""
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError, RecursionError):
        raise ScenarioError(
            f"{origin}: {type(value).__name__} is no value that a scenario can have; give "
            "numbers, text, lists or mappings"
        ) from None


def _validated(draft: _Draft) -> Scenario:
    try:
        # From JSON, strictly: lists become tuples, but "5" is no number and true is not 1.
        scenario = Scenario.model_validate_json(json.dumps(draft.data), strict=True)
    except ValidationError as error:
        _complain(draft, mistakes_of(error, draft.data))
    late = late_events(scenario, draft.written)
    wrong = [mistake for mistake in mistakes(scenario) if mistake[0][:3] not in late]
    if wrong:
        _complain(draft, wrong)
    scenario._files = tuple(map(str, draft.files))
    found = without(scenario, late)
    for note in set(found.notes) - _said:
        _said.add(note)
        _logger.warning("note: %s", note)
    return found


def _of_file_name(draft: _Draft) -> str:
    stem = draft.data["name"]
    better = name_for(stem, scenario_names())
    return (
        f"the file's name, '{stem}', cannot name a scenario (at most 41 lower-case letters, "
        f"digits, '-' and '_'); add a line 'name: {better}'"
    )


def shipped_ancestors(scenario: Scenario) -> tuple[str, ...]:
    """Names of the shipped scenarios that a scenario is or extends, the nearest first.

    A file of the same ``name`` is no shipped scenario: what was trained or tuned for a scenario is
    found by its files.
    """
    home = SCENARIO_FOLDER.resolve()
    paths = (Path(file) for file in scenario.files)
    return tuple(p.stem for p in paths if p.parent == home and p.suffix == ".yaml")


def _complain(draft: _Draft, wrong: list[Mistake]) -> NoReturn:
    lines = []
    shown = MAX_MISTAKES if len(wrong) <= MAX_MISTAKES else MAX_MISTAKES - 1
    for path, words in wrong[:shown]:
        blamed = culprit(path, draft.written)
        origin = draft.origin(blamed)
        if blamed != path:
            words = f"with {'.'.join(map(str, path))}: {words}"
        if path == ("name",) and path not in draft.origins:
            words = _of_file_name(draft)
        dotted = ".".join(map(str, blamed))
        joint = " " if origin == "--set" else ": "
        lines.append(f"{origin}{joint}{dotted}: {words}" if dotted else f"{origin}: {words}")
    if len(wrong) > shown:
        lines.append(f"{draft.origins[()]}: ... and {len(wrong) - shown} more mistakes")
    raise ScenarioError("\n".join(lines))
