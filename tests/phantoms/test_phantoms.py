"""What holds for every phantom, and what each one shows."""

import numpy as np
import pytest

from voxplain.errors import OptionError
from voxplain.phantoms import PHANTOMS, phantom
from voxplain.phantoms.base import dealt
from voxplain.phantoms.glioma import NECROSIS, OEDEMA, RIM
from voxplain.phantoms.person import Person
from voxplain.spec import schema

SMALL = {
    "pumpkins": "pumpkins",
    "glioma": "glioma(size=[32, 32, 24])",
    "tumours": "tumours(side=96)",
    "muscle": "muscle",
    "chest": "chest(side=96)",
    "signals": "signals(kind='sequence')",
}


@pytest.fixture(scope="module", params=SMALL)
def name(request):
    return request.param


def test_the_same_seed_and_number_give_the_same_sample(name):
    first, again = (phantom(SMALL[name]).sample(4, 7) for _ in range(2))
    assert first.image.content_hash == again.image.content_hash
    assert first.mask.content_hash == again.mask.content_hash
    assert (first.label, first.group, first.truth) == (again.label, again.group, again.truth)


def test_another_number_gives_another_picture(name):
    first, other = (phantom(SMALL[name]).sample(n, 7) for n in (0, 1))
    assert first.image.content_hash != other.image.content_hash
    assert first.identifier != other.identifier


def test_masks_hold_labels_that_have_names(name):
    simulation = phantom(SMALL[name])
    labels = {label for n in range(4) for label in np.unique(simulation.sample(n, 0).mask.values)}
    assert labels <= set(range(len(simulation.mask_labels) + 1))
    assert len(labels) > 1


def test_voxels_are_finite_and_on_the_grid_of_the_mask(name):
    sample = phantom(SMALL[name]).sample(0, 0)
    assert np.isfinite(sample.image.values).all()
    assert sample.image.grid.same_as(sample.mask.grid)


def test_labels_come_in_equal_shares(name):
    simulation = phantom(SMALL[name])
    if simulation.labels:
        per_group = getattr(simulation, "slices", 1)
        labels = [simulation.sample(n * per_group, 1).label for n in range(2 * len(simulation.labels))]
        assert sorted(labels) == sorted(simulation.labels * 2)


@pytest.mark.parametrize("cls", PHANTOMS.values())
def test_every_option_has_a_line_of_help(cls):
    assert all(option["help"] for option in schema(cls))
    assert cls.title


def test_dealing_gives_equal_shares_in_another_order():
    turns = [[dealt(4, 4 * turn + place, 3) for place in range(4)] for turn in range(20)]
    assert all(sorted(turn) == [0, 1, 2, 3] for turn in turns)
    assert len(set(map(tuple, turns))) > 5


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("glioma(size=[300, 64, 64])", "size must be three numbers from 16 to 240, 240 and 155"),
        ("glioma(grade='middle')", "grade must be one of"),
        ("tumours(slices=0)", "slices must be at least 1, got 0"),
        ("tumours(side=8)", "side must be from 32"),
        ("muscle(severity=2.0)", "severity must be from 0.05 to 0.9"),
        ("chest(marker=[0.5, 1.5])", "marker must be two probabilities"),
        ("plant(radius=0.0)", "radius must be above 0"),
        ("plant(kind='blur', strength=-1.0)", "strength must be above 0 for a blur"),
        ("plant(share=[2.0])", "share must be probabilities"),
    ],
)
def test_wrong_options_are_told_in_a_sentence(spec, words):
    with pytest.raises(OptionError, match=words):
        phantom(spec)


def test_a_person_is_the_same_on_every_grid():
    from voxplain.phantoms.lesion import head_grid

    grid = head_grid((24, 28, 20), (8, 8, 8), orientation="LPS", tilt_degrees=(0, 0, 0), centre=(0, 0, 0))
    plane = grid.window((0, 0, 9), (24, 28, 1))
    person = Person.draw(np.random.default_rng(0))
    whole, slice_of = person.on(grid), person.on(plane)
    for tissue, share in slice_of.shares.items():
        assert np.allclose(share[..., 0], whole.shares[tissue][..., 9], atol=1e-4)


def test_tissues_share_every_voxel_whole():
    from voxplain.phantoms.lesion import head_grid

    grid = head_grid((24, 28, 20), (8, 8, 8), orientation="LPS", tilt_degrees=(0, 0, 0), centre=(0, 0, 0))
    tissues = Person.draw(np.random.default_rng(1)).on(grid)
    assert np.allclose(sum(tissues.shares.values()), 1, atol=1e-4)


def glioma(grade, number=0):
    return phantom(f"glioma(size=[48, 48, 40], grade='{grade}', noise=0.0, shading=0.0)").sample(number, 3)


def brightness(sample, channel, label):
    row = sample.image.channels.index(channel)
    return float(np.median(sample.image.values[row][sample.mask.values[0] == label]))


def test_a_rim_is_bright_after_contrast_agent_alone():
    sample = glioma("high")
    assert brightness(sample, "t1ce", RIM) > 1.6 * brightness(sample, "t1", RIM)
    assert brightness(sample, "t1ce", RIM) > 1.6 * brightness(sample, "t1ce", OEDEMA)
    assert brightness(sample, "t1ce", NECROSIS) < 0.7 * brightness(sample, "t1ce", RIM)


def test_oedema_is_bright_in_flair_and_dark_in_t1():
    sample = glioma("high")
    row, healthy = sample.image.channels.index("flair"), sample.mask.values[0] == 0
    brain = np.percentile(sample.image.values[row][healthy], 95)
    assert brightness(sample, "flair", OEDEMA) > 1.2 * brain
    assert brightness(sample, "t1", OEDEMA) < 0.6 * brightness(sample, "flair", OEDEMA)


