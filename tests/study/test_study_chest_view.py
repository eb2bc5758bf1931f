"""The chest-view study: where evidence is counted, the films of its variants, and the way from films to figures."""

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image as pil

import voxplain as vx
from voxplain.data.case import Case
from voxplain.data.image import Image
from voxplain.data.raster import PICTURE_AFFINE
from voxplain.errors import OptionError
from voxplain.phantoms.chest import LUNG, MARKER, Chest
from voxplain.report.contents import read_run
from voxplain.report.study_chest_view import _sample
from voxplain.score.load import load_model
from voxplain.score.target import target
from voxplain.space.grid import Grid
from voxplain.study import study_chest_view
from voxplain.study.explain import Explainer
from voxplain.study.study_chest_view import MARKED, PLAIN, SWAPPED, ChestViewStudy
from voxplain.study.study_chest_view_evidence import around, border, evidence, explained, parts_in
from voxplain.study.study_chest_view_films import filed

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
    labels[0, 20:40, 20:40] = LUNG
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


def test_every_part_that_is_tested_has_a_folder_of_its_own(tmp_path):
    assert [explained(part) for part in ("test", "external", "site B/2")] == [
        "explained",
        "explained-external",
        "explained-site-B-2",
    ]
    (tmp_path / "predictions.csv").write_text("id,part\nc,val\nb,test\na,external\n")
    assert list(parts_in(tmp_path).items()) == [("c", "val"), ("b", "test"), ("a", "external")]


def test_a_backbone_is_started_from_where_a_file_is_given():
    assert ChestViewStudy()._recipe(PLAIN).backbone == ""
    for data in (None, Path("films")):
        recipe = ChestViewStudy(backbone="weights.npz", data=data)._recipe(PLAIN)
        assert (recipe.backbone, recipe.network) == ("weights.npz", "squeezenet_views(version='1_0', size=128)")
        assert (recipe.optimiser, recipe.head_factor, recipe.prepare.grey_to_rgb) == ("rmsprop", 10.0, True)
    assert "size=227" in ChestViewStudy(backbone="weights.npz", size="paper")._recipe(PLAIN).network


def test_given_films_are_learnt_by_a_small_network_where_there_are_no_weights_to_start_from():
    recipe = ChestViewStudy(data=Path("films"))._recipe(PLAIN)
    assert recipe.network.startswith("small_cnn_2d")
    assert not recipe.prepare.grey_to_rgb
    assert (recipe.best, recipe.head_factor, recipe.augment.shift_voxels) == ("loss", 1.0, 0)


def _rows(table):
    with table.open(newline="") as stream:
        return list(csv.DictReader(stream))


def _table(folder, variant):
    """A table of phantoms: twenty PA films and as many lateral ones, of which every fifth is tested on."""
    folder.mkdir(parents=True)
    names = [f"{view}-{number}" for number in range(20) for view in ("pa", "lateral")]
    with (folder / "cases.csv").open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "image", "mask", "label", "group", "split", "marker"])
        for place, name in enumerate(names):
            part = "test" if place % 10 > 7 else "train"
            writer.writerow([name, f"films/{name}.png", f"masks/{name}.png", name.split("-")[0], name, part, variant])
    return folder


def test_a_share_of_each_views_training_films_is_filed_under_the_other_and_comes_from_the_other_folder(tmp_path):
    films, swapped = _table(tmp_path / "marker" / "data", "m"), _table(tmp_path / "swapped" / "data", "s")
    rows = _rows(filed(tmp_path / "marker", films, swapped, 0.25, SEED))
    wrong = [row for row in rows if row["label"] != row["id"].split("-")[0]]
    assert [sum(row["id"].startswith(view) for row in wrong) for view in ("pa", "lateral")] == [4, 4]
    assert {row["split"] for row in wrong} == {"train"}
    for row in rows:
        front = "../swapped/data" if row in wrong else "data"
        assert (row["image"], row["mask"]) == (f"{front}/films/{row['id']}.png", f"{front}/masks/{row['id']}.png")
    assert len(rows) == 40


