"""What a training run is: algorithm and hyper-parameters, from the YAML files beside this."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from model.errors import UserError, nearest
from rl.policies.weights import Cell, Choice, case_of

FOLDER = Path(__file__).resolve().parent
# Said here and not where they are used: reading a configuration must not load torch.
Family = Literal["ppo", "a3c", "dqn", "distill"]
Credit = Literal["own", "team", "priced"]
Combination = Literal["single", "min", "mean"]
Device = Literal["auto", "cpu", "cuda"]
Count = Annotated[int, Field(ge=1, le=100_000)]
Slots = Annotated[int, Field(ge=1, le=100_000_000)]


class TrainingConfig(BaseModel):
    """Hyper-parameters of a training run.

    ``mixing`` is the paper's mixture of PPO's action and the closed form's:
    ``none``: a plain actor; ``prior``: the closed form's cost as prior logits that the actor
    corrects; ``paper``: a plain actor whose choice is compared with the closed form's by the local
    Q at execution, Algorithm 1, line 5; ``qmin``: as ``prior`` in training, at execution the
    target of the least local Q.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    algorithm: str = Field(description="name under which checkpoints are kept")
    family: Family = Field(description="how it learns")
    mixing: Literal["none", "paper", "prior", "qmin"] = "none"
    credit: Credit = Field("own", description="what a decision is charged with")
    critics: Combination = Field("single", description="one critic, or how several are combined")
    critic_count: Count = Field(5, description="critics where they are several")
    device: Device = Field("auto", description="where it learns; auto: on a GPU if there is one")
    envs: Count = Field(32, description="environments side by side")
    chunk_slots: Count = Field(50, description="slots between updates")
    piece: Count = Field(10, description="slots over which the trunk is unrolled in training")
    trunk: tuple[Count, Count] = (64, 64)
    cell: Cell = "gru"
    hidden: Count = 64
    head: Count = 32
    augmented: bool = Field(False, description="whether the actor sees D_i(t) and eqs. (22)-(24)")
    anneal: bool = Field(False, description="whether learning rates fall to 0 until the last slot")
    slots: Slots = Field(50_000, description="environment slots to train for")
    evaluate_every: Slots = Field(10_000, description="environment slots between evaluations")
    evaluation_episodes: Count = Field(12, description="held-out episodes of each evaluation")
    options: dict[str, float | int | bool | str] = Field(
        default_factory=dict,
        description="of the family, see its class of options",
    )

    @property
    def prior(self) -> bool:
        """Whether the closed form is a prior of the actor."""
        return self.mixing in ("prior", "qmin")

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Ways to decide that are evaluated; the best one on held-out episodes is kept."""
        if self.family == "dqn" or self.mixing == "qmin":
            return ("qmin",)
        if self.mixing == "paper":
            return ("better",)
        return ("argmax", "sample")


def algorithms() -> tuple[str, ...]:
    """Names of the algorithms that can be trained."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.yaml")))


def load_config(algorithm: str, overrides: Mapping[str, Any], scenario: str = "") -> TrainingConfig:
    """The hyper-parameters of an algorithm.

    Args:
        algorithm: its name.
        overrides: by key, ``options.KEY`` of the family.
        scenario: name of what is trained for; an algorithm's file may have settings for a case
            (section ``scenarios``), which hold for its variants, too.

    Raises ``UserError`` naming what is wrong.
    """
    if algorithm not in algorithms():
        raise UserError(f"there is no algorithm '{algorithm}'; there are {', '.join(algorithms())}")
    data = yaml.safe_load((FOLDER / f"{algorithm}.yaml").read_text(encoding="utf-8"))
    for_case = data.pop("scenarios", {}).get(case_of(scenario), {})
    for key, value in {**for_case, **overrides}.items():
        section, _, name = key.rpartition(".")
        if section not in ("", "options"):
            raise UserError(f"--set {key}: keys are {', '.join(TrainingConfig.model_fields)}")
        (data["options"] if section else data)[name] = value
    try:
        return TrainingConfig.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        hint = nearest(where, TrainingConfig.model_fields)
        raise UserError(f"{algorithm}: {where}: {first['msg']}{hint}") from error
