"""A recipe: everything that decides what is trained on what, as one frozen record that a TOML file fills."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Self, get_args

from voxplain.data.prepare import Prepare
from voxplain.errors import OptionError
from voxplain.spec import Options, table_of
from voxplain.training.augmentation import Augmentation

Task = Literal["classification", "regression", "segmentation"]
Loss = Literal["cross_entropy", "squared", "absolute", "dice", "balanced_dice"]
Optimiser = Literal["sgd", "adam", "adamw", "rmsprop"]

LOSSES: dict[str, tuple[str, ...]] = {
    "classification": ("cross_entropy",),
    "regression": ("squared", "absolute"),
    "segmentation": ("dice", "balanced_dice", "cross_entropy"),
}
"""Task -> the losses that fit it."""


@dataclass(frozen=True, kw_only=True)
class Recipe(Options):
    """One training: task, network, preparation, augmentation, optimiser, phases, splits and the phantom it may use."""

    name: ClassVar[str] = "recipe"

    title: str = ""
    """One sentence on what is learnt, for listings."""
    task: Task
    """What the network gives: a class, a number, or a class for every voxel."""
    network: str
    """A name of 'voxplain models' or package.module:callable(option=value); the number of outputs is put in."""
    backbone: str = ""
    """Local weights file to start from; with none, and nothing is downloaded, the start is random."""
    prepare: Prepare = field(default_factory=Prepare)
    """From an image to the network's input; it is shipped with the weights."""
    slice: Literal["given", "largest"] = "given"
    """Of a volume for a 2D network: the slice the table gives, or the axial one with most of the mask."""
    augment: Augmentation = field(default_factory=Augmentation)
    """Random changes of training inputs."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Meaning (image, mask, label, group, split, id) -> the column or columns of a table that may hold it."""
    classes: tuple[str, ...] = ()
    """Class names in the order of the outputs; none: the labels found, sorted."""
    positive: str = ""
    """The class that precision and recall speak of, where there are two."""
    unit: str = ""
    """Unit of a number that is learnt, such as years."""
    target_scale: float = 1.0
    """Numbers of the table times this are in that unit."""
    target_bias: bool = False
    """Start the output's bias at the mean of the training targets."""

    loss: Loss = "cross_entropy"
    """What is made small: cross_entropy; squared or absolute error; dice (with cross-entropy); balanced_dice, in whose
    cross-entropy small labels count for more than their voxels."""
    batch: int = 16
    """Inputs a step."""
    optimiser: Optimiser = "adam"
    """Rule of the steps."""
    momentum: float = 0.0
    """Of sgd and rmsprop."""
    weight_decay: float = 0.0
    """Share of the weights that each step takes away, times the rate."""
    mixed: bool = False
    """Convolutions and products in bfloat16, losses and weights in float32, on devices that are built for it: CUDA, and
    processors with AMX; elsewhere all in float32."""
    schedule: Literal["constant", "one_cycle"] = "constant"
    """Rate over the epochs of a phase: constant, or one warm-up and a cosine decay."""
    frozen: tuple[str, ...] = ()
    """Patterns such as 'backbone.*' of the parameters that the first phase leaves alone."""
    frozen_epochs: int = 0
    """Epochs of the first phase, with `frozen` parameters left alone."""
    frozen_rate: float = 1e-3
    """Learning rate of the first phase."""
    epochs: int = 10
    """Epochs of the second phase, in which everything learns; 0 leaves it out."""
    rate: float = 1e-3
    """Learning rate of the second phase (the top of a one_cycle)."""
    head: tuple[str, ...] = ()
    """Patterns of the parameters whose rate is multiplied by head_factor."""
    head_factor: float = 1.0
    """Factor on the learning rate of the head."""
    best: Literal["loss", "score", "last"] = "loss"
    """Which epoch's weights are kept: lowest validation loss, best validation score, or the last."""
    patience: int | None = None
    """Epochs without a better validation loss after which a phase stops; none: it runs to its end."""
    delta: float = 0.0
    """How much better counts, see stopping_rule."""
    stopping_rule: Literal["tolerant", "strict"] = "tolerant"
    """tolerant: losses up to delta above the lowest do not count against it; strict: only ones delta below reset."""
    oversample: bool = False
    """Draw cases of smaller classes again until all classes have the same number."""

    shares: tuple[float, float, float] = (0.7, 0.15, 0.15)
    """Training, validation and test, by patient, where the table names no splits."""
    file_order: bool = False
    """Split each class by the order of its files and not at random."""
    outer_folds: int = 0
    """Cross-validation: parts of the data, of which the first is the test set; 0: no cross-validation."""
    inner_folds: int = 10
    """Cross-validation: folds of the rest."""
    outer_seed: int = 7
    """Cross-validation: seed of the outer split."""
    inner_seed: int = 1
    """Cross-validation: seed of the folds."""
    phantom: str = ""
    """The phantom that is simulated where no data are given."""
    n: int = 100
    """How many phantoms."""
    seed: int = 0
    """Everything random follows from this."""

    @classmethod
    def of(cls, table: Mapping[str, Any]) -> Self:
        """The recipe a TOML table stands for; raises `OptionError` in the words of the option at fault."""
        given = {key: value for key, value in table.items() if key != "name"}
        for key, kind in (("prepare", Prepare), ("augment", Augmentation)):
            if isinstance(given.get(key), Mapping):
                given[key] = kind(**{name: value for name, value in given[key].items() if name != "name"})
        missing = [key for key in ("task", "network") if key not in given]
        if missing:
            raise OptionError(f"recipe: {missing[0]} must be given, got nothing")
        return cls(**given)

    def table(self) -> dict[str, Any]:
        """All options as nested plain tables, defaults filled in; `of` gives back an equal recipe."""
        plain = {spec.name: getattr(self, spec.name) for spec in fields(self)}
        nested = {key: table_of(value) for key, value in plain.items() if isinstance(value, Options)}
        kept = {key: value for key, value in plain.items() if value is not None and key not in nested}
        return {**kept, "columns": dict(self.columns), **nested}

    def phases(self) -> list["Phase"]:
        """The phases in order, those without epochs left out."""
        first = Phase("frozen", self.frozen_epochs, self.frozen_rate, self.frozen)
        second = Phase("all", self.epochs, self.rate, ())
        return [phase for phase in (first, second) if phase.epochs]

    def _check(self) -> None:
        require = self._require
        require(self.loss in LOSSES[self.task], "loss", f"one of {', '.join(LOSSES[self.task])} for {self.task}")
        for option in ("batch", "n", "inner_folds"):
            require(getattr(self, option) >= 1, option, "at least 1")
        for option in ("epochs", "frozen_epochs", "seed", "delta", "momentum", "weight_decay", "outer_folds"):
            require(getattr(self, option) >= 0, option, "at least 0")
        for option in ("rate", "frozen_rate", "head_factor", "target_scale"):
            require(getattr(self, option) > 0, option, "above 0")
        require(self.epochs + self.frozen_epochs > 0, "epochs", "at least 1 where frozen_epochs is 0")
        require(self.patience is None or self.patience >= 1, "patience", "at least 1")
        require(self.outer_folds != 1, "outer_folds", "0 or at least 2")
        require(min(self.shares) >= 0 and sum(self.shares) <= 1 + 1e-6, "shares", "shares that sum to 1 at most")
        known = ("id", "image", "mask", "label", "group", "split")
        for key in self.columns:
            if key not in known:
                raise OptionError(f"recipe: columns must speak of {', '.join(known)}, got {key!r}")


@dataclass(frozen=True)
class Phase:
    """One stretch of training with the same parameters and rate."""

    name: str
    epochs: int
    rate: float
    frozen: tuple[str, ...]
    """Patterns of the parameters that are left alone."""


TASKS: tuple[str, ...] = get_args(Task)
"""The tasks by name."""
