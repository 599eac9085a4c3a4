"""Configuration of a training run: an algorithm's YAML file with a user's overrides, checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import numpy as np
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from model.errors import UserError, nearest
from model.scenario import Scenario
from model.scenario.load import shipped_ancestors
from model.scenario.yaml_reader import read_yaml
from model.text import how_to_write
from rl.learning.options import OptionError, TrainingConfig, config_class
from rl.learning.registry import in_one_line, options_class, settings_file

_SECTION = "options"
_SCENARIOS = "scenarios"
_FIXED = ("algorithm", "family")
"""What makes an algorithm what it is; ``--algo`` chooses it."""
_KINDS = {bool: "true or false", int: "whole number", float: "number", str: "text"}


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a training, as ``--set KEY=VALUE`` takes it.

    Attributes:
        key: its name, ``options.NAME`` for those of the learner.
        kind: whole number, number, text, true or false, or the words that it may be.
        limits: its range, "" without one.
        value: what the training takes.
        text: its meaning.
    """

    key: str
    kind: str
    limits: str
    value: object
    text: str


def load_config(
    algorithm: str, overrides: Mapping[str, Any], scenario: Scenario | None = None
) -> TrainingConfig:
    """Return the hyper-parameters of an algorithm, checked.

    Args:
        algorithm: its name, or ``module:Class`` of a learner of a user's own.
        overrides: values by key, ``options.KEY`` for those of the learner.
        scenario: what is trained for; an algorithm's file may have settings for a case (section
            ``scenarios``), which hold for all that extends it, too.

    Raises:
        OptionError: naming option, value and range, or the nearest option there is.
        UserError: if there is no such algorithm, or its class cannot be imported.
    """
    options = options_class(algorithm)
    kind = config_class(options, options.family or algorithm)
    usual, by_case = _defaults(algorithm, kind)
    cases = shipped_ancestors(scenario) if scenario else ()
    for_case: Mapping[str, Any] = next((by_case[name] for name in cases if name in by_case), {})
    given = {**for_case, **_flat(algorithm, kind, overrides)}
    config = _validated(algorithm, kind, {**usual, **given})
    _require_effect(algorithm, config, usual, overrides)
    if scenario is not None:
        with in_one_line(algorithm, "require_sense"):
            config.options.require_sense(config, scenario)
    return config


def options_of(config: TrainingConfig) -> list[Option]:
    """List all options of a training with their present values."""
    kind = type(config)
    unused = (*_FIXED, *config.options.unused)
    return [
        Option(key, _kind(field), limits_of(field), _value(config, key), field.description or "")
        for key, field in _fields(kind)
        if key not in unused
    ]


def _value(config: TrainingConfig, key: str) -> object:
    found: object = config
    for part in key.split("."):
        found = getattr(found, part)
    return list(found) if isinstance(found, tuple) else found


