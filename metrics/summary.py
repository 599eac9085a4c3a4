"""The metrics of a run, computed from its tables; one definition for display, contests, analysis.

Every number that concerns tasks counts all tasks that were generated. A task without a result,
pending or failed, is charged with the time from its birth to the end of the run: statistics of
finished tasks alone flatter a policy that lets tasks pile up. The end is the scenario's duration,
or when a run was interrupted, or the last sample of one that was killed; tasks that would have been
born later were not generated.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from model.aliases import FloatArray
from model.network import UNIT_KINDS, NodeKind, build_network
from model.observation import TARGET_KINDS
from model.scenario import Scenario
from records.plain import without_nan
from records.reader import Result
from records.schema import OUTCOMES

NAN = float("nan")
THROUGHPUT_KINDS: tuple[NodeKind, ...] = (*UNIT_KINDS, "bs")
_READ = {
    "tasks": ("born_s", "known_s", "outcome", "target_kind", "data_mb", "work_ghz_s"),
    "links": ("time_s", "link", "link_class", "rate_mbps", "virtual_backlog_bytes", "sent_bytes",
              "drops", "load_s", "utilisation"),
    "units": ("time_s", "kind", "load_s"),
    "probes": ("rtt_s",),
}  # fmt: skip
"""What is needed of each table: a long run has hundreds of thousands of rows."""


@dataclass(frozen=True, slots=True)
class Summary:
    """Metrics of one run; NaN (``None`` in ``to_dict``) where nothing was there to measure.

    E is the delay of a task, known - born, or end - born without a result; o its data; s its work.

    Attributes:
        end_s: the time up to which pending tasks are charged, s.
        tasks: tasks generated, by outcome (done, failed, unfinished).
        unit_delay: UD = ΣE / Σo over all generated tasks, s per MB.
        finished_unit_delay: ΣE / Σo over the finished tasks only, s per MB.
        delay_mean, delay_p50, delay_p95, delay_p99: of E over all generated tasks, s.
        anlr: mean of Q_u / F_u over units and slots, s.
        node_load: the same by kind of unit (device, edge, cloud), s.
        link_load: mean of V_l / c_l over links and slots, by class (e2e, e2d, access, backbone), s;
            V_l as measured.
        virtual_link_load: the same with the virtual queue of eq. (2), s.
        utilisation: mean of sent / (c_l Δt) over links and slots, by class.
        drops: packets dropped on all links.
        resource_cost: Σ R_u s over the finished tasks, in fees of 1 per GHz·s of a device.
        mean_cost: mean of α E + β R_u s, eq. (7), over all generated tasks; a task without a target
            has no fee.
        target_share: share of the decided tasks, by kind of target (self, device, edge, cloud).
        received_mbps, sent_mbps: bytes over shaped links to and from the nodes of a kind, per node,
            Mbps; kinds without a shaped link of their own are left out.
        processed_mb_s: data of finished tasks processed at a kind of unit, per unit, MB/s.
        ping_loss: share of pings without reply.
        ping_rtt: median round trip of the answered ones, s.
    """

    end_s: float
    tasks: dict[str, int]
    unit_delay: float
    finished_unit_delay: float
    delay_mean: float
    delay_p50: float
    delay_p95: float
    delay_p99: float
    anlr: float
    node_load: dict[str, float] = field(default_factory=dict)
    link_load: dict[str, float] = field(default_factory=dict)
    virtual_link_load: dict[str, float] = field(default_factory=dict)
    utilisation: dict[str, float] = field(default_factory=dict)
    drops: int = 0
    resource_cost: float = NAN
    mean_cost: float = NAN
    target_share: dict[str, float] = field(default_factory=dict)
    received_mbps: dict[str, float] = field(default_factory=dict)
    sent_mbps: dict[str, float] = field(default_factory=dict)
    processed_mb_s: dict[str, float] = field(default_factory=dict)
    ping_loss: float = NAN
    ping_rtt: float = NAN

    @property
    def generated(self) -> int:
        """All tasks."""
        return sum(self.tasks.values())

    def to_dict(self) -> dict[str, Any]:
        """As plain data for JSON: NaN becomes None."""
        plain: dict[str, Any] = without_nan(asdict(self))
        return plain

    def rows(self) -> list[tuple[str, str, str]]:
        """(name, value, unit) for display; what could not be measured is left out."""
        return [(name, digits(v), unit) for name, v, unit in self.values() if not np.isnan(v)]

    def values(self) -> list[tuple[str, float, str]]:
        """(name, value, unit) of every metric; NaN for what could not be measured."""
        return [
            ("tasks generated", self.generated, ""),
            *((f"tasks {k}", v, "") for k, v in self.tasks.items()),
            ("unit delay UD = ΣE/Σo", self.unit_delay, "s/MB"),
            ("UD of finished tasks only", self.finished_unit_delay, "s/MB"),
            ("delay E, mean", self.delay_mean, "s"),
            ("delay E, median", self.delay_p50, "s"),
            ("delay E, 95 %", self.delay_p95, "s"),
            ("delay E, 99 %", self.delay_p99, "s"),
            ("node load ANLR = Q/F", self.anlr, "s"),
            *((f"node load, {k}", v, "s") for k, v in self.node_load.items()),
            *((f"link load {k.upper()} = V/c", v, "s") for k, v in self.link_load.items()),
            *((f"utilisation {k.upper()}", 100 * v, "%") for k, v in self.utilisation.items()),
            ("packets dropped", self.drops, ""),
            ("resource cost ΣR·s", self.resource_cost, ""),
            *((f"tasks sent to: {k}", 100 * v, "%") for k, v in self.target_share.items()),
            *((f"received per {k}", v, "Mbps") for k, v in self.received_mbps.items()),
            *((f"sent per {k}", v, "Mbps") for k, v in self.sent_mbps.items()),
            ("pings lost", 100 * self.ping_loss, "%"),
            ("ping round trip, median", 1e3 * self.ping_rtt, "ms"),
        ]


def digits(value: float) -> str:
    """A metric for display: four digits that matter, counts as they are."""
    return (
        str(value) if isinstance(value, int) else f"{value:.4g}" if value < 1e3 else f"{value:.0f}"
    )


def summarise(result: Result) -> Summary:
    """The metrics of a result folder. Raises ``UserError`` if its tables cannot be read."""
    tables = {name: result.table(name, columns, packed=True) for name, columns in _READ.items()}
    end_s = _end_s(result, lambda name: tables[name])
    return summarise_tables(result.scenario, tables, end_s=end_s)


def unit_delay(result: Result) -> float:
    """Return ``Summary.unit_delay`` of a result folder, s per MB, from its tasks alone: quick.

    Raises ``UserError`` if its tables cannot be read.
    """
    tables = {"tasks": result.table("tasks", _READ["tasks"], packed=True)}
    end_s = _end_s(result, lambda name: result.table(name, ("time_s",)))
    return summarise_tables(result.scenario, tables, end_s=end_s).unit_delay


def _end_s(result: Result, table: Callable[[str], pa.Table]) -> float | None:
    """Return the time up to which pending tasks are charged; None for the scenario's duration."""
    if not result.finished:
        samples = [_floats(table(name), "time_s") for name in ("links", "units")]
        return max((float(s.max()) for s in samples if len(s)), default=None)
    if result.manifest.get("complete") is False:
        return min(float(result.manifest["ran_s"]), result.scenario.duration_s)
    return None


