"""The eight layers of the per-layer figure: four of the deepest and four of the shallowest, in the network's order."""

from __future__ import annotations

from torch import nn

XCEPTION = {
    "block1_conv1": "conv1",
    "block1_conv2": "conv2",
    "block2_sepconv1": "block1.rep.0",
    "block2_sepconv2": "block1.rep.3",
    "block13_sepconv1": "block12.rep.1",
    "block13_sepconv2": "block12.rep.4",
    "block14_sepconv1": "conv3",
    "block14_sepconv2": "conv4",
}
"""The study's layers as Keras names them -> as timm does."""

EACH = 4
"""Layers at either end."""


def eight_layers(module: nn.Module) -> tuple[str, ...]:
    """The study's own layers of an Xception; of other networks the first and last four convolutions wider than 1.

    A network with fewer of them gives its rectifiers as well.
    """
    names = [name for name, _ in module.named_modules()]
    own = [f"backbone.{name}" for name in XCEPTION.values()]
    if set(own) <= set(names):
        return tuple(own)
    found = [name for name, one in module.named_modules() if _is_wide(one)]
    if len(found) < 2 * EACH:
        found = [name for name, one in module.named_modules() if _is_wide(one) or isinstance(one, nn.ReLU)]
    return tuple(found) if len(found) <= 2 * EACH else (*found[:EACH], *found[-EACH:])


def _is_wide(module: nn.Module) -> bool:
    return isinstance(module, nn.Conv2d) and max(module.kernel_size) > 1
