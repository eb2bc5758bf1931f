"""Networks whose layers are randomised one after another, from the output down. Adebayo et al., NeurIPS 2018.

A layer starts afresh by its own `reset_parameters`; batch norms lose their statistics with it (mean 0, variance 1), as
before any training. Weights of layers that have no such way become normal numbers with their own mean and standard
deviation. Draws depend on the seed and the layer's number only; the model and the global random state stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from voxplain.errors import InputError
from voxplain.ops import draws
from voxplain.score.dry import real_visits, visits
from voxplain.score.layers import apart
from voxplain.score.model import Model
from voxplain.score.output import pick


class Stage(NamedTuple):
    """A network with its upper layers randomised."""

    layer: str
    """The lowest of them."""
    share: float
    """Which share of the layers that is."""
    model: Model
    """One network for all stages: it changes under the hands of whoever asks for the next stage."""


def randomised(model: Model, x: Tensor, *, stages: int | None = None, seed: int = 0) -> Iterator[Stage]:
    """One randomised copy of the model that loses more layers at each stage, all of them at the last.

    `x` is a batch, by which the order of the layers is found; `stages` are spread evenly over the layers (None: one for
    each). Raises `InputError` for a model without weights.
    """
    names = layer_order(model, x)
    if not names:
        raise InputError("the model has no weights that could be randomised")
    known: dict[int, object] = {}
    module = copy.deepcopy(model.module, known)
    layers: Mapping[str, nn.Module] = {name: known[id(layer)] for name, layer in model.layers.items()}  # type: ignore[misc]
    twin, parts = model.with_module(module, layers), dict(module.named_modules())
    ends = _ends(len(names), stages or len(names))
    done = 0
    for end in ends:
        for number in range(done, end):
            randomise(parts[names[number]], draws.generator(seed, number).initial_seed())
        done = end
        # A record of its own for each stage: what one knows of its weights (their hash) must not be told of the next.
        yield Stage(names[end - 1], end / len(names), twin.with_module(module))


def layer_order(model: Model, x: Tensor) -> list[str]:
    """Every part of the network that holds weights itself, by name, from the output to the input."""
    parts = dict(model.module.named_modules())
    seen = _visited(model, x[:1], parts)
    last = {name: place for place, name in enumerate(seen)}
    first = {name: place for place, name in reversed(list(enumerate(seen)))}

    def place(name: str) -> int:
        if name in last and not any(parts[name].children()):
            return last[name]
        inside = [first[one] for one in first if one.startswith(f"{name}." if name else "") and one != name]
        if inside:  # what a block holds itself, such as a class token, is needed when the block begins
            return min(inside)
        return last[name] if name in last else place(name.rpartition(".")[0]) if name else 0

    own = [name for name, part in parts.items() if next(part.parameters(recurse=False), None) is not None]
    return sorted(own, key=place)[::-1]


def randomise(part: nn.Module, seed: int) -> None:
    """Give the weights that a part holds itself new values, drawn by a generator of its own."""
    before = {name: weight.detach().cpu() for name, weight in part.named_parameters(recurse=False)}
    fresh = _reset(part, seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in _own(part).items():
            untouched = name in before and torch.equal(before[name], fresh[name])
            tensor.copy_(_drawn(before[name], generator) if untouched else fresh[name])


def _drawn(weight: Tensor, generator: torch.Generator) -> Tensor:
    """Normal numbers with the mean and the standard deviation of a weight."""
    spread, centre = weight.double().std(correction=0), weight.double().mean()
    return centre + spread * torch.randn(weight.shape, generator=generator, dtype=torch.float64)


def _reset(part: nn.Module, seed: int) -> dict[str, Tensor]:
    """The tensors of a part after its own reset, made on a copy in main memory; as they are where it has none."""
    simple = not any(part.children()) and not isinstance(part, torch.jit.ScriptModule)
    if not simple or not callable(getattr(part, "reset_parameters", None)):
        return {name: tensor.detach().cpu() for name, tensor in _own(part).items()}
    twin = copy.deepcopy(part).cpu()
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.default_generator.manual_seed(seed)
        twin.reset_parameters()  # type: ignore[operator]
    return _own(twin)


def _own(part: nn.Module) -> dict[str, Tensor]:
    return {**dict(part.named_parameters(recurse=False)), **dict(part.named_buffers(recurse=False))}


def _ends(count: int, stages: int) -> list[int]:
    """After how many layers each stage ends."""
    return sorted({max(1, round(count * stage / stages)) for stage in range(1, stages + 1)})


def _visited(model: Model, sample: Tensor, parts: dict[str, nn.Module]) -> list[str]:
    """The parts in the order in which they finish; empty where nothing could be seen."""
    sample = model.filled(sample.to(model.device, model.dtype))
    seen = visits(model.module, sample, parts, lambda output: pick(output, model.output))
    if not seen:
        alone = apart(model)
        seen = real_visits(alone.run, sample, dict(alone.module.named_modules()))
    return [visit.name for visit in seen]
