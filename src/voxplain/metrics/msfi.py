"""MSFI: is each sequence's evidence inside that sequence's lesion, weighted by how much it matters? Jin et al. 2022."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np

from voxplain.data.attribution import Attribution
from voxplain.data.image import Image
from voxplain.errors import InputError
from voxplain.metrics.base import MaskMetric, Measured
from voxplain.metrics.base_evidence import NOT_FINITE, Array, Truth


@dataclass(frozen=True, kw_only=True)
class Msfi(MaskMetric):
    """Between 0 and 1: the mean over the image's channels of their positive mass inside their own mask.

    Channels weigh by `importances`. The mask has one channel for all, or one for each channel of the map, by the same
    names. A channel without positive values, or without a lesion, counts 0. `chance` is what a map gets that is the
    same everywhere. A map with a single channel is not applicable.
    """

    name: ClassVar[str] = "msfi"
    title: ClassVar[str] = "Modality-specific feature importance"
    citation: ClassVar[str] = (
        "Jin, Li, Hamarneh: Evaluating explainable AI on a multi-modal medical imaging task. AAAI 2022, equation 2, "
        "arXiv:2203.06487"
    )
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    bounds: ClassVar[tuple[float | None, float | None]] = (0.0, 1.0)
    masks_by_channel: ClassVar[bool] = True

    importances: tuple[float, ...] = ()
    """How much each channel of the map matters to the model, at least 0, such as the Shapley values of
    `modality_shapley` with negative ones set to 0; left out: all alike."""

    def _check(self) -> None:
        given = self.importances
        right = not given or (min(given) >= 0 and max(given) > 0)
        self._require(right, "importances", "numbers of at least 0, not all of them 0")

    def _measure(self, attribution: Attribution, mask: Image, body: Image | None) -> Measured:
        names = attribution.channels
        if len(names) < 2:
            return Measured.not_applicable("the map has one channel for the whole image")
        weights = self._weights(names)
        counted = np.ones(attribution.grid.shape, dtype=bool) if body is None else body.values[0] != 0
        masks = mask.values if len(mask.channels) == 1 else mask.select(names).values
        inside = np.broadcast_to((masks != 0) & counted, attribution.values.shape)
        if not inside.any():
            return Measured.not_applicable("the mask is empty" if body is None else "the mask is empty inside the body")
        chance = float(weights @ inside.sum(axis=(1, 2, 3)) / counted.sum())
        if not np.isfinite(attribution.values).all():
            return Measured.not_applicable(NOT_FINITE, chance)
        mass = np.maximum(attribution.values.astype(np.float64), 0.0)
        if not mass[:, counted].any():
            return Measured.not_applicable("the map has no positive values", chance)
        shares = np.array([_share(one, place, counted) for one, place in zip(mass, inside, strict=True)])
        return Measured(
            min(float(weights @ shares), 1.0), chance, numbers=dict(zip(names, shares.tolist(), strict=True))
        )

    def _weights(self, names: Sequence[str]) -> Array:
        given = np.array(self.importances or (1.0,) * len(names))
        if len(given) != len(names):
            raise InputError(
                f"msfi: importances must be one for each of the map's channels {', '.join(names)}, got {len(given)}"
            )
        return np.asarray(given / given.sum())


def _share(mass: Array, inside: Truth, counted: Truth) -> float:
    total = mass[counted].sum()
    return float(mass[inside].sum() / total) if total > 0 else 0.0
