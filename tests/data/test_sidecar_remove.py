"""A map goes with everything beside it, and nothing else goes."""

import json
from pathlib import PurePath

import numpy as np
import pytest

from tests.report.made import attribution, picture
from voxplain.data import sidecar
from voxplain.data.attribution import Coarse
from voxplain.data.picture_names import figure_name, sheet_name


def saved(folder, name: str):
    image = picture()
    values = np.ones((1, *image.grid.shape), np.float32)
    whole = attribution(image, standard_error=values, coarse=Coarse(values, image.grid), parts={"level1": values})
    return whole.save(folder / f"{name}.nii.gz")


def test_a_map_goes_with_its_sidecar_and_extras_and_its_neighbour_stays(tmp_path):
    path = saved(tmp_path, "lime")
    saved(tmp_path, "lime-2")
    neighbour = {file.name for file in tmp_path.iterdir() if file.name.startswith("lime-2")}
    assert len(neighbour) == 5
    sidecar.remove(path)
    assert {file.name for file in tmp_path.iterdir()} == neighbour
    sidecar.remove(path)


@pytest.mark.parametrize(
    "files", [{"x": "other.nii.gz"}, {"x": "../kept.nii.gz"}, {"x": "lime./../../kept.nii.gz"}, [1], 3]
)
def test_a_sidecar_edited_by_hand_takes_nothing_along(tmp_path, files):
    folder = tmp_path / "maps"
    path = saved(folder, "lime")
    (tmp_path / "kept.nii.gz").write_text("mine")
    (folder / "other.nii.gz").write_text("mine")
    (folder / "lime.json").write_text(json.dumps({"files": files}))
    sidecar.remove(path)
    assert (tmp_path / "kept.nii.gz").exists()
    assert (folder / "other.nii.gz").exists()
    assert not path.exists()


def test_pictures_are_named_after_the_place_of_their_map():
    place = PurePath("maps/case a/net/region-1/grad_cam-layer4.nii.gz")
    assert figure_name(place) == "case a-net-region-1-grad_cam-layer4.png"
    assert sheet_name(place) == "case a-region-1-sheet.png"


def test_a_map_elsewhere_has_a_picture_all_the_same():
    assert figure_name(PurePath("lone.nii")) == "lone.png"
    assert sheet_name(PurePath("lone.nii")) == "sheet.png"
