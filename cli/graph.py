"""Draw a scenario's network before a run: PNG, SVG, PDF, or text in DOT or Mermaid."""

from __future__ import annotations

from pathlib import Path

import click

from emulation.completions import offer_scenarios, offer_settings
from model.errors import UserError
from model.scenario.load import load_scenario, parse_overrides
from records.ownership import give_to_user, make_folder
from records.streams import one_line, say

_TEXTS = ("dot", "mermaid")
_SUFFIXES = {
    ".png": "png", ".svg": "svg", ".pdf": "pdf", ".dot": "dot", ".gv": "dot",
    ".mmd": "mermaid", ".mermaid": "mermaid",
}  # fmt: skip
_FORMATS = ("png", "svg", "pdf", *_TEXTS)


@click.command()
@click.argument("scenario", metavar="SCENARIO", shell_complete=offer_scenarios)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE",
              shell_complete=offer_settings,
              help="Override a value of the scenario, e.g. network.backbone_topology=ring.")  # fmt: skip  # noqa: E501
@click.option("--format", "form", type=click.Choice(_FORMATS),
              help="What to write.  [default: by the suffix of --out, else png]")  # fmt: skip
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE",
              help="File to write.  [default: results/analysis/graph-SCENARIO.png; DOT and "
              "Mermaid go to standard output]")  # fmt: skip
def graph(scenario: str, settings: tuple[str, ...], form: str | None, out: Path | None) -> None:
    """Draw the network of SCENARIO: its nodes by name, its links with their rates.

    Base stations with their edge servers and devices, apart from where they stand on the ground.
    Links that events change are dashed. DOT is for Graphviz, Mermaid for Markdown pages.
    """
    form = form or _form_of(out)
    resolved = load_scenario(scenario, parse_overrides(settings))
    if form in _TEXTS:
        from analysis import network_text

        text = network_text.dot(resolved) if form == "dot" else network_text.mermaid(resolved)
        if out is None:
            say(text, nl=False)
            return
        _write(out, text)
    else:
        # matplotlib takes a second to import.
        from analysis.network_map import draw_network, save_picture

        out = out or Path(f"results/analysis/graph-{resolved.name}.{form}")
        save_picture(draw_network(resolved), out, form)
    say(f"written: {one_line(out)}")


def _form_of(out: Path | None) -> str:
    if out is None:
        return "png"
    form = _SUFFIXES.get(out.suffix.lower())
    if form is None:
        raise click.UsageError(
            f"--out {one_line(out)}: its suffix must be one of {', '.join(_SUFFIXES)}, "
            "or name the --format."
        )
    return form


def _write(path: Path, text: str) -> None:
    try:
        make_folder(path.parent)
        path.write_text(text, encoding="utf-8")
        give_to_user(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror or error}") from error
