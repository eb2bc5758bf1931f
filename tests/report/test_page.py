"""The page of a run folder: complete, closed, escaped, honest about what is missing."""

import base64
import hashlib
import itertools
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.report.made import attribution, blob, failed, one_map, picture, provenance, volume
from tests.report.parsed import Parsed
from voxplain.data.certificate import MODEL, Certificate, Check
from voxplain.report.page import write
from voxplain.types import Quantity

EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def without_scripts(page: Path) -> str:
    return re.sub(r"<script.*?</script>", "", page.read_text(), flags=re.DOTALL)


def test_the_page_is_written_where_the_design_says(run):
    one_map(run)
    assert write(run.folder) == run.folder / "report" / "index.html"


def test_the_figure_is_kept_beside_the_page_in_full(run):
    one_map(run)
    write(run.folder)
    assert [path.name for path in (run.folder / "figures").iterdir()] == ["c1-net-class_score-1-occlusion.png"]


def test_the_same_folder_gives_the_same_page(run):
    one_map(run)
    assert write(run.folder).read_bytes() == write(run.folder).read_bytes()


def test_the_page_says_what_was_asked_what_came_out_and_how(run):
    one_map(run, share_in_mask=0.423, mask_share=0.031)
    text = Parsed(write(run.folder)).text
    for words in (
        "my run", "case b", "glioma (0.88)", "0.875", "0.125", "occlusion(window=4)", "score of class 1 (glioma)",
        "score units that add up", "logits", "raw range", "42.3 %", "3.1 %", "40 × 30 pixels", "8-bit grey", "2.15.0",
        "ab" * 32, "1.25 s, 34 forward passes", 'source = "small_cnn"', "Research use only, not a diagnosis.",
        "maps/c1/net/class_score-1/occlusion.nii.gz", "How to read the colours",
    ):  # fmt: skip
        assert words in text


def test_the_page_loads_nothing_and_runs_nothing(run):
    one_map(run)
    page = Parsed(write(run.folder))
    policy = next(meta for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy["content"].startswith("default-src 'none'; script-src 'sha256-")
    assert "'unsafe-inline'" not in policy["content"].split("script-src")[1].split(";")[0]
    assert "http" not in policy["content"]
    addresses = [value for _, attributes in page.tags for key, value in attributes.items() if key in ("src", "href")]
    assert addresses
    assert all(address.startswith(("data:image/", "#")) for address in addresses)
    assert not {"link", "iframe", "object", "form"} & {tag for tag, _ in page.tags}
    assert not any("src" in script for script in page.all("script"))
    written = without_scripts(run.folder / "report" / "index.html")
    assert "://" not in written
    assert {place[:2] for place in re.findall(r"url\((.*?)\)", written)} <= {"#c"}
    assert "@import" not in written


def test_only_scripts_that_the_policy_names_may_run(run):
    one_map(run)
    html = write(run.folder).read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)
    runnable = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    assert runnable
    for script in runnable:
        digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
        assert f"sha256-{digest}" in policy.replace("&#43;", "+")


def test_every_anchor_leads_somewhere_once(run):
    one_map(run)
    page = Parsed(write(run.folder))
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    assert {attributes["href"][1:] for attributes in page.all("a")} <= set(names)
    assert {attributes["aria-labelledby"] for _, attributes in page.tags if "aria-labelledby" in attributes} <= set(
        names
    )


def test_every_element_is_closed(run):
    one_map(run, share_in_mask=0.5, mask_share=0.1)
    page = Parsed(write(run.folder))
    assert page.unclosed == []
    assert page.open == []


def test_pictures_have_words_for_those_who_cannot_see_them(run):
    one_map(run)
    (picture_of_map,) = Parsed(write(run.folder)).all("svg")
    assert picture_of_map["role"] == "img"
    told = picture_of_map["aria-label"]
    assert told.startswith("occlusion(window=4) for score of class 1 (glioma), laid over the image.")
    assert "raw range" in told


