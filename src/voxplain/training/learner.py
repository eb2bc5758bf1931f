"""The Lightning module of every recipe: one network, one loss, one optimiser a phase."""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from voxplain.errors import InputError, OptionError
from voxplain.training.augmentation import stream
from voxplain.training.losses import SCORES, loss, score
from voxplain.training.recipe import Phase, Recipe
from voxplain.training.samples import Epochs

WARM_UP = 0.2
"""Share of a one_cycle phase in which the rate rises."""

SQUARES = 0.9
"""Decay of RMSprop's mean square, the default of Keras and MATLAB; with torch's own 0.99 the first steps are ten rates
long."""

DRAWS = 3
"""Keeps the random numbers of the network (dropout) apart from those of order and changes."""


class Learner(LightningModule):
    """Trains `network` as a phase of a recipe says.

    Random numbers of the network (dropout) start anew with each step from seed, epoch and step, so that a training that
    is taken up again gives the same weights.
    """

    def __init__(
        self, network: nn.Module, recipe: Recipe, phase: Phase, order: Epochs, memory: torch.memory_format
    ) -> None:
        super().__init__()
        self.network, self.recipe, self.phase, self.order = network, recipe, phase, order
        self.memory = memory
        self._loss, self._score = loss(recipe.loss), score(recipe.task)

    def forward(self, x: Tensor) -> Tensor:
        """The network's outputs, in float32."""
        outputs: Tensor = self.network(x.to(memory_format=self.memory))
        return outputs.float()

    def on_train_epoch_start(self) -> None:
        self.order.epoch = self.current_epoch
        self.order.share = (self.global_rank, self.trainer.world_size)

    def on_train_batch_start(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        torch.manual_seed(stream(self.order.seed, DRAWS, self.current_epoch, batch_idx, self.global_rank))

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        lost = self._measured("train", batch)
        if not torch.isfinite(lost):
            # Epoch and step as people count them.
            place = f"step {self.global_step + 1}, in epoch {self.current_epoch + 1} of phase {self.phase.name!r}"
            kept = "the best weights before it are kept" if self.current_epoch else "no epoch was finished before"
            raise InputError(f"the loss became {lost.item():g} at {place}; {kept}; lower the rate")
        return lost

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self._measured("val", batch)

    def configure_optimizers(self) -> Any:
        """The optimiser of the phase, with the head's own rate, and its schedule by steps."""
        chosen = _optimiser(self.recipe, self.phase.rate, parameter_groups(self.network, self.recipe, self.phase))
        if self.recipe.schedule == "constant":
            return chosen
        rates = [group["lr"] for group in chosen.param_groups]
        steps = max(3, len(self.order) * self.phase.epochs)
        # Rise and fall take one step each at least: torch divides by their lengths.
        cycle = torch.optim.lr_scheduler.OneCycleLR(
            chosen, rates, total_steps=steps, pct_start=max(WARM_UP, 2 / steps), cycle_momentum=False
        )
        return {"optimizer": chosen, "lr_scheduler": {"scheduler": cycle, "interval": "step"}}

    def _measured(self, part: str, batch: tuple[Tensor, Tensor]) -> Tensor:
        """The loss of a batch; loss and score are logged as means over the epoch."""
        x, truth = batch
        outputs = self(x)
        lost = self._loss(outputs, truth)
        values = {f"{part}_loss": lost.detach(), f"{part}_{SCORES[self.recipe.task]}": self._score(outputs, truth)}
        self.log_dict(values, on_step=False, on_epoch=True, batch_size=len(x), sync_dist=True)
        return lost


def parameter_groups(network: nn.Module, recipe: Recipe, phase: Phase) -> list[dict[str, Any]]:
    """The parameters that learn in the phase, those of the head with their own rate; the others stop learning.

    Raises `OptionError` for a pattern that fits no parameter and where nothing is left to learn.
    """
    names = [name for name, _ in network.named_parameters()]
    for option, patterns in (("frozen", phase.frozen), ("head", recipe.head)):
        lost = [pattern for pattern in patterns if not matching(names, [pattern])]
        if lost:
            raise OptionError(f"recipe: {option} must fit parameters such as {names[0]!r}, got {lost[0]!r}")
    frozen, head = set(matching(names, phase.frozen)), set(matching(names, recipe.head))
    groups: dict[bool, list[nn.Parameter]] = {False: [], True: []}
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
        if name not in frozen:
            groups[name in head].append(parameter)
    if not any(groups.values()):
        raise OptionError(f"recipe: frozen must leave parameters that learn, got {list(phase.frozen)!r}")
    rates = {False: phase.rate, True: phase.rate * recipe.head_factor}
    return [{"params": found, "lr": rates[which]} for which, found in groups.items() if found]


def matching(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The names that fit any of the patterns, such as 'backbone.*'."""
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _optimiser(recipe: Recipe, rate: float, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    decay, momentum = recipe.weight_decay, recipe.momentum
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=rate, momentum=momentum, weight_decay=decay)
    if recipe.optimiser == "rmsprop":
        return torch.optim.RMSprop(groups, lr=rate, alpha=SQUARES, momentum=momentum, weight_decay=decay)
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return kind(groups, lr=rate, weight_decay=decay)
