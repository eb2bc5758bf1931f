"""Audits of networks whose strategy is known: found where there is a shortcut, quiet where there is none."""

import json
import re
from html import unescape

import numpy as np
import pytest
import torch
from torch import nn

from tests.study.audited import audited, cases, plan
from voxplain.data.case import Case
from voxplain.data.prepare import Prepare
from voxplain.errors import InputError
from voxplain.methods import method
from voxplain.phantoms.chest import CLASSES, Chest
from voxplain.report import audit as page
from voxplain.score.model import Model
from voxplain.score.networks_small import small_cnn_2d
from voxplain.study import audit as audit_module
from voxplain.study import audit_planted, audit_taught
from voxplain.study.audit import audit
from voxplain.study.plan import Plan
from voxplain.training.seeding import seeded
from voxplain.types import Access


@pytest.fixture(scope="module")
def brief():
    """Copies learn for a few steps only: these networks cannot see most markers anyway."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audit_taught, "STEPS", 5)
        patch.setattr(audit_taught, "LAST", 1)
        patch.setattr(audit_taught, "RATES", (3e-3,))
        yield


@pytest.fixture(scope="module")
def found(tmp_path_factory, brief):
    folder = tmp_path_factory.mktemp("audits")
    return {place: audited(folder, place) for place in ("corners", "middle")}


def test_a_network_that_reads_corner_markers_is_found_out(found):
    audit_of = found["corners"]
    assert audit_of.verdict("shortcut").outcome == "fail"
    wiping = audit_of.verdict("wiping").of("corners")
    assert (wiping.outcome, wiping.numbers["said"], wiping.numbers["turned"]) == ("fail", "marked", 8)
    for check in ("corners", "clusters"):
        assert audit_of.verdict(check).of("input_x_gradient").outcome == "fail"
    assert audit_of.verdict("agreement").of("input_x_gradient").outcome == "ok"


def test_clusters_are_the_two_corners_and_the_rest(found):
    clusters = found["corners"].verdict("clusters").of("input_x_gradient").numbers["clusters"]
    marked = {one["place"] for one in clusters if one["said"] == {"marked": 4}}
    assert marked == {"upper left", "upper right"}


def test_a_network_that_reads_the_middle_is_left_in_peace(found):
    verdicts = {one.check: one.outcome for one in found["middle"].verdicts}
    assert {verdicts[name] for name in ("shortcut", "wiping", "corners", "border", "outside the body")} == {"ok"}
    assert verdicts["clusters"] == "ok"
    assert verdicts["agreement"] == "not applicable"


def test_answers_and_every_check_stand_in_the_file(found):
    told = json.loads((found["middle"].folder / "audit.json").read_text())
    assert told["answers"]["all"]["right"] == 16
    assert [one["check"] for one in told["verdicts"]] == [
        "shortcut", "wiping", "corners", "border", "outside the body", "clusters", "agreement", "sanity", "planted",
        "certificates", "stability", "truthfulness", "disagreement",
    ]  # fmt: skip


def test_a_finished_audit_is_read_and_not_made_again(found, monkeypatch):
    def never(*_):
        raise AssertionError("asked again")

    monkeypatch.setattr("voxplain.study.audit_cohort._seen", never)
    for name in ("check_sanity", "check_stability", "measured"):
        monkeypatch.setattr(audit_module, name, never)
    monkeypatch.setattr(audit_planted, "check", never)
    again = audited(found["middle"].folder.parent, "middle")
    assert again.to_table() == found["middle"].to_table()


def test_what_a_kill_cut_off_is_made_again(tmp_path, brief):
    first = audited(tmp_path, "middle", "gradient", count=5)
    lines = (first.folder / "audit" / "cases.jsonl").read_text().splitlines()
    (first.folder / "audit" / "cases.jsonl").write_text("\n".join([*lines[:3], lines[3][:50]]))
    (first.folder / "audit" / "wiping.json").unlink()
    assert audited(tmp_path, "middle", "gradient", count=5).to_table() == first.to_table()
    assert (first.folder / "audit" / "cases.jsonl").read_text().splitlines() == lines


def test_another_audit_in_the_same_folder_is_refused(found):
    with pytest.raises(InputError, match="holds another run"):
        audit(plan("middle"), cases(16), found["middle"].folder, quick=False)


def test_few_cases_and_missing_gradients_leave_checks_out(tmp_path):
    black_box = plan("middle", "occlusion(window=8, stride=8)", access=Access.CALLS)
    found = audit(black_box, cases(4), tmp_path / "out", quick=True)
    assert "at least 12 cases, got 4" in found.verdict("clusters").sentence
    assert "needs input gradient" in found.verdict("planted").sentence
    assert found.verdict("sanity").outcome != "not applicable"  # weights can be randomised without gradients
    assert found.verdict("disagreement").outcome == "not applicable"


def test_a_case_that_cannot_be_read_is_told_and_the_others_go_on(tmp_path, brief):
    three = cases(4)
    broken = Case("broken", three[0].image.with_values(np.full_like(three[0].image.values, np.nan)), label="plain")
    found = audit(plan("middle", "gradient"), [broken, *three], tmp_path / "out", quick=True)
    assert list(found.failed) == ["broken"]
    assert found.verdict("wiping").outcome == "ok"


def test_the_page_has_every_verdict_and_loads_nothing(found):
    html = unescape(page.write(found["corners"].folder).read_text())
    assert "default-src 'none'" in html
    assert "<script" not in html
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", html)
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall(r"<img[^>]*>", html))
    for one in found["corners"].verdicts:
        assert one.title in html
    assert html.index('id="all"') < html.index('id="advice"')


def films(marker, count, seed):
    phantom = Chest(side=64, noise=0.03, marker=marker)
    return [phantom.sample(number, seed) for number in range(count)]


def trained(samples, labels):
    """A small network that learnt 64-pixel films in seconds."""
    x = torch.stack([torch.from_numpy(one.image.values[0, ..., 0].T.copy()) for one in samples])[:, None].float() / 255
    y = torch.tensor(labels)
    with seeded(0):
        network = small_cnn_2d(width=8, depth=4, classes=2, channels=1)
        optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
        for _ in range(30):
            for batch in torch.randperm(len(x)).split(16):
                optimiser.zero_grad()
                nn.functional.cross_entropy(network(x[batch]), y[batch]).backward()
                optimiser.step()
    return network.eval()


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("marked", [False, True])
def test_chest_films_with_markers_are_found_out_and_clean_ones_left_in_peace(marked, tmp_path, brief):
    # Some films are filed under the other view, marker and all: else anatomy would be enough, and no marker used.
    marker, count = ((0.0, 1.0), 160) if marked else ((0.0, 0.0), 160)
    own, other = films(marker, count, 0), films(marker[::-1], count, 0)
    misfiled = (np.random.default_rng(0).random(count) < 0.3) & marked
    samples = [two if wrong else one for one, two, wrong in zip(own, other, misfiled, strict=True)]
    labels = [CLASSES.index(one.label) ^ int(wrong) for one, wrong in zip(samples, misfiled, strict=True)]
    asked = Plan(
        Model.of(trained(samples, labels), class_names=CLASSES),
        Prepare(scale=1 / 255),
        (None,),
        tuple(map(method, ("grad_cam", "lrp"))),
    )
    tested = [Case(one.identifier, one.image, label=one.label) for one in films(marker, 24, 9)]
    found = audit(asked, tested, tmp_path / "out", quick=True)
    verdicts = {one.check: one.outcome for one in found.verdicts}
    quiet = ("shortcut", "wiping", "corners", "border", "clusters")
    if not marked:
        assert {verdicts[name] for name in quiet} == {"ok"}
    else:
        assert {verdicts[name] for name in ("shortcut", "wiping", "corners", "clusters")} == {"fail"}
        assert found.verdict("wiping").of("corners").numbers["turned"] >= 10