def test_equal_pixels_are_held_once(run):
    image = picture()
    run.case(image)
    for name in ("occlusion", "gradient"):
        values = blob(image.grid.shape, (5, 5 if name == "gradient" else 20, 0))
        run.map(attribution(image, values, method=name), image, name)
    page = Parsed(write(run.folder))
    held = [tag["href"] for tag in page.all("image")]
    assert len(held) == len(set(held)) == 3  # the image, and each map over it; small pictures use them again
    assert len(page.all("use")) == 4


def test_headings_never_skip_a_level(run):
    one_map(run)
    levels = [int(tag[1]) for tag, _ in Parsed(write(run.folder)).tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_markup_in_names_does_nothing(run):
    image = picture(identifier=EVIL, channels=(EVIL,), unit=EVIL)
    prediction = {"class_names": [EVIL, "b"], "probabilities": [0.5, 0.5], "predicted": 0, "words": EVIL}
    run.case(image, label=EVIL, split=EVIL, notices=[EVIL], prediction=prediction)
    words = {"method": EVIL, "target_words": EVIL, "unit": EVIL, "layer": EVIL, "notes": (EVIL,), "channels": (EVIL,)}
    found = attribution(image, None, Quantity.RELEVANCE, certificate=failed(EVIL), numbers={EVIL: EVIL}, **words)
    run.map(replace(found, provenance=provenance(EVIL)), image)
    run.row(case=EVIL, method=EVIL, target=EVIL, model=EVIL, map=None, status="failed", error=EVIL)
    (run.folder / "plan.toml").write_text(EVIL)
    page = Parsed(write(run.folder))
    assert {script.get("type", "") for script in page.all("script")} == {"", "application/json", "text/plain"}
    assert len([script for script in page.all("script") if "type" not in script]) == 1
    assert not page.all("img")
    assert not any(key.startswith("on") for _, attributes in page.tags for key in attributes)
    assert page.text.count("<script>alert(1)</script>") > 10
    assert page.unclosed == []


def test_markup_in_metrics_and_missing_things_does_nothing(run):
    one_map(run)
    rows = [{"metric": EVIL, "method": EVIL, "target": EVIL, "reason": EVIL}, {"metric": EVIL, "case": "case b"}]
    (run.folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.row(case=EVIL, method=EVIL, target=EVIL, map=EVIL)
    page = Parsed(write(run.folder))
    assert len([script for script in page.all("script") if "type" not in script]) == 1
    assert not page.all("img")
    assert page.text.count(EVIL) > 4


def test_markup_in_names_does_nothing_in_the_json_either(run):
    image = picture(identifier=EVIL)
    run.case(image, label=EVIL)
    run.map(attribution(image, target_words=EVIL), image)
    write(run.folder)
    assert json.loads((run.folder / "report" / "report.json").read_text())["cases"][0]["id"] == EVIL


def test_a_failed_check_is_said_on_top_and_at_the_map(run):
    image = picture()
    run.case(image)
    run.map(attribution(image, certificate=failed()), image)
    text = Parsed(write(run.folder)).text
    assert text.index("Check failed") < text.index("Overview") < text.index("Do not rely on this map.")
    assert text.count("completeness: the sum misses the score by 40 %") == 2
    assert "1 of 1 maps failed a check: occlusion(window=4) (completeness). Do not rely on them." in text
    assert "Conclude nothing from occlusion(window=4): a check failed." in text


def test_what_was_noticed_about_the_model_is_said_on_top_once(run):
    image, words = picture(), "no --weights were given, so the network's weights are random"
    run.case(image)
    noticed = Certificate((Check("finite", "passed", "all values are finite"), Check(MODEL, "noted", words)))
    for name in ("one", "two"):
        run.map(attribution(image, certificate=noticed), image, name)
    text = Parsed(write(run.folder)).text
    warnings = text[text.index("Warnings") : text.index("Overview")]
    assert warnings.count(f"Model {words}") == 1
    assert "all values are finite" not in warnings


def test_checks_of_a_failed_map_lie_open(run):
    image = picture()
    run.case(image)
    run.map(attribution(image, certificate=failed()), image)
    assert "open" in Parsed(write(run.folder)).all("details")[0]


def test_a_failed_row_is_said_with_its_reason(run):
    one_map(run)
    run.row(case="case z", method="", target="", map=None, status="failed", error="'z.png' must hold finite voxels")
    text = Parsed(write(run.folder)).text
    assert "2 cases, 1 map, 1 without a map" in text
    assert text.index("'z.png' must hold finite voxels") < text.index("Overview")


def test_notices_that_many_cases_share_are_told_once_on_top(run):
    for name in ("a", "b", "c"):
        run.case(picture(identifier=name), name, notices=["no pixel size in the file"])
    text = Parsed(write(run.folder)).text
    assert "a and 2 more cases no pixel size in the file" in text


def test_a_run_without_trouble_has_no_warnings(run):
    one_map(run)
    assert "Warnings" not in Parsed(write(run.folder)).text


def test_the_group_of_a_case_is_not_on_the_page(run):
    one_map(run)
    assert "4711" not in write(run.folder).read_text()


def test_the_share_in_the_mask_stands_beside_its_chance(run):
    one_map(run, share_in_mask=0.423, mask_share=0.031)
    text = Parsed(write(run.folder)).text
    assert "42.3 % of the map's positive values lie inside the mask, which covers 3.1 % of the image" in text


def test_the_share_of_a_derivative_counts_values_by_size(run):
    image = picture()
    run.case(image)
    run.map(attribution(image, evidence="absolute"), image, share_in_mask=0.5, mask_share=0.1)
    assert "50.0 % of the map's absolute values lie inside the mask" in Parsed(write(run.folder)).text


def test_the_mask_of_a_case_is_outlined_in_its_pictures(run):
    image = picture()
    run.case(image, mask=image.with_values(image.values > 100))
    run.map(attribution(image), image)
    assert "White line: rim of the mask." in Parsed(write(run.folder)).text


def test_provenance_that_all_maps_share_is_told_once(run):
    image = picture()
    run.case(image)
    for name in ("occlusion", "gradient"):
        run.map(attribution(image, method=name, provenance=provenance(name)), image, name)
    assert write(run.folder).read_text().count("ab" * 32) == 1


def test_a_volume_keeps_its_orientation_and_channel_names(run):
    image = volume(channels=("FLAIR",), unit="a.u.")
    run.case(image)
    run.map(attribution(image), image)
    text = Parsed(write(run.folder)).text
    assert "RAS" in text
    assert "channel FLAIR" in text
    assert "Radiological convention" in text


def test_a_picture_without_pixel_size_gets_no_letters_after_its_way_through_a_file(run):
    one_map(run)
    text = Parsed(write(run.folder)).text
    assert "The file does not say which side" in text
    assert "Orientation" not in text
    assert "mm" not in text[text.index("Where each map is strongest") : text.index("Places are told")]


def test_a_thousand_classes_show_the_likeliest_and_count_the_rest(run):
    chances = np.full(1000, 1e-4)
    chances[[7, 900]] = 0.6, 0.3
    prediction = {"class_names": [f"n{k}" for k in range(1000)], "probabilities": chances.tolist(), "predicted": 7}
    run.case(picture(), prediction=prediction)
    text = Parsed(write(run.folder)).text
    assert "n7 0.600 n900 0.300" in text
    assert "992 less likely classes" in text
    assert "report.json has them all" in text


def test_a_class_without_a_number_does_not_shift_the_names(run):
    run.case(
        picture(), prediction={"class_names": ["a", "b", "c"], "probabilities": [0.25, None, 0.75], "predicted": 2}
    )
    assert "a 0.250 c 0.750" in Parsed(write(run.folder)).text
