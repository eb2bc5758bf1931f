"""What the model says, in numbers and in words, for every kind of head."""

import json

import pytest
import torch
from torch import nn

from voxplain.score.model import Model
from voxplain.score.prediction import prediction
from voxplain.score.score import Score
from voxplain.score.target import ClassScore, Region, Regression

NAMES = ["glioma", "meningioma", "pituitary"]


def said(output: object, head: str = "auto", names: list[str] = NAMES):
    return prediction(torch.tensor(output, dtype=torch.float32), Model.of(nn.ReLU(), head=head, class_names=names))


def test_the_likeliest_class_with_its_probability():
    found = said([[0.0, 2.0, 1.0]])
    assert (found.kind, found.predicted, found.words) == ("classification", 1, "meningioma (0.67)")
    assert found.scores == (0.0, 2.0, 1.0)
    assert sum(found.probabilities) == pytest.approx(1)
    assert found.default_target == ClassScore()


def test_classes_without_names_have_numbers():
    assert said([[0.0, 2.0]], names=[]).words == "class 1 (0.88)"
    assert said([[0.0, 2.0]], names=["only one"]).words == "class 1 (0.88)"


@pytest.mark.parametrize(("logit", "best", "words"), [(1.0, 1, "sick (0.73)"), (-1.0, 0, "healthy (0.73)")])
def test_one_logit_speaks_of_two_classes(logit, best, words):
    found = said([[logit]], names=["healthy", "sick"])
    assert (found.predicted, found.words) == (best, words)
    assert found.scores == (-logit, logit)
    assert sum(found.probabilities) == pytest.approx(1)


def test_several_labels_are_listed_above_one_half():
    found = said([[1.0, -1.0, 2.0]], "multi_label")
    assert found.words == "glioma, pituitary"
    assert found.probabilities == pytest.approx([0.7311, 0.2689, 0.8808], abs=1e-4)


def test_no_label_at_all_names_the_highest():
    assert said([[-3.0, -1.0, -2.0]], "multi_label").words == "nothing above 0.5 (highest: meningioma)"


def test_a_regression_tells_its_values():
    found = said([[71.2345678, -0.5]], "regression")
    assert (found.kind, found.predicted, found.words) == ("regression", None, "71.23, -0.5")
    assert found.probabilities == ()
    assert found.default_target == Regression(0)


def segmented(labels: list[list[int]], classes: int = 3) -> list:
    """Logits whose highest class at each voxel is the label."""
    return nn.functional.one_hot(torch.tensor(labels), classes).movedim(-1, 0)[None].float().tolist()


def test_a_segmentation_counts_voxels_and_leaves_out_the_background():
    found = said(segmented([[0, 0, 2], [1, 2, 2]]))
    assert (found.kind, found.predicted) == ("segmentation", None)
    assert found.scores == (2.0, 1.0, 3.0)
    assert found.words == "meningioma: 1 voxels, pituitary: 3 voxels on the model's grid of 2 x 3"
    assert found.labels.tolist() == [[0, 0, 2], [1, 2, 2]]
    assert found.default_target == Region(2)


def test_the_background_is_never_the_default_target():
    assert said(segmented([[0, 0, 0], [0, 0, 1]])).default_target == Region(1)
    assert said(segmented([[0, 0, 0], [0, 0, 0]])).default_target == Region(1)


def test_one_logit_a_voxel_segments_in_two():
    found = said([[[[1.0, -1.0, -1.0]]]], names=["nothing", "tumour"])
    assert found.scores == (2.0, 1.0)
    assert found.words == "tumour: 1 voxels on the model's grid of 1 x 3"
    assert found.labels.tolist() == [[1, 0, 0]]
    assert found.default_target == Region(1)


def test_overlapping_classes_have_no_background():
    found = said([[[[1.0, -1.0, -2.0]], [[2.0, 1.0, -1.0]]]], "multi_label", ["core", "whole"])
    assert found.overlapping
    assert found.scores == (1.0, 2.0)
    assert found.words == "core: 1 voxels, whole: 2 voxels on the model's grid of 1 x 3"
    assert found.labels.tolist() == [[2, 2, 0]]
    assert found.default_target == Region(1)


def test_the_first_class_may_be_the_largest_where_classes_overlap():
    assert said([[[[1.0, 1.0]], [[-1.0, 1.0]]]], "multi_label").default_target == Region(0)


def test_volumes_are_segmented_too():
    labels = torch.randint(0, 3, (2, 3, 4), generator=torch.Generator().manual_seed(0)).tolist()
    found = said(segmented(labels))
    assert found.labels.tolist() == labels
    assert sum(found.scores) == 24


def test_one_number_a_voxel_of_a_regression_is_explained_over_the_whole_image():
    found = said([[[[1.0, 2.0]]]], "regression")
    assert found.words == "one number a voxel"
    assert found.default_target == Region(0, over="whole")


@pytest.mark.parametrize(
    ("output", "head"),
    [
        ([[0.0, 2.0, 1.0]], "auto"),
        ([[1.0]], "auto"),
        ([[1.0, -1.0]], "multi_label"),
        ([[71.0]], "regression"),
        (segmented([[0, 1], [2, 2]]), "auto"),
    ],
)
def test_the_table_is_plain_json_without_the_labels(output, head):
    table = json.loads(json.dumps(said(output, head).to_table()))
    assert "labels" not in table
    assert {"kind", "class_names", "scores", "probabilities", "predicted", "words"} <= set(table)


@pytest.mark.parametrize(
    ("output", "head"),
    [
        ([[0.0, 2.0, 1.0]], "auto"),
        ([[1.0]], "auto"),
        ([[1.0, -1.0]], "multi_label"),
        ([[71.0]], "regression"),
        (segmented([[0, 1], [2, 2]]), "auto"),
        ([[[[1.0, -1.0]]]], "auto"),
        ([[[[1.0, -1.0]], [[1.0, 1.0]]]], "multi_label"),
        ([[[[1.0, 2.0]]]], "regression"),
    ],
)
def test_the_default_target_fits_the_output_it_was_made_from(output, head):
    class Constant(nn.Module):
        def forward(self, x):
            return torch.tensor(output).expand(len(x), *torch.tensor(output).shape[1:])

    model = Model.of(Constant(), head=head)
    asked = prediction(torch.tensor(output), model).default_target
    assert torch.isfinite(Score(model, asked)(torch.zeros(2, 1, 4, 4))).all()
