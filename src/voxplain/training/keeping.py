"""Callbacks that keep a training: the state to go on from and the best weights after every epoch, and its progress."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback, Checkpoint
from safetensors.torch import save_file

from voxplain.data.writing import written_beside
from voxplain.training.losses import HIGHER_IS_BETTER, SCORES
from voxplain.training.recipe import Recipe
from voxplain.training.stopping import Stopping

Say = Callable[[str], None]
Tick = Callable[[int, int], None]
Row = dict[str, float]

LAST, BEST = "last.ckpt", "best.safetensors"
"""The state at the end of the last whole epoch, and the weights of the best one."""

LINES = 20
"""Most lines of progress in a phase."""


class Keeper(Checkpoint):
    """After every epoch: one row of history, the weights if they are the best so far, the state to go on from."""

    def __init__(self, recipe: Recipe, folder: Path, stopping: Stopping | None) -> None:
        self.recipe, self.folder, self.stopping = recipe, folder, stopping
        self.history: list[Row] = []
        self.best: tuple[int, float] | None = None
        self.ended = False

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        row = {"epoch": float(trainer.current_epoch + 1), "rate": float(trainer.optimizers[0].param_groups[0]["lr"])}
        row |= {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        self.history.append(row)
        worth = self._worth(row)
        if self.best is None or worth > self.best[1]:
            self.best = (trainer.current_epoch + 1, worth)
            if trainer.is_global_zero:
                save_weights(pl_module.get_submodule("network"), self.folder / BEST)
        if self.stopping is not None and self.stopping.update(row.get("val_loss", row["train_loss"])):
            self.ended = trainer.should_stop = True
        beside = self.folder / f".{LAST}"  # every device takes part and the first one writes
        trainer.save_checkpoint(beside)
        if trainer.is_global_zero:
            beside.replace(self.folder / LAST)

    def _worth(self, row: Row) -> float:
        """The higher, the better: what the recipe chooses the best epoch by, on validation data where there are any."""
        part = "val" if "val_loss" in row else "train"
        if self.recipe.best == "last":
            return row["epoch"]
        if self.recipe.best == "loss":
            return -row[f"{part}_loss"]
        name = SCORES[self.recipe.task]
        return row[f"{part}_{name}"] * (1 if HIGHER_IS_BETTER[name] else -1)

    def state_dict(self) -> dict[str, Any]:
        stopping = self.stopping.state() if self.stopping is not None else None
        return {"history": self.history, "best": self.best, "ended": self.ended, "stopping": stopping}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.history, self.best = list(state_dict["history"]), state_dict["best"]
        self.ended = bool(state_dict["ended"])
        if self.stopping is not None:
            self.stopping.restore(state_dict["stopping"])

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        trainer.should_stop = self.ended  # it was killed after its last epoch


class Told(Callback):
    """Progress by steps for a bar, and by epochs in words."""

    def __init__(self, title: str, say: Say, tick: Tick) -> None:
        self.title, self.say, self.tick = title, say, tick

    def on_train_batch_end(self, trainer: Trainer, *others: Any) -> None:
        self.tick(trainer.global_step, int(trainer.estimated_stepping_batches))

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        epoch, epochs = trainer.current_epoch + 1, int(trainer.max_epochs or 0)
        if epoch % max(1, -(-epochs // LINES)) and epoch != epochs:
            return
        shown = {name: float(value) for name, value in sorted(trainer.callback_metrics.items())}
        told = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in shown.items())
        self.say(f"{self.title}: epoch {epoch} of {epochs}: {told}")


def save_weights(module: torch.nn.Module, path: Path) -> None:
    """The weights of a module as safetensors, whole or not at all."""
    with written_beside(path) as beside:
        save_file({name: value.detach().cpu().contiguous() for name, value in module.state_dict().items()}, beside)