def summarise_tables(
    scenario: Scenario, tables: Mapping[str, pa.Table], *, end_s: float | None = None
) -> Summary:
    """The metrics of tables as in ``records.schema``.

    Args:
        scenario: as resolved.
        tables: ``tasks``; ``links``, ``units`` and ``probes`` may be absent.
        end_s: the time up to which pending tasks are charged; default the scenario's duration.
    """
    end_s = scenario.duration_s if end_s is None else end_s
    tasks = tables["tasks"].filter(pc.less_equal(tables["tasks"]["born_s"], end_s))
    return Summary(
        end_s=end_s,
        **_task_metrics(scenario, tasks, end_s),
        processed_mb_s=_processed(scenario, tasks, end_s),
        **_unit_metrics(tables.get("units")),
        **_link_metrics(tables.get("links")),
        **_throughput(scenario, tables.get("links"), end_s),
        **_ping_metrics(tables.get("probes")),
    )


def delays_s(tasks: pa.Table, end_s: float) -> FloatArray:
    """E of every task generated, s: known - born, or end - born (at least 0) without a result."""
    born = _floats(tasks, "born_s")
    done = _Words.of(tasks, "outcome").among("done")
    return np.where(done, _floats(tasks, "known_s") - born, np.maximum(0.0, end_s - born))


def _floats(table: pa.Table, column: str) -> FloatArray:
    """A column as float64, null as NaN."""
    return np.asarray(table.column(column).to_numpy(zero_copy_only=False), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class _Words:
    """A column of few different words, as numbers: comparing text by text takes seconds."""

    words: tuple[str | None, ...]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, table: pa.Table, column: str) -> _Words:
        encoded = table.column(column).dictionary_encode().unify_dictionaries().combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):  # no rows
            return cls((None,), np.zeros(0, np.int64))
        words = encoded.dictionary.to_pylist()
        codes = pc.fill_null(encoded.indices, len(words)).to_numpy(zero_copy_only=False)
        return cls((*words, None), codes.astype(np.int64))

    def among(self, *wanted: str | None) -> NDArray[np.bool_]:
        """Where one of the words stands."""
        return np.array([word in wanted for word in self.words])[self.codes]

    def mapped(self, values: Mapping[str, float], other: float) -> FloatArray:
        """A number for every word; ``other`` for the words that have none."""
        numbers = [other if word is None else values.get(word, other) for word in self.words]
        return np.asarray(numbers, dtype=np.float64)[self.codes]

    def means(self, values: FloatArray) -> dict[str, float]:
        """Mean of the values that belong to each word, in order of the words."""
        known = sorted((word, k) for k, word in enumerate(self.words) if word is not None)
        return {word: _mean(values[self.codes == k]) for word, k in known}


