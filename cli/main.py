"""The command `lab`: verbs found in a table, each imported only when it is called."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
from collections.abc import Sequence

import click

from cli import __version__
from model.errors import nearest
from records.answers import status_of

COMPLETE = "_LAB_COMPLETE"
"""Variable by which a shell asks for completions; click's own name for it would hold a ``/``."""

VERBS: dict[str, dict[str, str]] = {
    "Look": {
        "check": "cli.check:check",
        "results": "cli.results:results",
        "policies": "cli.policies:policies",
        "calibrate": "cli.calibrate:calibrate",
        "scenario": "cli.scenario:scenario",
        "nodes": "cli.nodes:nodes",
        "graph": "cli.graph:graph",
        "trace": "cli.trace:trace",
    },
    "Run": {
        "demo": "cli.demo:demo",
        "run": "cli.run:run",
        "rerun": "cli.rerun:rerun",
        "api": "cli.api:api",
        "watch": "cli.watch:watch",
        "clean": "cli.clean:clean",
        "bench": "cli.bench:bench",
        "chaos": "cli.chaos:chaos",
    },
    "Learn": {
        "new": "cli.new:new",
        "tune": "cli.tune:tune",
        "train": "cli.train:train",
    },
    "Compare and draw": {
        "contest": "cli.contest:contest",
        "gap": "cli.gap:gap",
        "sweep": "cli.sweep:sweep",
        "table3": "cli.table3:table3",
        "figure": "cli.figure:figure",
        "links": "cli.links:links",
        "compare": "cli.compare:compare",
        "report": "cli.report:report",
        "pcap": "cli.pcap:pcap",
    },
    "Comfort": {
        "completion": "cli.completion:completion",
    },
}
"""Heading in the help → verb → ``module:command``. A new verb is one line here."""

SHELL_VERBS = (
    ("setup", "Install what is missing: system packages, Python environment."),
    ("test", "Set up, then run every check; arguments go to pytest."),
    ("python", "Run the lab's own Python interpreter."),
    ("venv-path", "Print where the Python environment lives."),
)
"""What ``./lab`` itself answers, before there is an environment to run this module in."""


class LazyGroup(click.Group):
    """A group whose verbs live in `VERBS` and are imported one at a time."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the verbs whose modules exist, in the order of the table."""
        return [verb for verbs in VERBS.values() for verb, where in verbs.items() if _exists(where)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one verb, or None where there is no such verb."""
        where = _find(cmd_name)
        if where is None or not _exists(where):
            return None
        module, _, attribute = where.partition(":")
        command = getattr(importlib.import_module(module), attribute)
        if not isinstance(command, click.Command):
            raise TypeError(f"{where} is no click command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a verb. Raises ``UsageError`` that names the nearest one."""
        name = args[0]
        if not ctx.resilient_parsing and not name.startswith("-") and _find(name) is None:
            known = [*self.list_commands(ctx), *(verb for verb, _ in SHELL_VERBS)]
            ctx.fail(f"No such command '{name}'{nearest(name, known) or '.'}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the verbs under their headings.

        The one-line helps are read from the modules' docstrings, without importing them: the help
        should be there at once, however much the verbs import.
        """
        for heading, verbs in VERBS.items():
            rows = [(verb, _summary(where)) for verb, where in verbs.items() if _exists(where)]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)
        with formatter.section("The lab itself"):
            formatter.write_dl(SHELL_VERBS)


def _find(verb: str) -> str | None:
    return next((verbs[verb] for verbs in VERBS.values() if verb in verbs), None)


def _exists(where: str) -> bool:
    return importlib.util.find_spec(where.partition(":")[0]) is not None


def _summary(where: str) -> str:
    """Return the first line of the docstring of a verb's module, which is the verb's help."""
    import ast

    spec = importlib.util.find_spec(where.partition(":")[0])
    if spec is None or spec.origin is None:
        return ""
    with open(spec.origin, encoding="utf-8") as source:  # noqa: PTH123 - pathlib costs a tenth of the help's time
        text = ast.get_docstring(ast.parse(source.read())) or ""
    return text.partition("\n")[0]


@click.group(
    cls=LazyGroup,
    name="lab",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`./lab VERB --help` explains a verb. Begin with: ./lab check",
)
@click.version_option(__version__, prog_name="crowd-edge-lab")
def lab() -> None:
    """Experiments with task offloading on an emulated crowd-edge network."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return the exit status; the user's mistakes take one line, no traceback."""
    return status_of(lambda: _answer(arguments), _with_hint)


def _with_hint(message: str) -> str:
    # What reads numbers takes a while to import, which the help need not wait for.
    from cli.numbers import with_hint

    return with_hint(message)


def _answer(arguments: Sequence[str] | None) -> object:
    if COMPLETE in os.environ:
        from click.shell_completion import add_completion_class

        from cli.bash_completion import BashWords

        add_completion_class(BashWords)
    # `./lab` holds Ctrl-C back until it can be answered, which is here.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    return lab.main(arguments, prog_name="./lab", complete_var=COMPLETE, standalone_mode=False)
