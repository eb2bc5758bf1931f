"""The page of a benchmark: what it tells, and that it loads and runs nothing."""

import json

import pytest

from tests.report.parsed import Parsed
from tests.study.benchmarked import network
from voxplain.errors import FileError
from voxplain.report.benchmark import write
from voxplain.report.benchmark_figures import MOST_RANKED, draw_ranks
from voxplain.study import benchmark as benchmark_module
from voxplain.study.benchmark import benchmark
from voxplain.study.benchmark_words import board_words

METHODS = ("gradient", "input_x_gradient", "attention_rollout")


@pytest.fixture(scope="module", autouse=True)
def _untrained():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(benchmark_module, "SWAPPED", 3)
        patch.setattr(benchmark_module, "trained", lambda task, seed, out: network(task.name, seed))
        yield


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A finished benchmark of one phantom, in a folder named like markup."""
    out = tmp_path_factory.mktemp("board") / "a&b;"
    benchmark(out, methods=METHODS, phantoms=["shortcut"], seeds=2, heads=2)
    return out


def test_the_page_tells_all_and_loads_nothing(board):
    page = Parsed(write(board))
    assert page.unclosed == []
    told = "research use only", "leaderboard", "stable", "published finding", "swap test", "does not say", "95 %"
    assert all(words in page.text.lower() for words in told)
    assert "attention_rollout cannot explain shortcut" in page.text
    assert "shortcut, seed 1" in page.text
    assert "a&b;" in page.text
    assert all(str(one["src"]).startswith("data:image/png") and one["alt"] for one in page.all("img"))
    assert len(page.all("img")) == 5
    assert all(str(one["href"]).startswith("#") for one in page.all("a"))
    assert page.all("script") == []


def test_a_method_named_like_markup_stays_text(board):
    result = json.loads((board / "leaderboard.json").read_text())
    result["standings"][1]["method"] = "<script>x</script>"
    odd = board.parent / "odd"
    odd.mkdir()
    (odd / "leaderboard.json").write_text(json.dumps(result))
    page = Parsed(write(odd))
    assert page.all("script") == []
    assert "<script>x</script>" in page.text


def test_ranks_of_too_many_methods_are_told_without_their_line(board):
    result = json.loads((board / "leaderboard.json").read_text())
    assert draw_ranks(result) is not None
    result["ranking"]["mean_ranks"] = {f"method {n}": n + 1.0 for n in range(MOST_RANKED + 1)}
    assert draw_ranks(result) is None


def test_a_folder_without_a_leaderboard_is_told(tmp_path):
    with pytest.raises(FileError, match="voxplain benchmark"):
        write(tmp_path)


def test_words_and_page_do_without_any_network_that_passed(tmp_path):
    result = benchmark(tmp_path, methods=METHODS[:2], phantoms=["focal"], seeds=1, heads=2).result
    assert result["ranked_phantoms"] == []
    assert any("not ranked" in line for line in board_words(result))
    assert "No method is ranked" in Parsed(write(tmp_path)).text
