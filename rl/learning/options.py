"""Options of the learners: type, range, default and meaning. Free of torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic.fields import FieldInfo

from model.errors import UserError
from rl import policies
from rl.policies.checkpoint import Cell, Choice

if TYPE_CHECKING:
    from model.scenario import Scenario

Credit = Literal["own", "team", "priced"]
Combination = Literal["single", "min", "mean"]
Device = Literal["auto", "cpu", "cuda"]
Mixing = Literal["none", "paper", "prior", "qmin"]

MAX_TRAINING_SEED = 10**12
"""The largest seed of a training: its episodes' seeds, 10^6 times as large, stay in 63 bits."""

Count = Annotated[int, Field(ge=1, le=100_000)]
Slots = Annotated[int, Field(ge=1, le=100_000_000)]
Rate = Annotated[float, Field(ge=1e-8, le=1)]
"""A learning rate; below, float32 parameters do not move."""
Share = Annotated[float, Field(ge=0, le=1)]
Weight = Annotated[float, Field(ge=0, le=1000)]
Bound = Annotated[float, Field(ge=1e-6, le=1e6)]
"""What something is clipped to: 0 would stop all learning."""

_LEARNING_RATE = "of the actor's Adam optimiser"
_GRADIENT_NORM = "norm that the gradients of a step are clipped to"
_EPOCHS = "passes over a chunk"
_MINIBATCHES = "parts that a chunk's environments are divided into; at most one each"
_DISCOUNT = "discount factor gamma per slot"
_TRACE = "lambda of the generalised advantage estimate"
_ENTROPY = "weight of the entropy bonus in the loss"
_LOCAL_Q = "weight of the local Q's loss"


class OptionError(UserError):
    """An option of a training that does not exist or has a wrong value; ``key`` is its name."""

    def __init__(self, message: str, key: str):
        super().__init__(message)
        self.key = key


def _lacks(field: FieldInfo) -> str:
    """Say what a field lacks to be an option, or nothing."""
    if field.is_required() or not field.description:
        return 'a default and a description: Field(0.1, description="…")'
    kind = field.annotation
    if kind in (int, float):
        bounds = [m for m in field.metadata if hasattr(m, "ge") or hasattr(m, "le")]
        return "" if len(bounds) == 2 else "a range: Annotated[float, Field(ge=0, le=1)], or Share"
    words = get_origin(kind) is Literal and all(isinstance(w, str) for w in get_args(kind))
    return "" if kind in (bool, str) or words else "a type: int, float, bool, str or Literal words"


