"""Pages of several comparisons of one run, and the run's own page that names them all."""

from dataclasses import replace

import pytest

from tests.report.parsed import Parsed
from tests.study.evaluated import cases, model, plan
from voxplain.report import comparison, page
from voxplain.study.compare import compare
from voxplain.study.run import run


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A run, and runs of two other models over its case, all compared."""
    out = tmp_path_factory.mktemp("compared")
    for seed, name in enumerate(("own", "weak", "odd & old")):
        run(replace(plan("gradient", "input_x_gradient"), model=model(seed=seed)), cases(1), out / name)
    for other in (None, out / "weak", out / "odd & old"):
        compare(out / "own", other)
        comparison.write(out / "own", other)
    return out


def test_every_comparison_has_a_page_and_figures_of_its_own(folders):
    pages = [file.stem for file in (folders / "own" / "report").glob("comparison*.html")]
    assert {"comparison", "comparison-weak"} < set(pages)
    assert len(pages) == 3
    assert {file.name for file in (folders / "own" / "figures").iterdir()} >= set(pages)
    weak = Parsed(folders / "own" / "report" / "comparison-weak.html")
    assert "(weak)" in weak.text
    assert "comparison-weak.csv" in weak.text
    assert "(weak)" not in Parsed(folders / "own" / "report" / "comparison.html").text


def test_the_runs_own_page_names_all_comparisons(folders):
    written = Parsed(page.write(folders / "own"))
    links = [one["href"] for one in written.all("a") if str(one.get("href", "")).startswith("comparison")]
    assert links == sorted(file.name for file in (folders / "own" / "report").glob("comparison*.html"))
    assert "Maps held against each other, and against weak" in written.text
