"""File names of the studies' pictures."""

import pytest

from voxplain.errors import InputError
from voxplain.report.figures_names import file_name


def test_names_follow_the_sources_pattern():
    name = file_name("BraTS2021_01092", "output_layer", "2", "FLAIR", "GCAM")
    assert name == "BraTS2021_01092_output_layer_2_FLAIR_GCAM.png"


def test_the_layer_is_empty_in_classification_and_the_modality_left_out():
    assert file_name("BAX_1_51", class_name="1", method="gcam_overlay") == "BAX_1_51__1_gcam_overlay.png"


def test_the_whole_tumour_is_all():
    assert file_name("a", "l", "all", method="pred") == "a_l_all_pred.png"


@pytest.mark.parametrize("part", ["../../etc/passwd", "a/b", "C:\\x", "ü b", "a\nb"])
def test_parts_hold_safe_characters_only(part):
    name = file_name(part, part, part, part, part)
    assert set(name) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-")
    assert not name.startswith(".")


def test_different_names_stay_apart():
    assert file_name("a b", method="m") != file_name("a/b", method="m")


@pytest.mark.parametrize("parts", [{"case": "", "method": "m"}, {"case": "a"}])
def test_case_and_method_must_be_named(parts):
    with pytest.raises(InputError, match="must be named"):
        file_name(**parts)
