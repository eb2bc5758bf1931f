"""Volumes for viewers: the bytes are a NIfTI file that nibabel reads as we meant it."""

import gzip

import nibabel
import numpy as np
import pytest

from voxplain.data.nifti_display import nifti_bytes, quantised
from voxplain.space.grid import Grid

AFFINE = np.array([[-1.2, 0.1, 0, 14], [0.1, 1.2, 0.2, -15], [0, -0.2, 2.4, 3], [0, 0, 0, 1.0]])
GRID = Grid((3, 4, 5), AFFINE)
VALUES = np.linspace(-2, 6, 60).reshape(GRID.shape).astype(np.float32)


def opened(file: bytes) -> nibabel.Nifti1Image:
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(file) if file[:2] == b"\x1f\x8b" else file)


def test_nibabel_reads_the_same_numbers_on_the_same_grid():
    file = opened(nifti_bytes(VALUES, GRID))
    assert np.array_equal(file.get_fdata(), VALUES)
    assert np.allclose(file.affine, AFFINE, atol=1e-6)  # a NIfTI-1 header states the affine in float32
    assert file.header["sform_code"] == 1


def test_stored_numbers_mean_what_step_and_offset_say():
    stored = np.arange(60, dtype=np.uint8).reshape(GRID.shape)
    assert np.allclose(opened(nifti_bytes(stored, GRID, step=0.25, offset=-3, packed=True)).get_fdata(), stored / 4 - 3)


def test_equal_volumes_are_equal_bytes():
    assert nifti_bytes(VALUES, GRID, packed=True) == nifti_bytes(VALUES.copy(), GRID, packed=True)


@pytest.mark.parametrize("kind", [np.int8, np.int16])
def test_signed_numbers_keep_zero_and_are_off_by_half_a_step_at_most(kind):
    stored, step, offset = quantised(np.float32([-4, -1.3, 0, 0.7, 4]), -4, 4, kind)
    assert stored.dtype == kind
    assert offset == 0
    assert stored[2] == 0
    assert step == pytest.approx(4 / np.iinfo(kind).max)
    assert np.abs(stored * step - [-4, -1.3, 0, 0.7, 4]).max() <= step / 2 * (1 + 1e-6)  # and the values' own rounding


def test_unsigned_numbers_reach_from_one_limit_to_the_other():
    stored, step, offset = quantised(np.float32([-5, 10, 60, 110, 900]), 10, 110, np.uint8)
    assert stored.tolist() == [0, 0, 128, 255, 255]  # 60 lies at 127.5, which goes to the even neighbour
    assert (step, offset) == (pytest.approx(100 / 255), 10)


def test_limits_of_no_width_give_numbers_all_the_same():
    stored, step, offset = quantised(np.zeros((2, 2), np.float32), 0, 0, np.int8)
    assert stored.tolist() == [[0, 0], [0, 0]]
    assert (step, offset) == (1.0, 0.0)
