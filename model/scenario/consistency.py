"""What a scenario's parts must be to each other, beyond what each section checks for itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from model.clips import catalogue_of
from model.errors import ScenarioError, nearest
from model.network import Network, build_network
from model.scenario import (
    MAX_LINK_MBPS,
    MIN_LINK_MBPS,
    CapacityChange,
    CapacityProcess,
    ClusterSpec,
    LinkFailure,
    Scenario,
)
from model.scenario.yaml_reader import KeyPath

MAX_UNITS = 2000
"""Hosts of an experiment: a device's knowledge of its peers grows with their square."""
MAX_TASKS = 5_000_000
"""Expected tasks of a run: all of them are drawn beforehand and kept in memory."""
MAX_EVENTS = 200_000
"""Changes of capacity, or of owners' use of devices, in a run: drawn beforehand, too."""

_MEAN_ERROR = 0.05
"""By how much a workload's mean may differ from its clips'."""

Mistake = tuple[KeyPath, str]
"""Where a mistake is and what is wrong and allowed."""


def mistakes(scenario: Scenario) -> list[Mistake]:
    """Everything that does not fit together; an empty list for a scenario that can be run."""
    found = [*_nodes(scenario), *_sizes(scenario)]
    if found:
        return found  # The network of such a scenario may not exist.
    network = build_network(scenario)
    return [*_events(scenario, network), *_probes(scenario, network), *_clips(scenario)]


def require_sizes(scenario: Scenario) -> None:
    """Raise ``ScenarioError`` if a scenario is larger than allowed, however it was made."""
    found = [*_nodes(scenario), *_sizes(scenario)]
    if found:
        raise ScenarioError(
            "\n".join(f"{scenario.name}: {'.'.join(map(str, at))}: {words}" for at, words in found)
        )


def _largest(cluster: ClusterSpec) -> int:
    return cluster.devices if isinstance(cluster.devices, int) else cluster.devices[1]


def _nodes(scenario: Scenario) -> Iterator[Mistake]:
    spec = scenario.network
    taken = {b.name: "a base station" for b in spec.base_stations}
    taken |= {b.edge: "an edge server" for b in spec.base_stations}
    taken |= {c.name: "a cluster" for c in spec.clusters}
    for k, cluster in enumerate(spec.clusters):
        for name in (f"{cluster.name}d{i}" for i in range(1, _largest(cluster) + 1)):
            if name in taken:
                yield (
                    ("network", "clusters", k, "name"),
                    f"its device '{name}' would have the name of {taken[name]}; rename one of them",
                )
    units = len(spec.base_stations) + sum(_largest(c) for c in spec.clusters)
    if units > MAX_UNITS:
        yield ("network", "clusters"), f"up to {units} hosts; at most {MAX_UNITS} are allowed"


def _sizes(scenario: Scenario) -> Iterator[Mistake]:
    load = scenario.workload
    devices = sum(_largest(c) for c in scenario.network.clusters)
    epochs = devices * scenario.duration_s / (sum(load.epoch_gap_s) / 2)
    if max(epochs, epochs * load.tasks_per_epoch) > MAX_TASKS:
        yield (
            ("workload",),
            f"about {epochs:.0f} epochs of {load.tasks_per_epoch:g} tasks in this run; at most "
            f"{MAX_TASKS} tasks are allowed (slots, epoch_gap_s, tasks_per_epoch)",
        )
    if scenario.duration_s / scenario.compute.device.busy_dwell_s > MAX_EVENTS:
        yield (
            ("compute", "device", "busy_dwell_s"),
            f"more than {MAX_EVENTS} busy periods in this run; make them longer",
        )


def _events(scenario: Scenario, network: Network) -> Iterator[Mistake]:
    events = scenario.events
    named: list[tuple[KeyPath, CapacityChange | LinkFailure]] = [
        *((("events", "capacity", k), e) for k, e in enumerate(events.capacity)),
        *((("events", "failures", k), e) for k, e in enumerate(events.failures)),
    ]
    for path, event in named:
        yield from _link_exists((*path, "link"), event.link, network)
        if event.at_s >= scenario.duration_s:
            yield (
                (*path, "at_s"),
                f"{event.at_s:g} s is not before the end of the run, {scenario.duration_s:g} s",
            )
    yield from _overlaps(scenario)
    for k, process in enumerate(events.capacity_process):
        here: KeyPath = ("events", "capacity_process", k)
        if process.link_class not in network.link_classes:
            yield (
                (*here, "link_class"),
                f"this network has no {process.link_class} links"
                + (" without a cloud (cloud.mode)" if process.link_class == "backbone" else ""),
            )
        yield from _rates_of(process, here, network)
        changes = scenario.duration_s / process.every_s * len(network.shaped_links)
        if changes > MAX_EVENTS:
            yield (*here, "every_s"), f"more than {MAX_EVENTS} changes in this run; draw less often"


