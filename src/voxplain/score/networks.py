"""The table of Voxplain's own networks: small ones for phantoms and trials, and those of the five source studies."""

from collections.abc import Callable

from torch import nn

from voxplain.score.networks_deepseg import deepseg_unet, deepseg_unet_small
from voxplain.score.networks_grey import grey_resnet
from voxplain.score.networks_pumpkin import pumpkin_net
from voxplain.score.networks_small import small_cnn_2d, small_cnn_3d, small_regressor, small_unet
from voxplain.score.networks_squeezenet import squeezenet_views
from voxplain.score.networks_transfer import transfer

__all__ = [
    "NETWORKS",
    "deepseg_unet",
    "deepseg_unet_small",
    "grey_resnet",
    "pumpkin_net",
    "small_cnn_2d",
    "small_cnn_3d",
    "small_regressor",
    "small_unet",
    "squeezenet_views",
    "transfer",
]

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "small_cnn_2d": small_cnn_2d,
    "small_cnn_3d": small_cnn_3d,
    "small_unet": small_unet,
    "small_regressor": small_regressor,
    "pumpkin_net": pumpkin_net,
    "grey_resnet": grey_resnet,
    "transfer": transfer,
    "squeezenet_views": squeezenet_views,
    "deepseg_unet": deepseg_unet,
    "deepseg_unet_small": deepseg_unet_small,
}
"""Name, as in `voxplain.score.networks:small_cnn_2d(classes=3)`, to the callable behind it."""
