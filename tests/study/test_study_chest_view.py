"""The chest-view study: where evidence is counted, the films of its variants, and the way from films to figures."""

import json
import shutil

import numpy as np
import pytest
import torch

import voxplain as vx
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.raster import PICTURE_AFFINE
from voxplain.errors import OptionError
from voxplain.phantoms.chest import MARKER, Chest
from voxplain.score.target import target
from voxplain.space.grid import Grid
from voxplain.study.explain import Explainer
from voxplain.study.study_chest_view import MARKED, PLAIN, SWAPPED, ChestViewStudy
from voxplain.study.study_chest_view_evidence import around, border, evidence

SEED = 3


def test_the_border_is_an_eighth_of_the_film_on_each_side():
    found = border((16, 32))
    assert found[:2].all()
    assert found[:, 28:].all()
    assert not found[2:14, 4:28].any()


def test_the_place_of_a_marker_is_its_box_and_a_little_more_and_ends_at_the_edge():
    marker = np.zeros((32, 48), dtype=bool)
    marker[1, 20], marker[4, 22] = True, True
    found = around(marker)
    assert found[0:7, 17:26].all()
    assert found.sum() == 7 * 9


def test_films_of_the_variants_differ_in_the_marker_alone():
    study = ChestViewStudy()
    films = {one: vx.phantom(study._recipe(one).phantom) for one in (PLAIN, MARKED, SWAPPED)}
    assert [films[one].marker for one in (PLAIN, MARKED, SWAPPED)] == [(0, 0), (0, 1), (1, 0)]
    samples = {one: [film.sample(number, SEED) for number in range(4)] for one, film in films.items()}
    for plain, marked, swapped in zip(*samples.values(), strict=True):
        assert plain.identifier == marked.identifier == swapped.identifier
        for one, label in ((marked, "lateral"), (swapped, "pa")):
            changed = one.image.values != plain.image.values
            assert changed.any() == (one.label == label)
            assert not changed[one.mask.values != MARKER].any()


class Corner(torch.nn.Module):
    """Two classes; the second one sees the brightness of the film's first sixteenth on each axis."""

    def __init__(self):
        super().__init__()
        self.convolution = torch.nn.Conv2d(1, 1, 1, bias=False)
        torch.nn.init.ones_(self.convolution.weight)
        self.relu, self.flatten = torch.nn.ReLU(), torch.nn.Flatten()
        self.head = torch.nn.Linear(64 * 64, 2, bias=False)
        corner = torch.zeros(64, 64)
        corner[:4, :4] = 1 / 16
        self.head.weight.data = torch.stack([-corner.flatten(), corner.flatten()])

    def forward(self, x):
        return self.head(self.flatten(self.relu(self.convolution(x))))


def _film(marked):
    pixels = np.linspace(0.25, 0.75, 64 * 64, dtype=np.float32).reshape(1, 64, 64, 1)
    labels = np.zeros((1, 64, 64, 1), dtype=np.float32)
    labels[0, 1:3, 1:3] = MARKER if marked else 0
    grid = Grid((64, 64, 1), PICTURE_AFFINE, "px")
    return Case("film", Image.of(pixels, grid, identifier="film"), Image.of(labels, grid, unit="label"), label="1")


def test_evidence_in_a_corner_is_at_the_border_and_around_the_marker():
    explainer = Explainer(vx.Model.of(Corner(), head="softmax"))
    found = evidence(explainer, [_film(marked=True), _film(marked=False)], target("class_score(1)"))
    assert found["films"] == 2
    assert found["border"]["films"] == 2
    assert found["marker"]["films"] == 1
    # Grad-CAM weighs the one channel as a whole, so the evidence follows the film's brightness.
    bright = _film(marked=True).image.values[0, ..., 0]
    for name, region in (
        ("border", border((64, 64))),
        ("marker", around(_film(marked=True).mask.values[0, ..., 0] == MARKER)),
    ):
        assert found[name]["share"] == pytest.approx(bright[region].sum() / bright.sum(), rel=1e-4)
        assert found[name]["chance"] == pytest.approx(region.mean())


def test_films_without_evidence_are_counted_apart():
    explainer = Explainer(vx.Model.of(Corner(), head="softmax"))
    found = evidence(explainer, [_film(marked=True)], target("class_score(0)"))
    assert found == {"films": 1, "films_without_positive_evidence": 1}


def test_lime_is_asked_as_in_the_source():
    methods = [str(one) for one in ChestViewStudy().methods()]
    assert methods[0] == "grad_cam"
    assert len(methods) == 5
    for one in methods[1:]:
        assert "samples=2048" in one
        assert "fill='mean'" in one
        assert "weighted=False" in one
    assert sum("surrogate='tree'" in one for one in methods) == 2
    assert ChestViewStudy().methods()[1].segments == 49


def test_options_that_cannot_be_are_refused():
    with pytest.raises(OptionError, match="chest-view: n must be at least 10, got 5"):
        ChestViewStudy(n=5)
    with pytest.raises(OptionError, match="samples must be at least 2"):
        ChestViewStudy(samples=1)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("views") / "study"
    return vx.study("chest-view", out=folder, n=10, epochs=1, samples=30, features=9, pictures=2, device="cpu")


@pytest.mark.slow
def test_one_call_leads_from_nothing_to_figures(done):
    names = {one.name for one in (done.path / "figures").glob("*.png")}
    for variant in (PLAIN, MARKED):
        for what in ("samples", "predictions", "grad-cam", "lime-superpixels-tree", "lime-squares-linear"):
            assert f"{variant}-{what}.png" in names
        assert f"{variant}-training-confusion-test.png" in names
    numbers = json.loads((done.path / "numbers.json").read_text())
    assert numbers["plain"]["test"]["cases"] == 3
    assert set(numbers["trained_with_marker"]) == {
        "accuracy_as_trained",
        "accuracy_without_marker",
        "accuracy_with_swapped_marker",
    }
    told = numbers["trained_with_marker"]["accuracy_as_trained"]
    assert told == pytest.approx(numbers["marker"]["test"]["accuracy"])


@pytest.mark.slow
def test_given_films_in_folders_of_their_label_are_learnt_from_as_they_are(done, tmp_path):
    shutil.copytree(done.path / PLAIN / "data" / "films", tmp_path / "films")
    options = {"epochs": 1, "samples": 30, "features": 9, "pictures": 1, "device": "cpu"}
    found = vx.study("chest-view", data=tmp_path / "films", out=tmp_path / "study", **options)
    assert set(found.numbers) == {"plain"}
    assert (tmp_path / "study" / "figures" / "plain-grad-cam.png").is_file()


def test_the_phantom_is_of_the_networks_size():
    assert vx.phantom(ChestViewStudy(size="paper")._recipe(PLAIN).phantom) == Chest(side=227, noise=0.03)
