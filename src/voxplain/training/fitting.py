"""One network fitted as a recipe says: phase by phase with Lightning, kept after every epoch, taken up where it was."""

import json
import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from voxplain.data.writing import json_text, written_beside
from voxplain.errors import FileError, OptionError, missing_extra
from voxplain.score.weights import load_weights
from voxplain.training.augmentation import Augmentation, Change, change, stream
from voxplain.training.devices import wait_for_all
from voxplain.training.recipe import Phase, Recipe
from voxplain.training.samples import Epochs, Samples, Served, loader

try:
    from lightning import Trainer
    from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger
except ImportError as error:
    raise missing_extra("lightning", "train", "training") from error

from voxplain.training.keeping import BEST, LAST, Keeper, Row, Say, Tick, Told
from voxplain.training.learner import Learner
from voxplain.training.stopping import Stopping

DONE = "done.json"
"""What a finished phase leaves behind."""


@dataclass(frozen=True)
class Fitted:
    """What came of it; the module itself holds the kept weights."""

    history: list[Row]
    """One row an epoch, all phases in turn; the column phase counts from 1."""
    epochs: int
    """Epochs of the last phase until it stopped."""
    best_epoch: int
    """The epoch of the last phase whose weights were kept, from 1."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Where and how it is done; none of it decides the weights on a CPU."""

    folder: Path
    """Where checkpoints and logs go."""
    device: str = "auto"
    """Of Lightning: auto, cpu, cuda ..."""
    devices: str = "auto"
    """How many of them, or 'auto'."""
    mlflow: bool = False
    """Whether MLflow is told as well."""
    title: str = "training"
    say: Say = lambda line: None
    tick: Tick = lambda done, total: None


def fit_network(
    module: nn.Module, samples: Samples, train: Sequence[int], val: Sequence[int], recipe: Recipe, work: Work
) -> Fitted:
    """Train `module` in place on the cases `train`, watch `val` (none: no watching), end with the best weights.

    A phase that `work.folder` holds as finished is not run again; one that was cut short goes on from its last whole
    epoch, and ends with the weights it would have had. Raises `InputError` where the loss is not a number.
    """
    history: list[Row] = []
    done: dict[str, Any] = {}
    for number, phase in enumerate(recipe.phases(), start=1):
        folder = work.folder / f"phase-{number}"
        seeded = replace(recipe, seed=stream(recipe.seed, number))
        done = _finished(folder) or _run(module, samples, (train, val), seeded, phase, work, folder)
        load_weights(module, folder / BEST)
        wait_for_all()  # the first process removes the folder when all is done
        history += [{"phase": float(number), **row} for row in done["history"]]
    return Fitted(history, len(done["history"]), int(done["best_epoch"]))


