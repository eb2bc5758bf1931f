"""`voxplain evaluate` and `voxplain compare` as typed: one JSON, sentences, exit codes, pages that load nothing."""

import csv
import json
import re
from html import unescape

import numpy as np
import pytest
from PIL import Image as Pillow
from safetensors.torch import save_file

from tests.nets import seeded
from voxplain.cli.main import main
from voxplain.report import comparison, evaluation
from voxplain.score.networks_small import small_cnn_2d
from voxplain.study.default_metrics import DEFAULT

NETWORK = "voxplain.score.networks:small_cnn_2d(width=4, depth=2, classes=2, channels=1)"
SIDE = 24
PAGES = {"evaluate": evaluation.write, "compare": comparison.write}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Four images of two patients with masks, and weights."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    rows = []
    for number in range(4):
        pixels = rng.integers(20, 90, (SIDE, SIDE))
        mask = np.zeros((SIDE, SIDE), dtype=np.uint8)
        mask[6 + number : 14 + number, 8:15] = 255
        pixels[mask > 0] += 120
        for name, values in (("image", pixels), ("mask", mask)):
            Pillow.fromarray(values.astype(np.uint8)).save(folder / f"{name}{number}.png")
        rows.append([f"c{number}", f"image{number}.png", f"mask{number}.png", str(number % 2), f"p{number // 2}"])
    with (folder / "cases.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["id", "image", "mask", "label", "group"], *rows])
    network = seeded(small_cnn_2d, width=4, depth=2, classes=2, channels=1).float()
    save_file({name: one.contiguous() for name, one in network.state_dict().items()}, folder / "w.safetensors")
    return folder


def asked(table, out, *more):
    methods = [part for name in ("gradient", "input_x_gradient", "grad_cam") for part in ("--method", name)]
    weights, cases = str(table / "w.safetensors"), str(table / "cases.csv")
    return ["evaluate", "--model", NETWORK, "--weights", weights, "--zscore", "--cases", cases, *methods,
            "--out", str(out), *more]  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _without_pages():
    """Pages take longer than all the rest: only tests about them write them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("page", "evaluation", "comparison"):
            patch.setattr(
                f"voxplain.report.{name}.write", lambda folder, *more, **options: folder / "report" / "x.html"
            )
        yield


@pytest.fixture(scope="module")
def pages(done):
    """The two pages of a run, as HTML."""
    main(["compare", str(done)])
    written = PAGES["evaluate"](done), PAGES["compare"](done, cases=1)
    return dict(zip(PAGES, (unescape(one.read_text()) for one in written), strict=True))


@pytest.fixture(scope="module")
def done(table, tmp_path_factory):
    out = tmp_path_factory.mktemp("done") / "run"
    metrics = ("relevance_mass", "sparseness", "deletion(steps=3)", "insertion(steps=3)")
    code = main(asked(table, out, *(part for name in metrics for part in ("--metric", name))))
    assert code == 0
    return out


def test_json_is_one_document_and_nothing_else(table, done, capsys):
    assert main(["evaluate", str(done), "--metric", "sparseness", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["failed"] == 0
    assert {group["metric"] for group in told["summary"]["groups"]} >= {"sparseness", "deletion(steps=3)"}


def test_a_text_never_shows_a_bare_mean(done, capsys):
    main(["evaluate", str(done), "--metric", "sparseness"])
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if re.match(r"  \S+.*  [-\d]", line) and "tau" not in line]
    assert len(lines) > 20
    assert all(re.search(r"\(.* to .*\)|no interval", line) for line in lines)
    assert "random_map *" in out


@pytest.mark.parametrize("command", ["evaluate", "compare"])
def test_pages_load_nothing_and_tell_what_pictures_show(command, pages):
    html = pages[command]
    assert "default-src 'none'" in html
    assert "<script" not in html
    assert not re.search(r"""(src|href)=["'](?!data:|#|index\.html)""", html)
    assert all(re.search(r'alt="[^"]+"', image) for image in re.findall(r"<img[^>]*>", html))
    assert html.count("<h1>") == 1


def test_the_page_of_an_evaluation_has_every_metric_with_controls_and_figures(done, pages):
    for words in ("Relevance mass accuracy", "Deletion", "random_map (control)", "order the methods", "95 % interval"):
        assert words in pages["evaluate"]
    assert pages["evaluate"].count("data:image/png") >= 8
    assert list((done / "figures" / "evaluation").glob("deletion*curve*.png"))


def test_the_page_of_a_comparison_has_matrices_and_maps_side_by_side(done, pages):
    assert "gradient and grad_cam: Spearman" in pages["compare"]
    names = {file.name for file in (done / "figures" / "comparison").glob("*.png")}
    assert {f"methods-class_score-{measure}.png" for measure in ("spearman", "ssim", "top_overlap")} <= names
    assert "methods-c0-class_score.png" in names


def test_a_case_named_like_markup_stays_text(table, tmp_path):
    rows = (table / "cases.csv").read_text().replace("c0,", "c0&b;,")
    (table / "odd.csv").write_text(rows)
    command = asked(table, tmp_path / "run", "--metric", "sparseness")
    command[command.index(str(table / "cases.csv"))] = str(table / "odd.csv")
    assert main(command) == 0
    assert main(["compare", str(tmp_path / "run")]) == 0
    assert "c0&amp;b;" in PAGES["compare"](tmp_path / "run", cases=1).read_text()


def test_without_model_only_maps_are_looked_at(done, capsys):
    assert main(["evaluate", str(done)]) == 0
    assert "must ask the model; pass --model" in capsys.readouterr().err
    assert main(["evaluate", str(done), "--metric", "infidelity"]) == 2
    assert "infidelity must ask the model" in capsys.readouterr().err


def test_with_the_model_a_run_folder_needs_no_other_option(table, done, capsys):
    model = ["--model", NETWORK, "--weights", str(table / "w.safetensors")]
    assert main(["evaluate", str(done), *model, "--metric", "completeness"]) == 0
    assert "completeness" in capsys.readouterr().out
    assert main(["evaluate", str(done), "--model", NETWORK, "--metric", "completeness"]) == 2
    assert "weights must be those of the run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--metric", "deletoin"], "unknown metric 'deletoin'; did you mean 'deletion'"),
        (["--metric", "repeatability"], "repeatability compares with another model; pass --second-model"),
        (["--method", "gradient"], "--method is what the run folder says itself; leave it out"),
        (["--zscore"], "--zscore is what the run folder says itself; leave it out"),
        (["--second-weights", "a.safetensors"], "--second-weights must be one for each --second-model (0), got 1"),
    ],
)
def test_what_a_user_can_put_right_is_one_sentence(done, options, sentence, capsys):
    assert main(["evaluate", str(done), *options]) == 2
    err = capsys.readouterr().err
    assert sentence in err
    assert err.count("\n") == 1


