"""What the paper prints, and whether what is measured agrees: in words, from the numbers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

import yaml

from analysis.style import LEARNERS, look

CASES = {"case1": "case I", "case2": "case II", "case3": "case III"}
"""The lab's scenarios of the paper's three cases."""


@cache
def printed() -> dict[str, Any]:
    """``analysis/paper.yaml``."""
    text = Path(__file__).with_name("paper.yaml").read_text(encoding="utf-8")
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def table3(case: str, metric: str) -> dict[str, float]:
    """Learner → the paper's number of a metric (ad, anlr, e2e, e2d); {} for another scenario."""
    rows = printed()["table3"].get(case, {})
    return {name: float(row[metric]) for name, row in rows.items()}


def ordered(values: Mapping[str, float]) -> str:
    """``M2PPO = MAPPO < MAA3C``."""
    text, before = "", None
    for name, value in sorted(values.items(), key=lambda item: item[1]):
        joint = "" if before is None else " = " if value == before else " < "
        text, before = text + joint + look(name).label, value
    return text


def agreement(name: str, ours: Mapping[str, float], theirs: Mapping[str, float]) -> list[str]:
    """A sentence on the order of the learners that both have, and on who is best; [] for fewer.

    A tie of the paper's agrees with either order.
    """
    both = [k for k in LEARNERS if k in ours and k in theirs]
    if len(both) < 2:
        return []
    pairs = list(combinations(both, 2))
    same = [
        (a, b)
        for a, b in pairs
        if theirs[a] == theirs[b] or (ours[a] - ours[b]) * (theirs[a] - theirs[b]) > 0
    ]
    mine, paper = ({k: v[k] for k in both} for v in (ours, theirs))
    how_many = "the four learners"
    if len(both) < len(LEARNERS):
        how_many = f"the {len(both)} learners that are here"
    answer = "yes" if len(same) == len(pairs) else f"no, {len(same)} of {len(pairs)} pairs are"
    best, least = min(mine, key=lambda k: mine[k]), min(paper.values())
    winners = " and ".join(look(k).label for k in both if paper[k] == least)
    verdict = "as in the paper" if paper[best] == least else f"in the paper {winners}"
    return [
        f"{name}: same order of {how_many}: {answer} "
        f"(here {ordered(mine)}; paper {ordered(paper)}); smallest: {look(best).label}, {verdict}."
    ]