def _finished(folder: Path) -> dict[str, Any] | None:
    if not (folder / DONE).is_file() or not (folder / BEST).is_file():
        return None
    try:
        found: dict[str, Any] = json.loads((folder / DONE).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise FileError(
            f"{DONE!r} in {folder.name!r} must be readable JSON; remove the folder to train anew"
        ) from error
    return found


def _run(
    module: nn.Module,
    samples: Samples,
    parts: tuple[Sequence[int], Sequence[int]],
    recipe: Recipe,
    phase: Phase,
    work: Work,
    folder: Path,
) -> dict[str, Any]:
    """One phase from its last whole epoch to its end."""
    dense = samples.truth.ndim > 1
    rank = samples.inputs.ndim - 2
    changes = _changes(recipe.augment, samples, parts[0])
    order = [Epochs(part, recipe.batch, recipe.seed, shuffle=not n) for n, part in enumerate(parts)]
    train, val = (
        loader(Served(samples, one, dense), epochs) for one, epochs in zip((changes, None), order, strict=True)
    )
    stopping = (
        Stopping(patience=recipe.patience, delta=recipe.delta, rule=recipe.stopping_rule) if recipe.patience else None
    )
    keeper = Keeper(recipe, folder, stopping)
    told = Told(f"{work.title}, {phase.name}", work.say, work.tick)
    mixed = recipe.mixed and fast_in_bfloat16(work.device)
    memory = memory_order(rank, mixed)
    learner = Learner(module.to(memory_format=memory), recipe, phase, order[0], memory)
    last = folder / LAST if (folder / LAST).is_file() else None
    with _quiet(), _interruptible(), torch.random.fork_rng():
        trainer = _trainer(phase, work, folder, [keeper, told], mixed)
        trainer.fit(learner, train, val if len(parts[1]) else None, ckpt_path=last, weights_only=True)
    found = {"best_epoch": (keeper.best or (0, 0))[0], "history": keeper.history}
    with written_beside(folder / DONE) as beside:
        beside.write_text(json_text(found, indent=1), "utf-8")
    return found


def _changes(augment: Augmentation, samples: Samples, train: Sequence[int]) -> Change | None:
    """The changes of training inputs; raises where brightness or contrast would cut pictures off at 0 and 1."""
    if not augment:
        return None
    rank = samples.inputs.ndim - 2
    named = next((name for name in ("brightness", "contrast") if rank == 2 and getattr(augment, name)), "")
    if named and any(samples.inputs[n].min() < -SLACK or samples.inputs[n].max() > 1 + SLACK for n in set(train)):
        raise OptionError(f"augment: {named} must be 0 for inputs beyond 0 to 1, got {getattr(augment, named):g}")
    return change(augment, rank)


SLACK = 1e-3
"""Rounding and resampling may leave inputs so far beyond 0 to 1."""


def fast_in_bfloat16(device: str) -> bool:
    """Whether a device, as Lightning names it, multiplies matrices of bfloat16 in hardware."""
    if device in ("cuda", "gpu") or (device == "auto" and torch.cuda.is_available()):
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # older torch does not tell
    return device in ("auto", "cpu") and bool(capabilities.get("amx_bf16"))


def memory_order(rank: int, mixed: bool) -> torch.memory_format:
    """The order of numbers in memory in which convolutions of `rank` dimensions learn fastest.

    On 2 cores channels last took 0.5 to 0.9 of the time of pictures, and 0.6 of that of volumes in float32; volumes in
    bfloat16 took 1.6 times as long with it.
    """
    if rank == 2:
        return torch.channels_last
    return torch.contiguous_format if mixed or rank != 3 else torch.channels_last_3d


def _trainer(phase: Phase, work: Work, folder: Path, callbacks: list[Any], mixed: bool) -> Trainer:
    folder.mkdir(parents=True, exist_ok=True)
    return Trainer(
        max_epochs=phase.epochs,
        precision="bf16-mixed" if mixed else "32-true",
        accelerator=work.device,
        devices=work.devices,
        callbacks=callbacks,
        logger=_loggers(folder.name, work),
        default_root_dir=folder,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        log_every_n_steps=1,
    )


def _loggers(phase: str, work: Work) -> list[Logger]:
    logs = work.folder / "logs"
    loggers: list[Logger] = [
        CSVLogger(logs, name=f"csv-{phase}"),
        TensorBoardLogger(logs, name="tensorboard", version=phase),
    ]
    if work.mlflow:
        from lightning.pytorch.loggers import MLFlowLogger

        try:
            place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{(logs / 'mlflow.db').absolute()}"
            loggers.append(MLFlowLogger(experiment_name="voxplain", run_name=work.title, tracking_uri=place))
        except ImportError as error:
            raise missing_extra("mlflow", "train", "logging to MLflow") from error
    return loggers


@contextmanager
def _quiet() -> Iterator[None]:
    """Lightning's advice on workers and loggers is not for the user of a recipe."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C stays Ctrl-C: Lightning would end the process as if it had failed, and leave the signal switched off."""
    main = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as error:
        if isinstance(error.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
