"""Fig. 5: the critics' loss during training, by how several critics are combined."""

from __future__ import annotations

import polars as pl

from analysis.figures import Source
from analysis.figures.panels import case_title, grid, log_if_wide
from analysis.style import BLUE, GREEN, VERMILION, Drawing, legend_below, look
from analysis.training import Training, curve
from model.errors import UserError

COMBINATIONS = {
    "single": ("single", VERMILION),
    "min": ("minimum", GREEN),
    "mean": ("average", BLUE),
}
_DASHES = ("-", "--", ":", "-.")


def draw(source: Source) -> Drawing:
    """Means over training seeds with 95 % intervals; losses are of normalised values."""
    found = source.trainings
    runs = _compared([r for r in found.runs if len(r.series("critic_loss")[0])])
    if not runs:
        raise UserError("no training run below has a critic's loss in its log")
    cases = sorted({r.case for r in runs})
    figure, axes = grid(len(cases))
    rows: list[pl.DataFrame] = []
    said: list[str] = []
    for axis, case in zip(axes, cases, strict=True):
        values: list[float] = []
        ends: dict[str, float] = {}
        for (algorithm, critics), several in _kinds(runs, case).items():
            word, colour = COMBINATIONS[critics]
            name = f"{look(algorithm).label}, {word}"
            line = curve(several, "critic_loss")
            dashes = _DASHES[sorted({r.algorithm for r in runs}).index(algorithm) % 4]
            axis.plot(line.slots, line.value, color=colour, ls=dashes, lw=1.4, label=name)
            axis.fill_between(line.slots, line.low, line.high, color=colour, alpha=0.2, lw=0)
            values += line.value.tolist()
            ends[name] = line.last
            constants = {"case": case, "algorithm": algorithm, "critics": critics,
                         "seeds": len(several)}  # fmt: skip
            rows.append(
                pl.DataFrame({"slots": line.slots, "critic_loss": line.value, "low": line.low,
                              "high": line.high})
                .select(*(pl.lit(v).alias(k) for k, v in constants.items()), pl.all())
            )  # fmt: skip
        log_if_wide(axis, values)
        axis.set(xlabel="environment time (slots of 1 s)", title=case_title(case))
        told = ", ".join(f"{n} {v:.3f}" for n, v in sorted(ends.items(), key=lambda e: e[1]))
        said.append(f"{case}: loss in the last tenth of training: {told}.")
    axes[0].set_ylabel("critic loss (normalised values)")
    legend_below(figure, axes, label_in=2.2)
    return Drawing(figure, pl.concat(rows), (*said, *found.left_out))


def _compared(runs: list[Training]) -> list[Training]:
    """Those of algorithms that were trained with several combinations; all, if there is none.

    The losses of different algorithms are of values that are normalised differently.
    """
    kinds: dict[str, set[str]] = {}
    for run in runs:
        kinds.setdefault(run.algorithm, set()).add(str(run.config["critics"]))
    return [r for r in runs if len(kinds[r.algorithm]) > 1] or runs


def _kinds(runs: list[Training], case: str) -> dict[tuple[str, str], list[Training]]:
    found: dict[tuple[str, str], list[Training]] = {}
    for run in sorted(runs, key=lambda r: (r.algorithm, r.config["critics"])):
        if run.case == case:
            found.setdefault((run.algorithm, str(run.config["critics"])), []).append(run)
    return found
