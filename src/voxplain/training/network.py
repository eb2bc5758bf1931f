"""The network of a recipe: its spec with the number of outputs put in, and one that is ready to learn."""

import inspect
from pathlib import Path
from typing import Any

import torch
from torch import nn

from voxplain.errors import KindError, OptionError
from voxplain.score.callables import PACKAGES, find_listed, quiet_options
from voxplain.score.trust import demand_trust
from voxplain.score.weights import load_weights
from voxplain.spec import Spec, parse
from voxplain.training.recipe import Recipe
from voxplain.training.seeding import seeded

OWN = "voxplain.score.networks"
"""Package of the networks that need no place before their name."""

OUTPUTS = ("classes", "num_classes", "out_channels", "outputs")
"""How callables name the number of outputs."""


def network_spec(recipe: Recipe, outputs: int) -> str:
    """The recipe's network with `outputs` put in where its callable asks for a number and the recipe gives none."""
    place, spec = _parsed(recipe.network)
    taken = inspect.signature(find_listed(place, spec.name)).parameters
    options = dict(spec.options)
    name = next((name for name in OUTPUTS if name in taken), "")
    if not name and any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        name = "num_classes"  # as torchvision and timm hand it on
    # A default of None is a network whose head is chosen by giving the option at all.
    alone = recipe.task == "regression" and name in taken and taken[name].default is None
    if name and not alone and options.setdefault(name, outputs) != outputs:
        raise OptionError(f"recipe: network must have {outputs} outputs for these data, got {recipe.network!r}")
    options.pop("pretrained", None)  # what it gives is in the weights that are kept
    return _written(spec, options) if place == OWN else f"{place}:{_written(spec, options)}"


def _parsed(network: str) -> tuple[str, Spec]:
    """Package and call; raises `TrustError` for a package that is not on the list."""
    source = network.replace("timm.create_model", "timm:create_model", 1)
    place, _, _ = source.partition("(")[0].rpartition(":")
    spec = parse(source[len(place) + 1 :] if place else source, "network")
    if place and place not in PACKAGES:
        demand_trust((), f"network {network!r} would run {place!r}, which recipes do not take", place)
    return place or OWN, spec


def _written(spec: Spec, options: dict[str, Any]) -> str:
    told = [*map(repr, spec.arguments), *(f"{name}={value!r}" for name, value in options.items())]
    return f"{spec.name}({', '.join(told)})" if told else spec.name


def new_network(recipe: Recipe, spec: str, mean_target: float | None = None, seed: int | None = None) -> nn.Module:
    """A network that has learnt nothing, or that starts from the recipe's backbone; born with the recipe's seed.

    `mean_target` is where the last bias begins, for recipes with target_bias. Raises what loading a model raises.
    """
    with seeded(recipe.seed if seed is None else seed):
        module = _born(recipe, spec)
    if recipe.target_bias and mean_target is not None:
        with torch.no_grad():
            _last_bias(module).fill_(mean_target)
    return module.train()


def _born(recipe: Recipe, source: str) -> nn.Module:
    place, spec = _parsed(source)
    network = find_listed(place, spec.name)
    options = quiet_options(f"{place}:{spec.name}", network, spec)
    takes_file = place == OWN and "pretrained" in inspect.signature(network).parameters
    if recipe.backbone and takes_file:
        options["pretrained"] = recipe.backbone
    module = network(**options)
    if not isinstance(module, nn.Module):
        raise KindError(f"network {source!r} must build a torch.nn.Module, got {type(module).__name__}")
    if recipe.backbone and not takes_file:
        load_weights(module, Path(recipe.backbone))
    return module


def _last_bias(module: nn.Module) -> nn.Parameter:
    linear = [one for one in module.modules() if isinstance(one, nn.Linear) and one.bias is not None]
    if not linear:
        raise OptionError("recipe: target_bias needs a network whose last layer is linear with a bias, got another")
    return linear[-1].bias