def test_neither_folder_nor_model_is_a_sentence(tmp_path, capsys):
    assert main(["evaluate"]) == 2
    assert "evaluate needs a run folder, or --model, --out" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path)]) == 2
    assert "must be a run folder" in capsys.readouterr().err


def test_a_case_that_fails_ends_with_3_and_its_reason(table, tmp_path, capsys):
    Pillow.fromarray(np.full((SIDE, SIDE), 7, dtype=np.uint8)).save(table / "flat.png")
    file = table / "flat.csv"
    file.write_text("id,image,group\nc0,image0.png,a\nflat,flat.png,b\n")
    command = asked(table, tmp_path / "run", "--metric", "sparseness", "--json")
    command[command.index(str(table / "cases.csv"))] = str(file)
    assert main(command) == 3
    told = json.loads(capsys.readouterr().out)
    group = next(one for one in told["summary"]["groups"] if one["metric"] == "sparseness" and one["target"] == "")
    assert "must not be constant" in str(group["means"][0]["reasons"])


def test_a_second_model_is_read_with_its_weights(table, done, capsys):
    model = ["--model", NETWORK, "--weights", str(table / "w.safetensors")]
    second = ["--second-model", NETWORK, "--second-weights", str(table / "w.safetensors")]
    assert main(["evaluate", str(done), *model, *second, "--metric", "repeatability", "--json"]) == 0
    groups = json.loads(capsys.readouterr().out)["summary"]["groups"]
    means = next(one for one in groups if one["metric"] == "repeatability")["means"]
    assert next(one["value"] for one in means if one["method"] == "gradient") == pytest.approx(1.0)


def test_compare_tells_pairs_and_writes_its_rows(done, capsys):
    assert main(["compare", str(done), "--cases-shown", "1"]) == 0
    out = capsys.readouterr().out
    assert "gradient and grad_cam: Spearman" in out
    assert (done / "comparison.csv").exists()
    assert main(["compare", str(done), "--against", str(done)]) == 2
    assert main(["compare", str(done), "--cases-shown", "-1"]) == 2


def test_default_metrics_stand_in_the_help(capsys):
    with pytest.raises(SystemExit):
        main(["evaluate", "--help"])
    out = " ".join(capsys.readouterr().out.split())
    assert all(name in out for name in DEFAULT)