@pytest.mark.parametrize(("grade", "label", "rim"), [("high", "HGG", True), ("low", "LGG", False)])
def test_the_grade_decides_about_the_rim(grade, label, rim):
    sample = glioma(grade, 1)
    assert sample.label == label
    assert bool((sample.mask.values == RIM).any()) == rim
    assert (sample.truth["rim_mm3"] > 0) == rim


def test_volumes_of_a_glioma_are_those_of_its_mask():
    sample = glioma("high")
    for label, column in ((NECROSIS, "necrosis_mm3"), (OEDEMA, "oedema_mm3"), (RIM, "rim_mm3")):
        counted = (sample.mask.values == label).sum() * sample.mask.grid.voxel_volume
        assert sample.truth[column] == pytest.approx(counted, abs=0.06)


def test_a_glioma_of_any_size_covers_the_same_field():
    sample = phantom("glioma(size=[40, 20, 31])").sample(0, 0)
    extent = np.array(sample.image.grid.shape) * sample.image.grid.spacing
    assert extent == pytest.approx([240, 240, 155])
    assert sample.image.grid.orientation == "LPS"


def test_slices_of_a_patient_show_one_tumour_in_three_planes():
    samples = [phantom("tumours(side=64)").sample(n, 2) for n in range(3)]
    assert len({sample.group for sample in samples}) == len({sample.label for sample in samples}) == 1
    assert {sample.truth["plane"] for sample in samples} == {"axial", "coronal", "sagittal"}
    assert len({sample.truth["radius_mm"] for sample in samples}) == 1


def test_pictures_show_the_plane_that_the_table_names():
    """A neck leaves an upright picture below; from the front a head is its own mirror image, from the side not."""
    for number in range(18):
        sample = phantom("tumours(side=96, noise=0.0)").sample(number, 1)
        seen, plane = sample.image.values[0, :, :, 0] / 255, sample.truth["plane"]
        assert (seen[:, -3:].mean() > 0.08) == (plane != "axial")
        symmetry = np.corrcoef(seen.ravel(), seen[::-1].ravel())[0, 1]
        assert (symmetry < 0.65) == (plane == "sagittal")


def test_every_slice_shows_its_tumour():
    samples = [phantom("tumours(side=96)").sample(n, 4) for n in range(27)]
    assert min(sample.truth["tumour_fraction"] for sample in samples) > 0.0005


def test_tumours_of_surface_and_sella_are_brighter_than_the_brain():
    for number in range(0, 27, 3):
        sample = phantom("tumours(side=96, noise=0.0)").sample(number, 4)
        inside = sample.mask.values > 0
        if sample.label != "glioma":
            assert np.median(sample.image.values[inside]) > 1.2 * np.percentile(sample.image.values, 80)


def test_affected_muscles_hold_more_fat():
    samples = [phantom("muscle").sample(4 * n, 5) for n in range(4)]
    fat = {label: [s.truth["fat_share"] for s in samples if s.label == label] for label in ("healthy", "affected")}
    assert max(fat["healthy"]) < 0.05 < min(fat["affected"])
    bright = {s.label: s.image.values[s.mask.values == 2].mean() for s in samples if s.label == "affected"}
    healthy = np.mean([s.image.values[s.mask.values == 1].mean() for s in samples])
    assert bright["affected"] > 1.2 * healthy
    assert all((s.mask.values == 2).any() == (s.label == "affected") for s in samples)


def test_tiles_of_legs_fit_the_study_and_have_no_background():
    sample = phantom("muscle").sample(0, 0)
    columns, rows, _ = sample.image.grid.shape
    assert max(columns, rows) <= 224
    values = sample.image.values[0, :, :, 0]
    assert all(edge.any() for edge in (values[0], values[-1], values[:, 0], values[:, -1]))
    assert not sample.mask.values[sample.image.values == 0].any()


def test_square_tiles_are_the_same_leg_in_black():
    plain, square = (phantom(spec).sample(0, 0).image.values for spec in ("muscle", "muscle(square=True)"))
    assert square.shape == (1, 224, 224, 1)
    assert square.sum() == plain.sum()


def test_both_legs_lie_side_by_side():
    one, both = (phantom(f"muscle(legs='{legs}')").sample(0, 0).image.grid.shape for legs in ("one", "both"))
    assert both[0] > 1.5 * both[1]
    assert one[0] < 1.5 * one[1]


def test_a_marker_changes_its_own_pixels_and_nothing_else():
    without, marked = (phantom(f"chest(marker=[{p}, {p}])").sample(0, 1) for p in (0.0, 1.0))
    changed = without.image.values != marked.image.values
    assert changed.any()
    assert (changed == (marked.mask.values == 3)).all()
    assert (without.truth["marker"], marked.truth["marker"]) == (0, 1)
    _, columns, rows, _ = np.nonzero(changed)
    assert (rows.min(), columns.min()) == (marked.truth["marker_row"], marked.truth["marker_column"])


def test_a_marker_can_be_for_one_view_alone():
    samples = [phantom("chest(side=64, marker=[1.0, 0.0])").sample(n, 1) for n in range(8)]
    assert all(sample.truth["marker"] == (sample.label == "pa") for sample in samples)


def test_lungs_are_darker_than_heart_and_belly():
    for number in range(2):
        sample = phantom("chest").sample(number, 1)
        lung, heart = (np.median(sample.image.values[sample.mask.values == label]) for label in (1, 2))
        assert lung < 0.75 * heart
