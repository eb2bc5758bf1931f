"""Files a user might bring, made on the spot."""

import json
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from voxplain.cli.main import main
from voxplain.score.networks import NETWORKS

AFFINE = np.array([[-1.2, 0.1, 0, 14], [0.1, 1.2, 0.2, -15], [0, -0.2, 2.4, 3], [0, 0, 0, 1]])
"""Flipped, slightly oblique, anisotropic."""

VOLUME, PICTURE = "small_cnn_3d", "small_cnn_2d"
"""Names of networks that fit the files below."""


class Typed:
    """What one call of the command printed and returned."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def sentence(self) -> str:
        """The last line on standard error."""
        return self.err.strip().splitlines()[-1]

    @property
    def document(self) -> dict:
        """Standard output as one JSON document."""
        return json.loads(self.out)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a volume, two channels, masks, a picture and weights; also the working folder."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    values = rng.normal(100, 20, (16, 18, 12)).astype(np.float32)
    mask = np.zeros(values.shape, np.uint8)
    mask[5:9, 6:10, 4:7] = 1
    for name, data in (("t1", values), ("flair", values[::-1]), ("mask", mask), ("empty_mask", mask * 0)):
        nibabel.save(nibabel.Nifti1Image(data, AFFINE), tmp_path / f"{name}.nii.gz")
    Image.fromarray(rng.integers(0, 255, (20, 24), np.uint8)).save(tmp_path / "film.png")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_file(NETWORKS[VOLUME]().state_dict(), tmp_path / "weights.safetensors")
    return tmp_path


@pytest.fixture
def voxplain(files: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Typed]:
    """The command line, in this process."""

    def call(*arguments: str) -> Typed:
        capsys.readouterr()
        try:
            code = main(arguments)
        except SystemExit as ending:  # argparse's own errors
            code = int(ending.code or 0)
        printed = capsys.readouterr()
        return Typed(code, printed.out, printed.err)

    return call


@pytest.fixture
def explain(voxplain: Callable[..., Typed]) -> Callable[..., Typed]:
    """`voxplain explain` on the volume, into `out`, with more or other options."""

    def call(*more: str, model: str = VOLUME, image: str = "t1.nii.gz", method: str = "gradient") -> Typed:
        asked = () if "--method" in more else ("--method", method)
        shown = () if {"--image", "--cases"} & set(more) else ("--image", image)
        weights = ("--weights", "weights.safetensors") if model == VOLUME and "--weights" not in more else ()
        out = () if "--out" in more else ("--out", "out")
        return voxplain("explain", "--model", model, *weights, *shown, *asked, *out, *more)

    return call


def everything_under(folder: Path) -> list[str]:
    """Every file below a folder, as relative paths."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
