"""Whether this machine can carry out a sweep's emulations."""

from __future__ import annotations

from emulation.options import RunOptions
from emulation.run import require_machine
from experiments.sweep.cell import RunCell
from experiments.sweep.plan import Plan
from model.errors import UserError


def why_no_emulation(plan: Plan) -> str:
    """What this machine lacks for the emulations of a plan; '' if nothing, or there are none.

    What one scenario asks for beyond that (netem) is found out by its own cells.
    """
    for cell in plan.cells.values():
        if isinstance(cell, RunCell) and cell.world == "emulation":
            try:
                require_machine(RunOptions(cell.scenario, without_netem=True))
            except UserError as error:
                return str(error)
            return ""
    return ""
