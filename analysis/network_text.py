"""A scenario's network as text that other programs draw: DOT of Graphviz, and Mermaid."""

from __future__ import annotations

from collections.abc import Iterator

from model.inventory import LinkRow, link_rows
from model.network import Network, build_network
from model.scenario import Scenario

_DOT_SHAPES = {
    "device": "circle", "edge": "box", "cloud": "hexagon", "bs": "triangle", "ap": "diamond",
    "core": "diamond",
}  # fmt: skip
_MERMAID_SHAPES = {
    "device": ("((", "))"), "edge": ("[", "]"), "cloud": ("{{", "}}"), "bs": ("[/", "\\]"),
    "ap": ("{", "}"), "core": ("{", "}"),
}  # fmt: skip


def dot(scenario: Scenario) -> str:
    """Return a scenario's network in DOT: ``dot -Tsvg`` or ``neato -Tsvg`` draws it."""
    network = build_network(scenario)
    return "\n".join(_dot_lines(scenario, network)) + "\n"


def _dot_lines(scenario: Scenario, network: Network) -> Iterator[str]:
    yield f'graph "{scenario.name}" {{'
    yield "  layout=neato; overlap=false; splines=true; node [fontsize=10]; edge [fontsize=8];"
    for node in network.nodes.values():
        yield f'  "{node.name}" [shape={_DOT_SHAPES[node.kind]}];'
    for row in _cables(scenario, network):
        style = ", style=dashed" if row.changes else ""
        yield f'  "{row.source}" -- "{row.target}" [label="{_rate(row)}"{style}];'
    yield "}"


def mermaid(scenario: Scenario) -> str:
    """Return a scenario's network in Mermaid, which Markdown pages draw in a ``mermaid`` block."""
    network = build_network(scenario)
    return "\n".join(_mermaid_lines(scenario, network)) + "\n"


def _mermaid_lines(scenario: Scenario, network: Network) -> Iterator[str]:
    yield "graph LR"
    for node in network.nodes.values():
        before, after = _MERMAID_SHAPES[node.kind]
        # `end` and its like are words of Mermaid's: no node goes by its bare name.
        yield f'  n_{node.name}{before}"{node.name}"{after}'
    for row in _cables(scenario, network):
        line = "-.-" if row.changes else "---"
        label = f'|"{_rate(row)}"|' if row.link_class else ""
        yield f"  n_{row.source} {line}{label} n_{row.target}"


def _cables(scenario: Scenario, network: Network) -> list[LinkRow]:
    """Return a link a cable, changing where either direction does."""
    rows = link_rows(scenario, network)
    changing = {row.cable for row in rows if row.changes}
    first: dict[str, LinkRow] = {}
    for row in sorted(rows, key=lambda row: row.cable in changing and not row.changes):
        first.setdefault(row.cable, row)
    order = dict.fromkeys(row.cable for row in rows)
    return [first[cable] for cable in order]


def _rate(row: LinkRow) -> str:
    return "" if row.rate_mbps is None else f"{row.rate_mbps:g} Mbps"


def link_label(row: LinkRow) -> str:
    """Return a link's class and figures in words: ``E2D: 10 Mbps, 50 ms, buffer 4 MB``."""
    if row.link_class is None:
        return "not shaped"
    parts = [_rate(row)]
    parts += [f"{row.delay_ms:g} ms"] if row.delay_ms else []
    parts += [f"{row.loss_percent:g} % loss"] if row.loss_percent else []
    return f"{row.link_class.upper()}: {', '.join(parts)}, buffer {row.buffer_mb:g} MB"
