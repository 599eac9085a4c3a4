"""The state as Prometheus metrics, made when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from controller.api.store import Store

_LINK_GAUGES = (
    ("rate_mbps", "capacity c_l, Mbps"),
    ("backlog_bytes", "V_l measured, scenario bytes"),
    ("virtual_backlog_bytes", "V_l of eq. (2), scenario bytes"),
    ("load_s", "V_l / c_l, scenario s"),
    ("utilisation", "sent / (c_l slot)"),
    ("up", "1 if the link has a carrier"),
)
_UNIT_GAUGES = (
    ("queue_ghz_s", "Q_u"),
    ("ghz", "F_u"),
    ("busy_share", "share of the last slot spent serving"),
)


class StoreCollector(Collector):
    """Reads a ``Store`` each time that metrics are collected."""

    def __init__(self, store: Store):
        self._store = store

    def collect(self) -> Iterable[Metric]:
        """All metrics: of the run, of links, of units."""
        health = self._store.health()
        if health.slot is not None:
            yield GaugeMetricFamily("crowd_edge_slot", "last slot that has ended", health.slot)
        yield CounterMetricFamily(
            "crowd_edge_reroutes", "times that flows were moved", health.reroutes
        )
        connected = GaugeMetricFamily("crowd_edge_switch_connected", "1 if so", labels=["switch"])
        flows = GaugeMetricFamily("crowd_edge_switch_flows", "flows installed", labels=["switch"])
        for name, value in health.switches.items():
            connected.add_metric([name], float(value))
            flows.add_metric([name], len(self._store.flows[name]))
        yield from (connected, flows)
        for name, text in _LINK_GAUGES:
            family = GaugeMetricFamily(f"crowd_edge_link_{name}", text, labels=["link", "class"])
            for link in self._store.links().links:
                family.add_metric([link.link, link.link_class or ""], float(getattr(link, name)))
            yield family
        drops = CounterMetricFamily("crowd_edge_link_drops", "packets refused", labels=["link"])
        for name, total in self._store.drops_total.items():
            drops.add_metric([name], total)
        yield drops
        for name, text in _UNIT_GAUGES:
            family = GaugeMetricFamily(f"crowd_edge_unit_{name}", text, labels=["unit", "kind"])
            for unit in self._store.units().units:
                family.add_metric([unit.unit, unit.kind], float(getattr(unit, name)))
            yield family


def exposition(store: Store) -> bytes:
    """All metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    registry.register(StoreCollector(store))
    return generate_latest(registry)