def test_the_same_films_are_misfiled_with_and_without_markers(tmp_path):
    films = _table(tmp_path / "plain" / "data", "p")
    swapped = _table(tmp_path / "swapped" / "data", "s")
    labels = [
        [row["label"] for row in _rows(filed(tmp_path / "plain", films, other, 0.25, SEED))]
        for other in (films, swapped)
    ]
    assert labels[0] == labels[1]
    assert labels[0] != [row["label"] for row in _rows(filed(tmp_path / "plain", films, films, 0.25, SEED + 1))]


def test_nothing_is_misfiled_where_nothing_is_asked(tmp_path):
    films = _table(tmp_path / "plain" / "data", "p")
    assert all(row["label"] == row["id"].split("-")[0] for row in _rows(filed(tmp_path, films, films, 0.0, SEED)))


def test_the_network_that_learnt_with_markers_is_asked_about_the_films_that_each_number_names(monkeypatch, tmp_path):
    stands = {
        "load_model": lambda trained: SimpleNamespace(on=lambda place: trained),
        "Explainer": lambda model, prepare: model,
        "Prepare": SimpleNamespace(read=lambda path: None),
        "training_cases": lambda source, recipe: [source],
        "tested_cases": lambda trained, cases: cases,
        "_accuracy": lambda explainer, cases: (explainer, *cases),
    }
    for name, stand in stands.items():
        monkeypatch.setattr(study_chest_view, name, stand)
    monkeypatch.setattr(ChestViewStudy, "source", lambda study, recipe, folder, say: folder)
    network = str(tmp_path / "marker" / "trained")
    assert ChestViewStudy()._shortcut(tmp_path, print) == {
        "accuracy_as_trained": (network, tmp_path / "marker" / "data"),
        "accuracy_without_marker": (network, tmp_path / "plain" / "data"),
        "accuracy_with_swapped_marker": (network, tmp_path / "marker-swapped" / "data"),
    }


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
    with pytest.raises(OptionError, match="misfiled must be from 0 to below a half"):
        ChestViewStudy(misfiled=0.5)
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
@pytest.mark.parametrize("variant", [PLAIN, MARKED])
def test_films_learnt_from_and_films_explained_are_of_different_parts(done, variant):
    folder = done.path / variant
    with np.load(folder / "samples.npz") as samples:
        learnt = set(samples["identifiers"].tolist())
    tested = {row["id"] for row in _rows(folder / "trained" / "predictions.csv")}
    shown = {case.identifier for case in read_run(folder / "explained").cases}
    assert (len(learnt), len(shown)) == (2, 2)
    assert not learnt & tested
    assert shown <= tested


@pytest.mark.slow
def test_markers_of_the_films_learnt_from_go_with_how_they_are_filed(done):
    for variant, marked in ((PLAIN, set()), (MARKED, {"lateral"})):
        found, wrong = set(), 0
        for row in _rows(done.path / variant / "films.csv"):
            with pil.open(done.path / variant / row["mask"]) as mask:
                found |= {row["label"]} if (np.asarray(mask) == MARKER).any() else set()
            wrong += row["label"] != row["id"].split("-")[0]
        assert found == marked
        assert wrong == 1


@pytest.mark.slow
def test_figures_say_of_each_film_what_is_true_and_what_was_predicted(done):
    run = read_run(done.path / PLAIN / "explained")
    told = {row["id"]: row for row in _rows(done.path / PLAIN / "trained" / "predictions.csv")}
    for case in run.cases:
        row, sample = told[case.identifier], _sample(run, case.identifier, "grad_cam")
        assert (sample.truth, sample.predicted) == (row["truth"], row["prediction"])
        assert sample.probability == pytest.approx(float(row[f"probability_{row['prediction']}"]), abs=1e-3)
        assert sample.shown.name == "Grad-CAM"


@pytest.mark.slow
def test_the_probability_of_the_predicted_class_is_explained(done):
    run = read_run(done.path / PLAIN / "explained")
    for case in run.cases:
        predicted = case.facts["prediction"]["class_names"][case.facts["prediction"]["predicted"]]
        for one in case.maps:
            assert one.text("target") == "probability"
            assert predicted in one.load(case.image).target_words


