"""What a killed audit does not do again, and what a copy learns that it keeps."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from tests.study.audited import cases, plan
from voxplain.data.case import Case
from voxplain.data.prepare import Prepare
from voxplain.errors import InputError
from voxplain.methods import method
from voxplain.phantoms.base import picture
from voxplain.score.model import Model
from voxplain.score.networks_small import small_cnn_2d
from voxplain.study import audit_planted, audit_sanity, audit_taught, audit_truthfulness
from voxplain.study.audit import audit
from voxplain.study.audit_cohort import Cohort
from voxplain.study.audit_kept import Kept
from voxplain.study.plan import Plan
from voxplain.training.seeding import seeded


class Killed(BaseException):
    """As if the process had gone."""


def test_a_value_is_made_once_and_read_back_later(tmp_path):
    first = Kept(tmp_path / "check.jsonl")
    assert first("a", lambda: {"value": (1.5, None)}) == {"value": [1.5, None]}  # as it will be read
    assert first("a", lambda: pytest.fail("made again")) == {"value": [1.5, None]}
    again = Kept(tmp_path / "check.jsonl")
    assert "a" in again
    assert again("a", lambda: pytest.fail("made again")) == {"value": [1.5, None]}


def test_a_line_that_a_kill_cut_off_is_made_again(tmp_path):
    file = tmp_path / "check.jsonl"
    kept = Kept(file)
    kept("a", lambda: 1)
    kept("b", lambda: 2)
    file.write_text(file.read_text()[:-9])
    again = Kept(file)
    assert ("a" in again, "b" in again) == (True, False)
    again("b", lambda: 3)
    assert [json.loads(line) for line in file.read_text().splitlines()] == [
        {"case": "a", "value": 1},
        {"case": "b", "value": 3},
    ]


def test_without_a_file_nothing_is_kept(tmp_path):
    Kept(None)("a", lambda: 1)
    assert not list(tmp_path.iterdir())


def killed_after(count, real):
    """The function, gone when it is called once more."""
    done = []

    def asked(*arguments):
        if len(done) == count:
            raise Killed
        done.append(arguments)
        return real(*arguments)

    return asked


@pytest.mark.parametrize(
    ("module", "name", "check"),
    [
        (audit_sanity, "_asked_again", audit_sanity.check_sanity),
        (audit_sanity, "_asked_again", audit_sanity.check_stability),
        (audit_truthfulness, "_measured", audit_truthfulness.measured),
    ],
)
def test_a_check_killed_within_goes_on_with_the_next_case(tmp_path, monkeypatch, module, name, check):
    whole = check(Cohort(plan("middle"), tuple(cases(6)), quick=True))
    cohort = Cohort(plan("middle"), tuple(cases(6)), quick=True, folder=tmp_path)
    real = getattr(module, name)
    monkeypatch.setattr(module, name, killed_after(3, real))
    with pytest.raises(Killed):
        check(cohort)
    monkeypatch.setattr(module, name, killed_after(1, real))  # a fourth case is all that is left
    assert check(cohort) == whole


def taught_plan():
    with seeded(0):
        network = small_cnn_2d(width=4, depth=2, classes=2, channels=1).eval()
    model = Model.of(network, class_names=("a", "b"))
    return Plan(model, Prepare(scale=1 / 255), (None,), (method("gradient"),))


def bare(count):
    return tuple(case for case in cases(2 * count) if case.label == "plain")


@pytest.fixture(scope="module")
def whole():
    """The verdict of a planted check in one go."""
    return audit_planted.check(Cohort(taught_plan(), bare(12), quick=True))


def test_the_copy_learns_the_marker_and_the_model_stays(whole):
    asked = taught_plan()
    before = {name: one.clone() for name, one in asked.model.module.state_dict().items()}
    assert audit_planted.check(Cohort(asked, bare(12), quick=True)) == whole
    assert whole.numbers["swap"] >= audit_planted.LEARNT
    assert whole.findings[0].value > 1
    after = asked.model.module.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(one.requires_grad for one in asked.model.module.parameters())


def test_the_planted_check_killed_within_keeps_the_taught_copy_and_the_maps_done(whole, tmp_path, monkeypatch):
    cohort = Cohort(taught_plan(), bare(12), quick=True, folder=tmp_path)
    real = audit_planted._around
    monkeypatch.setattr(audit_planted, "_around", killed_after(2, real))
    with pytest.raises(Killed):
        audit_planted.check(cohort)
    monkeypatch.setattr(audit_planted, "taught", lambda *_: pytest.fail("taught again"))
    monkeypatch.setattr(audit_planted, "_around", killed_after(whole.numbers["cases"] - 2, real))
    assert audit_planted.check(cohort) == whole


def test_norms_of_a_copy_know_all_that_it_learnt_from():
    model = Model.of(nn.Sequential(nn.BatchNorm2d(1), nn.Flatten(), nn.Linear(64, 2)))
    draw = torch.Generator().manual_seed(0)
    couples = [tuple(torch.randn(2, 1, 1, 8, 8, generator=draw) + number) for number in range(16)]
    one = audit_taught.copied(model)
    audit_taught._settle(one, couples)
    norm = one.module[0]
    torch.testing.assert_close(norm.running_mean, torch.cat([*map(torch.cat, couples)]).mean().reshape(1))
    assert (norm.momentum, one.module.training) == (0.1, False)
    assert model.module[0].running_mean == 0


def test_both_images_of_a_couple_are_varied_alike():
    plain = torch.arange(16.0).reshape(1, 1, 4, 4)
    marked = plain.clone()
    marked[..., 0, 0] = 40.0
    with torch.random.fork_rng():
        torch.manual_seed(1)
        found = [audit_taught._varied(plain, marked) for _ in range(20)]
    assert all(((one - other).abs() > 1e-4).sum() == 1 for one, other in found)
    assert len({int((one - other).abs().argmax()) for one, other in found}) == 4  # mirrored along both axes


def test_a_marker_is_planted_where_it_stands_out():
    film = np.zeros((40, 40))
    film[20:] = 0.97  # a belly, as bright as the marker
    image = picture(film, "film")
    places = [audit_planted._marked(image, np.random.default_rng(seed))[1] for seed in range(8)]
    rows = [np.argwhere(place.values[0])[:, 1] for place in places]
    assert all(own.max() < 20 for own in rows)


@pytest.mark.parametrize("what", ["body", "mask", "label", "group"])
def test_another_body_mask_label_or_patient_is_another_audit(tmp_path, monkeypatch, what):
    monkeypatch.setattr("voxplain.study.audit._verdicts", lambda *_: [])
    masked = [with_mask(case, 10) for case in cases(3)]
    audit(plan("middle", "gradient"), masked, tmp_path / "out", body="mask", quick=True)
    audit(plan("middle", "gradient"), masked, tmp_path / "out", body="mask", quick=True)
    first = masked[0]
    other = {
        "body": first,
        "mask": with_mask(first, 12),
        "label": Case(first.identifier, first.image, first.mask, label="marked"),
        "group": Case(first.identifier, first.image, first.mask, label=first.label, group="p"),
    }[what]
    body = "otsu" if what == "body" else "mask"
    with pytest.raises(InputError, match="holds another run"):
        audit(plan("middle", "gradient"), [other, *masked[1:]], tmp_path / "out", body=body, quick=True)


def with_mask(case, half):
    inside = np.zeros(case.image.grid.shape)
    inside[20 - half : 20 + half, 20 - half : 20 + half] = 1
    return Case(case.identifier, case.image, case.image.with_values(inside[None]), label=case.label)
