"""What README.md and docs/ tell to type can be typed; what is quick and needs no root is run."""

from __future__ import annotations

import importlib.util
import itertools
import re
import sys
from pathlib import Path

import click
import pytest

from cli.main import SHELL_VERBS, lab, main
from metrics.summary import summarise
from model.scenario.load import load_scenario
from records.reader import find_results, open_result
from tests.documented import PAGES, ROOT, Command, commands
from tests.recipes import REGISTRIES, follow

PLACEHOLDER = re.compile(r"[A-Z][A-Z-]*|.*…|<[^>]+>")
"""``RESULT``, ``<run>``, ``…``: what the reader puts something in for."""
_FILE = re.compile(r"[^=]*\.(yaml|json|parquet|pcap|npz)")

QUICK = (
    "./lab check",
    "./lab scenario list",
    "./lab scenario show mini",
    "./lab scenario schema --stdout",
    "./lab trace case3 --seed 1 --out trace.parquet",
    "./lab contest mini --policies self-biased,own-edge --episodes 2",
    "./lab sweep ci --dry-run",
)
"""Commands of the pages that are run, besides those of the pages that are walked through."""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, as a reader has one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def parse(words: list[str]) -> None:
    """Parse a command line of ./lab without carrying anything out."""
    command: click.Command = lab
    context = command.make_context("./lab", list(words))
    while isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, found.make_context(name, rest, parent=context)


def make_what_is_named(folder: Path, words: list[str]) -> None:
    """Files and folders that a command names, so that it finds them."""
    (folder / "results").mkdir(exist_ok=True)
    (folder / "a_file").touch()
    for word in (w.rpartition("=")[2] for w in words):
        path = folder / word
        if path.exists() or word.startswith(("/", "-", "./")):
            continue
        if _FILE.fullmatch(word):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        elif "/" in word and " " not in word:
            path.mkdir(parents=True, exist_ok=True)


def complaint(command: Command, folder: Path) -> str:
    """Why a command cannot be typed, or nothing."""
    words = [
        re.sub(r"\$\w+", "1", re.sub(r"<\w+>|\*|…(?=/)|(?<=/)…", "x", w)) if "/" in w else w
        for w in command.words[1:]
    ]
    if "python" in (words[0], command.words[0]):
        module = words[words.index("-m") + 1] if "-m" in words else "cli"
        return "" if importlib.util.find_spec(module) else f"there is no module {module}"
    if words[0] in {verb for verb, _ in SHELL_VERBS} or PLACEHOLDER.fullmatch(words[0]):
        return ""
    make_what_is_named(folder, words)
    open_places = [k for k, w in enumerate(words) if k and PLACEHOLDER.fullmatch(w)]
    complaints = []
    for values in itertools.product(("results", "1", "mini", "a_file"), repeat=len(open_places)):
        for k, value in zip(open_places, values, strict=True):
            words[k] = value
        complaints.append(_complaint(words, whole=command.whole))
    return "" if "" in complaints else complaints[-1]


def _complaint(words: list[str], *, whole: bool) -> str:
    try:
        parse(words)
    except click.exceptions.Exit:  # --help
        return ""
    except (click.MissingParameter, click.exceptions.NoArgsIsHelpError) as error:
        # In a sentence a verb may stand for itself.
        return error.format_message() if whole else ""
    except click.UsageError as error:
        return error.format_message()
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_commands_can_be_typed(page: Path, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page.parent.name == "howto" and page.name in REGISTRIES:
        follow(page.name, here, monkeypatch)  # it names what it has added
    wrong = [f"{c}: {why}" for c in commands(page) if (why := complaint(c, here))]
    assert wrong == []


def test_a_wrong_command_is_found(here: Path) -> None:
    for text in ("run mini --no-such-option", "rum mini", "report", "figure 12 results",
                 "sweep RESULT --jobs two"):  # fmt: skip
        command = Command("here", ("./lab", *text.split()), whole=True, sudo=False)
        assert complaint(command, here), text


def test_there_are_commands() -> None:
    counts = {page.name: len(commands(page)) for page in PAGES}
    assert counts["README.md"] >= 10
    assert counts["cli.md"] >= 30


@pytest.mark.parametrize("page", ["howto/scenario.md", "howto/topology.md", "howto/events.md"])
def test_scenarios_of_the_pages_are_scenarios(page: str, here: Path) -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / page).read_text("utf-8"), re.DOTALL)
    assert blocks
    for text in blocks:
        (here / "mine.yaml").write_text(text)
        load_scenario(here / "mine.yaml")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_quick_commands_run(here: Path) -> None:
    told = {" ".join(command.words) for page in PAGES for command in commands(page)}
    assert set(QUICK) <= told
    for text in QUICK:
        assert main(text.split()[1:]) == 0, text


def walk(page: str) -> None:
    """Type what a page tells, in order, but for what needs root or another Python."""
    for command in commands(ROOT / "docs" / page):
        if command.whole and not command.sudo and command.words[1] != "python":
            assert main(list(command.words[1:])) == 0, str(command)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_tutorial_can_be_followed_and_its_numbers_are_right(here: Path) -> None:
    walk("tutorial.md")
    naive, rule = (
        summarise(open_result(find_results(here / "results" / "mini" / policy)[0]))
        for policy in ("own-edge", "self-biased")
    )
    text = (ROOT / "docs" / "tutorial.md").read_text("utf-8")
    assert f"ΣE/Σo` {naive.unit_delay:.1f} s/MB" in text
    assert f"{naive.link_load['access']:.1f} s of traffic" in text
    assert f"{rule.unit_delay:.1f} s/MB, and" in text
    # The one comparison of the page that was asked for a page of its own.
    page = (here / "results" / "analysis" / "compare.html").read_text("utf-8")
    faster = re.search(r"(\d+ %) of the tasks were faster", page)
    assert faster is not None
    assert f"{faster[1]} of the tasks are faster" in text

    readme = (ROOT / "README.md").read_text("utf-8")
    for found in (naive, rule):
        told = f"{found.unit_delay:.1f} s/MB | {found.link_load['access']:.2f} s | "
        assert told + f"{found.tasks['unfinished']} of {found.generated} |" in readme
    assert f"keeps {100 * rule.target_share['self']:.0f} % of the tasks" in readme


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("page", ["howto/policy.md", "howto/topology.md"])
def test_how_tos_can_be_followed(page: str, here: Path) -> None:
    text = (ROOT / "docs" / page).read_text("utf-8")
    for name, content in re.findall(r"```yaml\n# (\S+)\n(.*?)```", text, re.DOTALL):
        (here / name).write_text(content)
    walk(page)