def _rates_of(process: CapacityProcess, here: KeyPath, network: Network) -> Iterator[Mistake]:
    rates = [k.spec.rate_mbps for k in network.shaped_links if k.link_class == process.link_class
             and k.spec is not None]  # fmt: skip
    low, high = process.factor
    if rates and not MIN_LINK_MBPS <= min(rates) * low <= max(rates) * high <= MAX_LINK_MBPS:
        yield (
            (*here, "factor"),
            f"makes rates beyond {MIN_LINK_MBPS:g} to {MAX_LINK_MBPS:g} Mbps of these links",
        )


def _both_ends(link: str) -> tuple[str, ...]:
    return tuple(sorted(link.replace(">", "-").split("-")))


def _link_exists(path: KeyPath, name: str, network: Network) -> Iterator[Mistake]:
    shaped = network.shaped_links
    allowed = [k.name for k in shaped] + [f"{k.source}-{k.target}" for k in shaped]
    if name not in allowed:
        example = next((k for k in shaped if k.link_class == "e2e"), shaped[0])
        yield (
            path,
            f"there is no link '{name}'{nearest(name, allowed) or '.'} Links are named like "
            f"'{example.name}' (one direction) or '{example.source}-{example.target}' (both)",
        )


def _overlaps(scenario: Scenario) -> Iterator[Mistake]:
    failures = sorted(enumerate(scenario.events.failures), key=lambda pair: pair[1].at_s)
    for ends in sorted({_both_ends(f.link) for _, f in failures}):
        same = [(k, f) for k, f in failures if _both_ends(f.link) == ends]
        for (_, first), (k, second) in pairwise(same):
            if second.at_s <= first.at_s + first.down_s:
                yield (
                    ("events", "failures", k, "at_s"),
                    f"'{second.link}' is still down then, from {first.at_s:g} s for "
                    f"{first.down_s:g} s",
                )


def _probes(scenario: Scenario, network: Network) -> Iterator[Mistake]:
    cells = [d.cell for d in network.devices]
    most = max(cells.count(cell) for cell in cells) - 1
    wanted = scenario.probes.peers_per_slot
    if wanted > max(1, most):
        yield (
            ("probes", "peers_per_slot"),
            f"{wanted} peers a slot, but no device has more than {most} peers in its cell",
        )


def _clips(scenario: Scenario) -> Iterator[Mistake]:
    """Real work needs clips, and tasks whose means say what the clips are."""
    if scenario.compute.work == "timed":
        if scenario.clips is not None:
            yield ("clips",), "are for compute.work: ffmpeg"
        return
    clips = catalogue_of(scenario)
    if not clips:
        yield ("compute", "work"), "ffmpeg needs clips: a section `clips`"
        return
    if scenario.cloud.mode != "none":
        yield ("cloud", "mode"), "must be none with compute.work: ffmpeg"
    if scenario.compute.device.idle_probability < 1.0:
        yield (
            ("compute", "device", "idle_probability"),
            "must be 1 with compute.work: ffmpeg: a device's share of the machine is constant",
        )
    means = {
        "work_ghz_s": sum(c.work_ghz_s for c in clips) / len(clips),
        "data_mb": sum(c.data_bytes for c in clips) / len(clips) / 1e6,
    }
    for key, mean in means.items():
        if abs(getattr(scenario.workload, key) - mean) > _MEAN_ERROR * mean:
            yield ("workload", key), f"must be the clips' mean, {mean:.3g}"
    for key, ghz in (
        ("device", scenario.compute.device.max_ghz[1]),
        ("edge", scenario.compute.edge_ghz),
    ):
        cores = ghz / scenario.compute.core_ghz
        workers = getattr(scenario.compute.workers, key)
        if cores > workers:
            yield (
                ("compute", "workers", key),
                f"{workers} cannot use the {cores:.2g} cores of a unit; FFmpeg works on one each",
            )
