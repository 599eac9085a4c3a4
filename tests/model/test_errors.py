"""The tree of errors, and what becomes of each of them on a command line."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import model.errors
from model.errors import LabError, ScenarioError, UserError, as_user_error
from records.answers import status_of
from tests.test_architecture import ROOMS

SKIPPED = ("emulation.calibration.agent", "benchmarks.benchmarl_bench", "benchmarks.stock_mininet")
"""Programs that need what is not installed everywhere."""


def tree(kind: type[LabError] = LabError) -> Iterator[type[LabError]]:
    yield kind
    for below in kind.__subclasses__():
        yield from tree(below)


@pytest.fixture(scope="module", autouse=True)
def _all_modules() -> None:
    for room in ROOMS:
        package = importlib.import_module(room)
        for found in pkgutil.walk_packages(package.__path__, f"{room}."):
            if found.name not in SKIPPED and not found.name.endswith("__main__"):
                importlib.import_module(found.name)


def test_the_tree_is_drawn_as_it_is() -> None:
    drawn = str(model.errors.__doc__)
    for kind in {k for k in tree() if not k.__module__.startswith("tests")}:
        assert re.search(rf"\b{kind.__name__}\b", drawn), kind


def test_errors_that_have_a_name_are_in_the_tree() -> None:
    """Others stay within their module, which their names show."""
    strangers = {
        kind
        for kind in Exception.__subclasses__()
        if kind.__module__.partition(".")[0] in ROOMS and kind.__name__.endswith("Error")
    }
    assert {k.__name__ for k in strangers if not k.__name__.startswith("_")} == {"LabError"}


def test_every_error_of_the_tree_is_a_line_and_a_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for kind in tree():
        error = kind.__new__(kind)
        Exception.__init__(error, "links: what is wrong with bs1>e1, and what to do")

        def command(error: LabError = error) -> None:
            raise error

        assert status_of(command) == 2, kind
        said = capsys.readouterr().err
        assert said == "lab: links: what is wrong with bs1>e1, and what to do\n", kind


def test_a_scenarios_mistakes_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    def command() -> None:
        raise ScenarioError("a.yaml:1: this\na.yaml:2: that")

    assert status_of(command) == 2
    assert capsys.readouterr().err.splitlines() == ["lab: a.yaml:1: this", "lab: a.yaml:2: that"]


@pytest.mark.parametrize("kind", [ValueError, RuntimeError, KeyError, AssertionError])
def test_a_mistake_of_the_lab_keeps_its_traceback(kind: type[Exception]) -> None:
    def command() -> None:
        raise kind("impossible")

    with pytest.raises(kind):
        status_of(command)


def test_an_error_of_the_system_is_told_of_its_file() -> None:
    words = r"^/a: cannot be written: No space left on device; free some$"
    with (
        pytest.raises(UserError, match=words),
        as_user_error("/a: cannot be written", "; free some"),
    ):
        raise OSError(28, "No space left on device", "/a/b")