def _defaults(
    algorithm: str, kind: type[TrainingConfig]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Return the settings of an algorithm's file by full key, and those for cases by their names.

    Without a file, those are the defaults of the classes. Raises ``UserError`` naming the file.
    """
    path = settings_file(algorithm)
    if not path.is_file():
        return {}, {}
    text = path.read_text(encoding="utf-8", errors="surrogateescape")
    data = read_yaml(text, str(path)).data
    try:
        usual = _section(algorithm, {} if data is None else data)
        cases = _section(algorithm, usual.pop(_SCENARIOS, {}))
        for key in _FIXED:
            usual.pop(key, None)
        return _flat(algorithm, kind, usual), {
            name: _flat(algorithm, kind, _section(algorithm, case)) for name, case in cases.items()
        }
    except OptionError as error:
        raise OptionError(f"{path}: {error}", error.key) from None


def _section(algorithm: str, data: object) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise OptionError(f"{algorithm}: must be a section with keys, not {_shown(data)}", "")
    return dict(data)


def _fields(kind: type[TrainingConfig]) -> Iterator[tuple[str, FieldInfo]]:
    """Yield every option's key and field."""
    for name, field in kind.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from ((f"{name}.{key}", found) for key, found in inner.model_fields.items())
        else:
            yield name, field


def _flat(algorithm: str, kind: type[TrainingConfig], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return overrides by full key; ``options: {clip: 0.1}`` means ``options.clip: 0.1``."""
    flat: dict[str, Any] = {}
    for key, value in given.items():
        if key == _SECTION:
            if not isinstance(value, Mapping):
                raise OptionError(f"{algorithm}: {key}={value}: must be a section with keys", key)
            flat |= {f"{_SECTION}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    known = [name for name, _ in _fields(kind) if name not in _FIXED]
    for key in flat:
        if key in _FIXED:
            raise OptionError(f"{algorithm}: {key}: cannot be set; --algo chooses it", key)
        if key not in known:
            raise OptionError(
                f"{algorithm}: there is no option '{key}'{_nearest(key, known)} All of them: "
                f"./lab train --algo {algorithm} --options",
                key,
            )
    return flat


def _nearest(key: str, known: list[str]) -> str:
    """Suggest an option; the name alone is enough for one of the learner's, as ``clip``."""
    by_name = {name.rpartition(".")[2]: name for name in known}
    bare = key.rpartition(".")[2]
    if bare in by_name:
        return f"; did you mean '{by_name[bare]}'?"
    if hint := nearest(key, known):
        return hint
    word = re.search(r"'(.*)'", nearest(bare, by_name))
    return f"; did you mean '{by_name[word[1]]}'?" if word else "."


def _validated(
    algorithm: str, kind: type[TrainingConfig], given: Mapping[str, Any]
) -> TrainingConfig:
    data: dict[str, Any] = {"algorithm": algorithm, _SECTION: {}}
    data["family"] = get_args(kind.model_fields["family"].annotation)[0]
    for key, value in given.items():
        section, _, name = key.rpartition(".")
        (data[_SECTION] if section else data)[name] = value
    try:
        # From JSON, strictly: lists become tuples, but "5" is no number and true is not 1.
        return kind.model_validate_json(json.dumps(data, default=_item), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
    except (TypeError, ValueError) as error:
        raise UserError(f"{algorithm}: a value is no number, text or list: {error}") from None
    place = [str(part) for part in first["loc"]]
    fields = dict(_fields(kind))
    key = next(".".join(place[:k]) for k in (2, 1) if ".".join(place[:k]) in fields)
    raise OptionError(
        f"{algorithm}: {key}={_shown(given[key])}: {_rule(fields[key], given[key])}", key
    )


def _item(value: object) -> object:
    """Return a NumPy scalar as the number that it is, anything else as JSON cannot have it."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} {value!r}"[:80])


def _require_effect(
    algorithm: str,
    config: TrainingConfig,
    usual: Mapping[str, Any],
    given: Mapping[str, Any],
) -> None:
    unchanged = _validated(algorithm, type(config), usual)
    for key in config.options.unused:
        if key in given and _value(config, key) != _value(unchanged, key):
            raise OptionError(
                f"{algorithm}: {key}={_shown(given[key])}: has no effect on {algorithm}", key
            )


def _shown(value: object) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)[:60]


def _rule(field: FieldInfo, value: object) -> str:
    """Say what a value must be, and how a whole number is written that looks like another."""
    kind, limits = _kind(field), limits_of(field)
    hint = how_to_write(value) if field.annotation in (int, float) else ""
    if get_origin(field.annotation) is Literal:
        hint = nearest(value, get_args(field.annotation)) if isinstance(value, str) else ""
    article = "" if kind.startswith(("one of", "true", "text", "2")) else "a "
    return f"must be {article}{kind}{' ' + limits if limits else ''}{hint}"


def _kind(field: FieldInfo) -> str:
    """Name the type of an option."""
    annotation: Any = field.annotation
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(map(str, get_args(annotation)))}"
    if get_origin(annotation) is tuple:
        return f"{len(get_args(annotation))} whole numbers"
    return _KINDS[annotation]


def limits_of(field: FieldInfo) -> str:
    """Return the range of a number, as "from 1 to 100000"; "" for what has none."""
    metadata = field.metadata
    if get_origin(field.annotation) is tuple:
        metadata = list(get_args(get_args(field.annotation)[0])[1].metadata)
    low = next((m.ge for m in metadata if hasattr(m, "ge")), None)
    high = next((m.le for m in metadata if hasattr(m, "le")), None)
    return "" if low is None else f"from {low:g} to {high:.12g}"
