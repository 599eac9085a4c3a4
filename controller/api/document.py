"""The OpenAPI document of the API, kept in docs/: ``python -m controller.api.document``."""

from __future__ import annotations

import json
import sys

from controller.api.app import create_app
from controller.api.store import Store
from model.scenario import BaseStationSpec, ClusterSpec, NetworkSpec, Scenario, WorkloadSpec


def _any_scenario() -> Scenario:
    """The document is the same for every scenario; this is the smallest one."""
    return Scenario(
        name="any",
        slots=1,
        workload=WorkloadSpec(tasks_per_epoch=1, work_ghz_s=1, data_mb=1),
        network=NetworkSpec(
            base_stations=(BaseStationSpec(name="bs1", edge="e1"),),
            clusters=(ClusterSpec(name="c1", bs="bs1", devices=1),),
        ),
    )


def document() -> str:
    """The document as JSON text."""
    app = create_app(Store(_any_scenario()), "unused")
    return json.dumps(app.openapi(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(document())
