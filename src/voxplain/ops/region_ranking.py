"""Regions that overlap, joined one after another by how dense they are (Kapishnikov et al., 2019, algorithm 1)."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage, sparse

Labels = npt.NDArray[np.int64]
"""Labels (*space), a segment each."""

Regions = Any
"""A sparse matrix (region, voxel) of SciPy, by rows: ones where a region has its voxels."""


def regions(segmentations: Sequence[Labels], dilation: int) -> Regions:
    """Every segment of every segmentation of one image, grown by a disk or ball of `dilation` voxels."""
    found = [voxels for labels in segmentations for voxels in _grown(labels, dilation)]
    ends = np.cumsum([0, *map(len, found)])
    ones = np.ones(ends[-1], dtype=np.int8)
    return sparse.csr_matrix((ones, np.concatenate(found), ends), shape=(len(found), segmentations[0].size))


def joined_by_density(members: Regions, values: npt.NDArray[np.float64], least_new: int) -> npt.NDArray[np.float64]:
    """Each voxel (voxel,) at the mean of `values` over the part of a region with which it joined.

    At each turn the region joins whose voxels that are still free have the highest mean; one with fewer than
    `least_new` free voxels never does. What no region took in the end is one last part.
    """
    columns = members.tocsc()
    totals, counts = members @ values, members @ np.ones(len(values))
    free, waiting = np.ones(len(values), dtype=bool), np.ones(len(totals), dtype=bool)
    out = np.empty_like(values)
    while (waiting := waiting & (counts >= least_new)).any():
        best = int(np.argmax(np.where(waiting, totals / np.maximum(counts, 1), -np.inf)))
        voxels = members.indices[members.indptr[best] : members.indptr[best + 1]]
        new = voxels[free[voxels]]
        out[new] = values[new].mean()
        free[new] = waiting[best] = False
        touched = columns[:, new]
        totals -= touched @ values[new]
        counts -= touched @ np.ones(len(new))
    if free.any():
        out[free] = values[free].mean()
    return out


def _grown(labels: Labels, dilation: int) -> list[npt.NDArray[np.int64]]:
    """The voxels of each segment, as flat numbers, in the order of the labels."""
    found = []
    place = np.arange(labels.size).reshape(labels.shape)
    for label, box in enumerate(ndimage.find_objects(labels - labels.min() + 1), start=int(labels.min())):
        if box is None:
            continue
        wide = tuple(slice(max(0, side.start - dilation), side.stop + dilation) for side in box)
        inside = labels[wide] == label
        found.append(place[wide][ndimage.distance_transform_edt(~inside) <= dilation])
    return found