def _ratio(above: float, below: float) -> float:
    return above / below if below > 0 else NAN


def _mean(values: FloatArray) -> float:
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else NAN


def _prices(scenario: Scenario) -> dict[str, float]:
    compute = scenario.compute
    device = compute.device_price
    return {
        "self": device,
        "device": device,
        "edge": compute.edge_price,
        "cloud": compute.cloud_price,
    }


def _task_metrics(scenario: Scenario, tasks: pa.Table, end_s: float) -> dict[str, Any]:
    outcome, kind = _Words.of(tasks, "outcome"), _Words.of(tasks, "target_kind")
    data, work = _floats(tasks, "data_mb"), _floats(tasks, "work_ghz_s")
    delay = delays_s(tasks, end_s)
    done = outcome.among("done")
    fee = kind.mapped(_prices(scenario), 0.0) * work
    decided = int((~kind.among(None)).sum())
    p50, p95, p99 = np.percentile(delay, (50, 95, 99)) if len(delay) else (NAN, NAN, NAN)
    return {
        "tasks": {name: int(outcome.among(name).sum()) for name in OUTCOMES},
        "unit_delay": _ratio(float(delay.sum()), float(data.sum())),
        "finished_unit_delay": _ratio(float(delay[done].sum()), float(data[done].sum())),
        "delay_mean": _mean(delay),
        "delay_p50": float(p50),
        "delay_p95": float(p95),
        "delay_p99": float(p99),
        "resource_cost": float(fee[done].sum()),
        "mean_cost": _mean(scenario.decision.alpha * delay + scenario.decision.beta * fee),
        "target_share": {
            k: float(count / decided) for k in TARGET_KINDS if (count := int(kind.among(k).sum()))
        },
    }


def _processed(scenario: Scenario, tasks: pa.Table, end_s: float) -> dict[str, float]:
    """MB/s per unit of a kind: Σ o of the tasks finished there / (units · time)."""
    kind = _Words.of(tasks, "target_kind")
    done = _Words.of(tasks, "outcome").among("done")
    data = _floats(tasks, "data_mb")
    network = build_network(scenario)
    places = (("device", ("self", "device")), ("edge", ("edge",)), ("cloud", ("cloud",)))
    return {
        place: float(data[done & kind.among(*kinds)].sum() / (count * end_s))
        for place, kinds in places
        if end_s > 0 and (count := len([u for u in network.units if u.kind == place]))
    }


def _unit_metrics(units: pa.Table | None) -> dict[str, Any]:
    if units is None or not units.num_rows:
        return {"anlr": NAN}
    load = _floats(units, "load_s")
    return {"anlr": _mean(load), "node_load": _Words.of(units, "kind").means(load)}


def _link_metrics(links: pa.Table | None) -> dict[str, Any]:
    if links is None or not links.num_rows:
        return {}
    classes = _Words.of(links, "link_class")
    rate = _floats(links, "rate_mbps")
    # A link that is down drains nothing: it has no load while that lasts.
    virtual_s = _floats(links, "virtual_backlog_bytes") * 8e-6 / np.where(rate > 0, rate, NAN)
    return {
        "link_load": classes.means(_floats(links, "load_s")),
        "virtual_link_load": classes.means(virtual_s),
        "utilisation": classes.means(_floats(links, "utilisation")),
        "drops": int(np.nansum(_floats(links, "drops"))),
    }


def _throughput(scenario: Scenario, links: pa.Table | None, end_s: float) -> dict[str, Any]:
    """Mbps per node of a kind: 8 · Σ bytes of its links / (nodes · time)."""
    if links is None or not links.num_rows or end_s <= 0:
        return {}
    grouped = links.group_by("link").aggregate([("sent_bytes", "sum")])
    names, sent = grouped.column("link").to_pylist(), _floats(grouped, "sent_bytes_sum")
    bytes_of = dict(zip(names, sent, strict=True))
    network = build_network(scenario)
    received_mbps: dict[str, float] = {}
    sent_mbps: dict[str, float] = {}
    for kind in THROUGHPUT_KINDS:
        nodes = {n.name for n in network.of_kind(kind)}
        into = [k.name for k in network.shaped_links if k.target in nodes]
        if into:
            scale = 8e-6 / (len(nodes) * end_s)
            out = [k.name for k in network.shaped_links if k.source in nodes]
            received_mbps[kind] = scale * sum(bytes_of.get(name, 0.0) for name in into)
            sent_mbps[kind] = scale * sum(bytes_of.get(name, 0.0) for name in out)
    return {"received_mbps": received_mbps, "sent_mbps": sent_mbps}


def _ping_metrics(probes: pa.Table | None) -> dict[str, Any]:
    if probes is None or not probes.num_rows:
        return {}
    rtt = _floats(probes, "rtt_s")
    answered = rtt[~np.isnan(rtt)]
    return {
        "ping_loss": 1.0 - len(answered) / len(rtt),
        "ping_rtt": float(np.median(answered)) if len(answered) else NAN,
    }
