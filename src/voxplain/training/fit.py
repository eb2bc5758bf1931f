"""One small supervised loop: a classifier learns labels, and the caller's random state stays as it was."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float, Int
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from voxplain.errors import InputError

LINES = 10
"""Most lines of progress where there is no terminal."""


@dataclass(frozen=True)
class Trained:
    """What came out of a training; the module itself was trained in place and left in evaluation mode."""

    history: tuple[float, ...]
    """Mean cross-entropy of each epoch, taken while training."""
    accuracy: float
    """Share of the training inputs that the finished module classifies correctly."""


def fit(
    module: nn.Module,
    inputs: Float[Tensor, "case channel *space"],
    labels: Int[Tensor, " label"],
    *,
    epochs: int = 10,
    learning_rate: float = 1e-2,
    batch: int = 8,
    seed: int = 0,
    progress: Console | None = None,
    title: str = "training",
) -> Trained:
    """Train `module` in place: Adam under one warm-up and cosine decay, cross-entropy, batches in random order.

    `inputs` (case, channel, *space) and `labels` (case,) lie on the module's device. With a console as `progress`,
    a bar is drawn on a terminal and at most ten lines are printed elsewhere. Equal arguments give equal weights.
    """
    _check(inputs, labels, epochs, batch)
    batches = -(-len(inputs) // batch)
    optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=learning_rate, total_steps=epochs * batches)
    history: list[float] = []
    with seeded(seed, inputs.device), _told(progress, title, epochs) as tell:
        for epoch in range(epochs):
            history.append(_epoch(module, inputs, labels, batches, optimizer, schedule))
            tell(epoch + 1, history[-1])
    return Trained(tuple(history), accuracy(module, inputs, labels, batch=batch))


def _epoch(
    module: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    batches: int,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> float:
    """Mean loss of one pass over all cases."""
    module.train()
    total = 0.0
    # tensor_split makes batches of nearly equal size: a last batch of one would break batch norm.
    for rows in torch.randperm(len(inputs)).to(inputs.device).tensor_split(batches):
        loss = nn.functional.cross_entropy(module(inputs[rows]), labels[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        total += float(loss.detach()) * len(rows)
    return total / len(inputs)


def accuracy(module: nn.Module, inputs: Tensor, labels: Tensor, *, batch: int = 8) -> float:
    """Share of cases whose highest logit is their label; leaves the module in evaluation mode."""
    module.eval()
    with torch.no_grad():
        guesses = [module(part).argmax(dim=1) for part in inputs.split(batch)]
    return float((torch.cat(guesses) == labels).double().mean())


@contextmanager
def seeded(seed: int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Inside, torch's random numbers follow `seed`; afterwards the global state is what it was before."""
    device = torch.device(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        # Not torch.manual_seed: it would seed every GPU as well, also those that are not restored.
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def _told(console: Console | None, title: str, epochs: int) -> Iterator[Callable[[int, float], None]]:
    """A function that is told each finished epoch and its loss: a bar on a terminal, lines elsewhere, else nothing."""
    if console is None:
        yield lambda epoch, loss: None
    elif not console.is_terminal:
        yield partial(_tell_line, console, title, epochs)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[loss]}"))
        with Progress(*columns, TimeRemainingColumn(), console=console) as bar:
            task = bar.add_task(title, total=epochs, loss="")
            yield lambda epoch, loss: bar.update(task, completed=epoch, loss=f"loss {loss:.3f}")


def _tell_line(console: Console, title: str, epochs: int, epoch: int, loss: float) -> None:
    """One line on this epoch, unless there are so many that every tenth of the way will do."""
    if epoch == epochs or epoch % -(-epochs // LINES) == 0:
        console.print(f"{title}: epoch {epoch} of {epochs}, loss {loss:.3f}", highlight=False, markup=False)


def _check(inputs: Tensor, labels: Tensor, epochs: int, batch: int) -> None:
    """Raise unless cases and labels match and the counts make sense."""
    if len(inputs) < 2 or len(inputs) != len(labels):
        raise InputError(f"inputs and labels must be equally many, at least 2, got {len(inputs)} and {len(labels)}")
    if epochs < 1 or batch < 2:
        raise InputError(f"epochs must be at least 1 and batch at least 2, got {epochs} and {batch}")