@pytest.mark.slow
def test_the_shortcut_is_measured_on_the_same_test_films_with_the_marker_where_it_says(done):
    """The films are read and scored here by other means."""
    trained = done.path / MARKED / "trained"
    model = load_model(str(trained))
    rows = _rows(trained / "predictions.csv")
    found = {}
    for name, variant in (("as_trained", MARKED), ("without_marker", PLAIN), ("with_swapped_marker", SWAPPED)):
        films = {one["id"]: one for one in _rows(done.path / variant / "data" / "cases.csv")}
        marked = {films[row["id"]]["label"] for row in rows if films[row["id"]]["marker"] == "1"}
        assert marked == {MARKED: {"lateral"}, PLAIN: set(), SWAPPED: {"pa"}}[variant]
        pictures = [pil.open(done.path / variant / "data" / films[row["id"]]["image"]).convert("L") for row in rows]
        x = torch.stack([torch.from_numpy(np.asarray(one, dtype=np.float32) / 255) for one in pictures])
        with torch.no_grad():
            guesses = model.module(x[:, None].repeat(1, 3, 1, 1)).argmax(dim=1).tolist()
        right = [model.class_names[guess] == row["truth"] for guess, row in zip(guesses, rows, strict=True)]
        found[f"accuracy_{name}"] = sum(right) / len(right)
    assert found == pytest.approx(done.numbers["trained_with_marker"])


@pytest.mark.slow
def test_given_films_in_folders_of_their_label_are_learnt_from_as_they_are(done, tmp_path):
    shutil.copytree(done.path / PLAIN / "data" / "films", tmp_path / "films")
    options = {"epochs": 1, "samples": 30, "features": 9, "pictures": 1, "device": "cpu"}
    found = vx.study("chest-view", data=tmp_path / "films", out=tmp_path / "study", **options)
    assert set(found.numbers) == {"plain"}
    assert (tmp_path / "study" / "figures" / "plain-grad-cam.png").is_file()


@pytest.mark.slow
def test_an_external_part_of_the_table_stands_beside_the_test_part(done, tmp_path):
    data = done.path / PLAIN / "data"
    rows = _rows(data / "cases.csv")
    parts = ["train", "train", "train", "train", "val", "val", "test", "test", "external", "external"]
    table = tmp_path / "films.csv"
    with table.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["id", "file", "view", "split"])
        writer.writerows(
            [row["id"], data / row["image"], row["label"], part] for row, part in zip(rows, parts, strict=True)
        )
    options = {"epochs": 1, "samples": 30, "features": 9, "pictures": 4, "device": "cpu"}
    found = vx.study("chest-view", data=table, out=tmp_path / "study", **options)
    assert (found.numbers["plain"]["test"]["cases"], found.numbers["plain"]["external"]["cases"]) == (2, 2)
    assert found.numbers["plain"]["grad_cam_evidence"]["films"] == 2
    assert found.numbers["plain"]["grad_cam_evidence_external"]["films"] == 2
    by_part = {part: {row["id"] for row, own in zip(rows, parts, strict=True) if own == part} for part in parts}
    for place, part in (("explained", "test"), ("explained-external", "external")):
        assert {case.identifier for case in read_run(tmp_path / "study" / "plain" / place).cases} == by_part[part]
    with np.load(tmp_path / "study" / "plain" / "samples.npz") as samples:
        assert set(samples["identifiers"].tolist()) == by_part["train"]
    names = {one.name for one in (tmp_path / "study" / "figures").glob("*.png")}
    assert {"plain-grad-cam.png", "plain-external-grad-cam.png", "plain-external-predictions.png"} <= names
    assert {"plain-training-confusion-test.png", "plain-training-confusion-external.png"} <= names


def test_the_phantom_is_of_the_networks_size():
    assert vx.phantom(ChestViewStudy(size="paper")._recipe(PLAIN).phantom) == Chest(side=227, noise=0.03)