class Options(BaseModel):
    """Base class of a learner's options: refuses unknown names and values of other types.

    A field needs a type with a range (``Rate``, ``Share``, ``Count`` …), a default and a
    ``description``; ``./lab train --options`` lists it. These attributes are no options:

    Attributes:
        learner: class that learns with these options, ``module:Class``, imported when a training
            begins; where ``--algo`` or the registry name a learner, it is that one.
        family: name of the learner in ``config.yaml``; "": the algorithm's name.
        unused: settings of ``TrainingConfig`` that have no effect on the learner; setting one is
            refused.
        value_based: whether the trained policy takes the target of the least local Q.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, validate_default=True
    )

    learner: ClassVar[str] = ""
    family: ClassVar[str] = ""
    unused: ClassVar[tuple[str, ...]] = ("critics", "critic_count")
    value_based: ClassVar[bool] = False

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        """Raise ``TypeError`` for a field that could not be listed, or whose default is wrong."""
        for name, field in cls.model_fields.items():
            if lacks := _lacks(field):
                raise TypeError(f"{cls.__name__}.{name} needs {lacks}")
        cls()

    def require_sense(self, config: TrainingConfig, scenario: Scenario) -> None:
        """Raise ``UserError`` where these options leave the learner nothing to do in a scenario."""


class PpoOptions(Options):
    """Options of m2ppo and mappo."""

    learner = "rl.learning.ppo:Ppo"
    family = "ppo"
    unused = ()

    epochs: Annotated[int, Field(ge=1, le=1000)] = Field(4, description=_EPOCHS)
    minibatches: Count = Field(4, description=_MINIBATCHES)
    settle: Annotated[int, Field(ge=0, le=1_000_000)] = Field(
        8,
        description="slots at the end of a chunk whose decisions are not learnt from, as the cost "
        "of tasks under way is not certain yet",
    )
    clip: Bound = Field(0.1, description="epsilon of eq. (26), the clip range of the ratio")
    value_clip: Bound = Field(
        0.2, description="by how much a critic may move from its old value, in normalised units"
    )
    discount: Share = Field(0.99, description=_DISCOUNT)
    trace: Share = Field(0.95, description=_TRACE)
    entropy: Weight = Field(0.01, description=_ENTROPY)
    local_q: Weight = Field(0.5, description=_LOCAL_Q)
    local_baseline: bool = Field(
        True, description="whether the local Q is what a decision's charge is compared with"
    )
    learning_rate: Rate = Field(5e-4, description=_LEARNING_RATE)
    prior_learning_rate: Share = Field(
        5e-3, description="of the prior's temperature, scale and prices; 0 keeps them"
    )
    critic_learning_rate: Rate = Field(
        1e-3, description="of the first critic; those of the others are spread evenly to half"
    )
    gradient_norm: Bound = Field(10.0, description=_GRADIENT_NORM)
    huber: Bound = Field(
        10.0, description="where the loss of the critics and the local Q becomes linear"
    )

    def require_sense(self, config: TrainingConfig, scenario: Scenario) -> None:
        """Raise ``OptionError`` where ``settle`` leaves no slot of a chunk to learn from."""
        longest = min(config.chunk_slots, scenario.slots)
        if self.settle >= longest:
            raise OptionError(
                f"options.settle={self.settle}: the last {self.settle} slots of a chunk are "
                f"not learnt from, which leaves none of {longest} (chunk_slots, or the scenario's "
                "slots)",
                "options.settle",
            )


class A3cOptions(Options):
    """Options of maa3c."""

    learner = "rl.learning.maa3c:A3c"
    family = "a3c"
    unused = ("anneal",)

    workers: Annotated[int, Field(ge=1, le=1000)] = Field(
        4, description="workers that take turns, each with environments of its own"
    )
    discount: Share = Field(0.99, description=_DISCOUNT)
    trace: Share = Field(1.0, description=f"{_TRACE}; 1 gives the n-step returns of the original")
    entropy: Weight = Field(0.01, description=_ENTROPY)
    value: Weight = Field(0.5, description="weight of the critic's loss")
    learning_rate: Rate = Field(7e-4, description="of the shared RMSprop optimiser")
    gradient_norm: Bound = Field(10.0, description=_GRADIENT_NORM)


class DqnOptions(Options):
    """Options of madqn."""

    learner = "rl.learning.madqn:Dqn"
    family = "dqn"
    unused = ("anneal", "critics", "critic_count")
    value_based = True

    memory: Count = Field(20, description="chunks that are kept for replay")
    updates: Annotated[int, Field(ge=1, le=10_000)] = Field(
        8, description="optimiser steps per chunk that was played"
    )
    discount: Share = Field(0.9, description=_DISCOUNT)
    learning_rate: Rate = Field(5e-4, description=_LEARNING_RATE)
    target_every: Slots = Field(
        100, description="optimiser steps after which the target network is renewed"
    )
    epsilon_start: Share = Field(1.0, description="share of random decisions at the start")
    epsilon_end: Share = Field(0.05, description="share of random decisions in the end")
    epsilon_slots: Slots = Field(
        20_000, description="environment slots over which that share falls, linearly"
    )
    gradient_norm: Bound = Field(10.0, description=_GRADIENT_NORM)


class DistillOptions(Options):
    """Options of the student."""

    learner = "rl.learning.distillation:Distiller"
    family = "distill"
    unused = ("anneal", "critics", "critic_count")

    teacher: str = Field(
        "",
        description="checkpoint to learn from; empty: the m2ppo that is shipped for the scenario",
    )
    epochs: Annotated[int, Field(ge=1, le=1000)] = Field(2, description=_EPOCHS)
    minibatches: Count = Field(4, description=_MINIBATCHES)
    local_q: Weight = Field(0.1, description=_LOCAL_Q)
    learning_rate: Rate = Field(2e-3, description=_LEARNING_RATE)
    gradient_norm: Bound = Field(10.0, description=_GRADIENT_NORM)

    def require_sense(self, config: TrainingConfig, scenario: Scenario) -> None:
        """Raise ``UserError`` where there is no teacher for a scenario."""
        self.teacher_for(scenario)

    def teacher_for(self, scenario: Scenario) -> str:
        """Return the checkpoint to learn from. Raises ``UserError`` if there is none."""
        params = {"checkpoint": self.teacher} if self.teacher else {}
        return str(policies.completed("m2ppo", params, scenario)["checkpoint"])


class TrainingConfig(BaseModel):
    """Hyper-parameters of a training run; ``config_class`` makes one for a learner's options.

    ``mixing`` is the paper's mixture of PPO's action and the closed form's:
    ``none``: a plain actor; ``prior``: the closed form's cost as prior logits that the actor
    corrects; ``paper``: a plain actor whose choice is compared with the closed form's by the local
    Q at execution, Algorithm 1, line 5; ``qmin``: as ``prior`` in training, at execution the
    target of the least local Q.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    algorithm: str = Field(description="name under which checkpoints are kept")
    family: str = Field(description="how it learns")
    mixing: Mixing = Field("none", description="how the closed form is mixed in")
    credit: Credit = Field("own", description="costs that a decision is charged with")
    critics: Combination = Field("single", description="one critic, or how several are combined")
    critic_count: Count = Field(5, description="critics where they are several")
    device: Device = Field("auto", description="where it learns; auto: on a GPU if there is one")
    envs: Count = Field(32, description="environments side by side")
    chunk_slots: Count = Field(50, description="slots between updates")
    piece: Count = Field(10, description="slots over which the trunk is unrolled in training")
    trunk: tuple[Count, Count] = Field((64, 64), description="widths of the trunk's two layers")
    cell: Cell = Field("gru", description="recurrent layer")
    hidden: Count = Field(64, description="width of the recurrent layer")
    head: Count = Field(32, description="width of the head's hidden layer")
    augmented: bool = Field(False, description="whether the actor sees D_i(t) and eqs. (22)-(24)")
    anneal: bool = Field(False, description="whether learning rates fall to 0 until the last slot")
    slots: Slots = Field(50_000, description="environment slots to train for")
    evaluate_every: Slots = Field(10_000, description="environment slots between evaluations")
    evaluation_episodes: Count = Field(12, description="held-out episodes of each evaluation")
    options: Options = Field(Options(), description="of the learner")

    @property
    def prior(self) -> bool:
        """Whether the closed form is a prior of the actor."""
        return self.mixing in ("prior", "qmin")

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Ways to decide that are evaluated; the best one on held-out episodes is kept."""
        if self.options.value_based or self.mixing == "qmin":
            return ("qmin",)
        if self.mixing == "paper":
            return ("better",)
        return ("argmax", "sample")

    def __reduce__(self) -> tuple[Callable[..., TrainingConfig], tuple[object, ...]]:
        """Pickle the values: another process makes the class again from that of the options."""
        return _restored, (type(self.options), self.family, self.model_dump_json())


@cache
def config_class(options: type[Options], family: str) -> type[TrainingConfig]:
    """Return the class of a learner's hyper-parameters, with the defaults of its options."""
    only: Any = Literal[family]
    return create_model(
        f"{options.__name__.removesuffix('Options')}Config",
        __base__=TrainingConfig,
        __module__=__name__,
        __doc__=f"Hyper-parameters of the family {family}.",
        family=(only, ...),
        options=(options, options()),
    )


def _restored(options: type[Options], family: str, values: str) -> TrainingConfig:
    return config_class(options, family).model_validate_json(values, strict=True)
