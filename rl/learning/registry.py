"""Algorithms by name: the lab's, and learners of a user's own as ``module:Class``. Free of torch.

A learner of a user's own trains in this process, with the caller's rights: it is the caller's code.
A policy on a device, in contrast, runs behind walls (``emulation.sandbox``). So root imports none.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

from model.errors import UserError, nearest
from rl.learning.options import Options, TrainingConfig
from rl.policies.checking import raised
from rl.policies.learned import LEARNERS

if TYPE_CHECKING:
    from rl.learning.learner import Learner

BASE = "rl.learning.learner.Learner"


class LearnerError(UserError):
    """A learner's class cannot be imported, or its code raised; one line.

    Attributes:
        trace: traceback of what the code raised; "" where there is none.
    """

    trace = ""


def algorithms() -> tuple[str, ...]:
    """Return the names of the lab's algorithms, sorted."""
    return tuple(sorted(LEARNERS))


def is_users(algorithm: str) -> bool:
    """Return whether an algorithm is a user's own, ``module:Class``, and not the lab's."""
    return ":" in algorithm


def options_class(algorithm: str) -> type[Options]:
    """Return the class of an algorithm's options.

    Raises ``UserError`` if there is no such algorithm, ``LearnerError`` if its class cannot be
    imported.
    """
    found = _class_of(algorithm, _path_of(algorithm))
    kind = getattr(found, "options_class", found)
    if not (isinstance(kind, type) and issubclass(kind, Options)):
        raise LearnerError(f"learner '{algorithm}': {found.__name__} is not a {BASE}")
    return kind


def settings_file(algorithm: str) -> Path:
    """Return where an algorithm's settings may lie: a YAML file beside the module of its class."""
    module = sys.modules[_path_of(algorithm).partition(":")[0]]
    stem = algorithm.partition(":")[0].rpartition(".")[2]
    return Path(str(module.__file__)).resolve().with_name(f"{stem}.yaml")


def learner_class(config: TrainingConfig) -> type[Learner]:
    """Return the class that learns with a configuration; loads torch. Raises ``LearnerError``."""
    from rl.learning.learner import Learner

    algorithm = config.algorithm
    found = _class_of(algorithm, _path_of(algorithm))
    if issubclass(found, Options) and found.learner:
        found = _class_of(algorithm, found.learner)
    if not issubclass(found, Learner):
        raise LearnerError(f"learner '{algorithm}': {found.__name__} is not a {BASE}")
    return found


@contextmanager
def in_one_line(algorithm: str, what: str, trace: Path | None = None) -> Iterator[None]:
    """Raise ``LearnerError`` for what a user's own learner raises in the block.

    ``what`` names the method; the traceback goes to the file ``trace``.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, UserError) or not is_users(algorithm):
            raise
        fault = learner_error(algorithm, what, error)
        if trace is None:
            raise fault from error
        trace.write_text(fault.trace, encoding="utf-8")
        raise LearnerError(f"{fault}; traceback: {trace}") from error


def learner_error(algorithm: str, what: str, error: BaseException) -> LearnerError:
    """Return the error that says in a line what a learner's code raised, and where."""
    fault = raised(what, error)
    found = LearnerError(f"learner '{algorithm}': {fault}")
    found.trace = fault.trace
    return found


def _path_of(algorithm: str) -> str:
    """Return ``module:Class``. Raises ``UserError`` for an unknown name, and for a user's as root.

    A user's folder is put at the end of the module path, so that nothing in it hides a library.
    """
    if not is_users(algorithm):
        if algorithm in LEARNERS:
            return LEARNERS[algorithm][0]
        raise UserError(
            f"there is no algorithm '{algorithm}'{nearest(algorithm, algorithms()) or ';'} "
            f"there are {', '.join(algorithms())}, or name your own as module:Class"
        )
    if os.geteuid() == 0:
        raise UserError(
            f"learner '{algorithm}': root imports no code from a user's folder; "
            "train as an ordinary user, without sudo"
        )
    folder = _working_folder()
    if folder and folder not in sys.path:
        sys.path.append(folder)
    return algorithm


def _working_folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return ""


def _class_of(algorithm: str, path: str) -> type:
    """Import a class; the error names the algorithm."""
    module_name, _, class_name = path.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise learner_error(algorithm, f"cannot import {module_name}", error) from error
        raise LearnerError(
            f"learner '{algorithm}': there is no module {module_name} in "
            f"{_working_folder() or 'the current folder'} or in the project"
        ) from error
    except (Exception, SystemExit) as error:
        raise learner_error(algorithm, f"cannot import {module_name}", error) from error
    found = getattr(module, class_name, None)
    if isinstance(found, type):
        return found
    hint = nearest(class_name, _learners_in(module))
    raise LearnerError(f"learner '{algorithm}': {module_name} has no class {class_name}{hint}")


def _learners_in(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if hasattr(value, "options_class")]
