"""The benchmark's runner on a toy row: who is measured, compared and counted, and how the table says it."""

import importlib.util
import itertools
import json
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from bench import catalogue, measure, results, run, table
from bench.contest import Contest, Rival, Row, gap, same
from bench.floor import Layout, folded, layouts
from bench.growing import Growth
from bench.networks import settled
from bench.occluding import bare, places_in

CPU = torch.device("cpu")


def network() -> nn.Module:
    torch.manual_seed(0)
    parts = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(1)
    return settled(nn.Sequential(*parts, nn.Linear(4, 3)), (2, 8, 8))


def toy(device: torch.device) -> Contest:
    module, x = network().to(device), torch.rand(3, 2, 8, 8, device=device)
    forward = lambda: module(x[:1])  # noqa: E731
    slow = lambda pause: lambda: (time.sleep(pause), module(x))[1]  # noqa: E731

    def broken(setting):
        raise ValueError("no such thing\nand more")

    def breaks():
        raise ZeroDivisionError

    return Contest(
        ours=lambda: module(x),
        forward=forward,
        peers={
            "Peer": Rival(make=slow, settings=(0.05, 0.01), knob="pause", package="torch", compared=same),
            "Absent": Rival(make=slow, package="no_such_package_at_all", compared=same),
            "Broken": Rival(make=broken, compared=same),
            "Breaking": Rival(make=lambda _: breaks, compared=same),
            "Other": Rival(make=lambda _: lambda: 3 * module(x), compared=same, differs="triples what it finds"),
        },
        floor=Rival(
            make=lambda layout: lambda: torch.cat([folded(module, device, layout)(part) for part in layout.chunks(x)]),
            settings=layouts(3),
            compared=same,
        ),
    )


ROW = Row(
    name="toy", work="Toy", network="small", size="3 x 2 x 8 x 8", build=toy, repeats=2, part="3 of 9", goal="2 x Peer"
)


@pytest.fixture(scope="module")
def record():
    return results.measured(ROW, CPU)


def test_everyone_there_is_timed_as_often_as_asked(record):
    runs = record["runs"]
    assert {name for name, entry in runs.items() if "seconds" in entry} == {"Voxplain", "Peer", "Other", "floor"}
    assert all(len(entry["seconds"]) == 2 for entry in runs.values() if "seconds" in entry)
    assert results.measured(ROW, CPU, repeats=1)["runs"]["Peer"]["seconds"][1:] == []


def test_a_peer_runs_at_its_best_setting(record):
    assert record["runs"]["Peer"]["setting"] == "pause=0.01"
    assert 0.01 <= min(record["runs"]["Peer"]["seconds"]) < 0.05


def test_a_missing_and_a_failing_peer_say_so_in_their_cells(record):
    assert record["runs"]["Absent"]["missing"] == "not installed"
    assert record["runs"]["Broken"]["missing"] == "fails: no such thing"
    assert record["runs"]["Breaking"]["missing"] == "fails: ZeroDivisionError"
    assert "Absent not installed<br>Broken fails: no such thing" in table.line(record)


def test_forwards_are_multiples_of_one_forward_of_one_sample(record):
    assert record["runs"]["Voxplain"]["forwards"] == pytest.approx(3)


def test_results_are_held_against_ours(record):
    assert record["runs"]["Peer"]["gap"] == 0
    assert record["runs"]["Other"]["gap"] == pytest.approx(2 / 3)
    assert record["runs"]["floor"]["gap"] < 1e-5


def test_only_a_peer_with_our_result_counts_in_the_ratio(record):
    assert table.fastest_peer(record["runs"]) == "Peer"
    alike = {**record["runs"], "Other": {**record["runs"]["Other"], "alike": True}}
    assert table.fastest_peer(alike) == "Other"


def test_ratios_are_of_medians():
    runs = {"Voxplain": {"seconds": [2.0, 9.0, 1.0]}, "Peer": {"seconds": [8.0, 6.0, 1.0], "gap": 0.0, "alike": False}}
    words = {"work": "w", "part": "", "network": "n", "size": "s", "load": None, "threads": 2}
    cells = table.line({**words, "runs": {**runs, "floor": {"seconds": [1.0]}}}).split(" | ")
    assert cells[2:7] == ["2", "Peer 6", "1", "3.00", "2.00"]


def test_a_line_has_a_cell_for_every_column(record):
    assert table.line(record).count(" | ") == len(table.COLUMNS) - 1
    assert "Toy (3 of 9)" in table.line(record)


def test_maps_of_other_shapes_or_blank_ones_are_not_compared():
    with pytest.raises(ValueError, match="cannot be compared"):
        gap(torch.ones(2), torch.ones(3), same)
    with pytest.raises(ValueError, match="blank"):
        gap(torch.zeros(2), torch.zeros(2), same)
    assert gap(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 4.0]), same) == 0.25


def test_contestants_take_turns_in_rotating_order():
    order = []
    runs = {name: lambda name=name: order.append(name) for name in "abc"}
    measure.interleaved(runs, 3, CPU)
    assert "".join(order) == "abcbcacab"


def test_the_fastest_setting_is_found_and_failing_ones_drop_out():
    def fail():
        raise RuntimeError("too large")

    runs = {"slow": lambda: time.sleep(0.02), "fast": lambda: None, "broken": fail}
    assert measure.fastest(runs, CPU) == "fast"
    with pytest.raises(RuntimeError, match="no setting works: too large"):
        measure.fastest({"broken": fail}, CPU)


@pytest.mark.skipif(not measure.PEAK_RESET.exists(), reason="the system does not tell peaks")
def test_memory_is_what_a_run_needs_at_its_peak():
    with measure.Peak(CPU) as peak:
        torch.ones(16 * 2**20)
    assert 60 <= peak.bytes / 2**20 <= 80
    with measure.Peak(CPU) as peak:
        pass
    assert peak.bytes < 2**20


def test_the_counter_counts_a_graph_that_begins_inside_a_network():
    module, x = network(), torch.rand(1, 2, 8, 8)

    def half():
        with torch.no_grad():
            inner = module[:3](x)
        return torch.autograd.grad(module[3:](inner.requires_grad_()).sum(), inner)

    assert measure.counted(half) == 2 * 8 * 8 * 4 * 2 * 9 + 2 * 2 * 4 * 3


def test_the_floor_is_frozen_folded_and_gives_the_same():
    module, x = network(), torch.rand(3, 2, 8, 8)
    for layout in layouts(1, 3):
        twin = folded(module, CPU, layout)
        assert not any(isinstance(part, nn.BatchNorm2d) for part in twin.modules())
        assert not any(weight.requires_grad for weight in twin.parameters())
        torch.testing.assert_close(torch.cat([twin(part) for part in layout.chunks(x)]), module(x))
        laid = torch.channels_last if layout.last else torch.contiguous_format
        assert all(
            part.is_contiguous(memory_format=laid) for part in [*layout.chunks(x), twin.get_submodule("0").weight]
        )
    assert any(isinstance(part, nn.BatchNorm2d) for part in module.modules())


def test_the_occlusion_floor_covers_a_window_at_a_time():
    module, x = network(), torch.rand(1, 2, 8, 8)
    places = places_in((slice(2, 6), slice(0, 8)), 4)
    assert len(places) == 2
    found = bare(module, x, places, Layout(False, 2))()
    for place in places:
        covered = x.clone()
        covered[(slice(None), slice(None), *place)] = 0
        fall = (module(x) - module(covered))[0, 1]
        torch.testing.assert_close(found[(0, 0, *place)], fall.expand(4, 4).detach())
    assert (found[0, 0, :2] == 0).all()


def test_the_latest_of_each_row_is_kept_in_the_order_of_the_table(tmp_path):
    path = tmp_path / "machine.json"
    made = lambda name, load: {"name": name, "load": load}  # noqa: E731
    for one in (made("b", 1), made("a", 1), made("b", 2)):
        results.keep(path, "a machine", one, ["a", "b"])
    assert json.loads(path.read_text())["rows"] == [made("a", 1), made("b", 2)]


def test_the_command_measures_keeps_and_prints(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(run, "quiet", lambda: None)
    values = itertools.count(1)
    growth = Growth(name="grows", work="Growth", per="steps", counts=(1, 2), value=lambda count, device: next(values))
    long = replace(ROW, name="long", long=True)
    assert run.main(["--device", "cpu", "--repeats", "1"], [ROW, long, growth], tmp_path) == 0
    (kept,) = (json.loads(path.read_text()) for path in tmp_path.glob("*.json"))
    assert [one["name"] for one in kept["rows"]] == ["toy"]
    assert kept["growth"][0]["told"] == ["2", "3"], "the first value only warms up"
    (page,) = tmp_path.glob("*.md")
    assert "Toy, Other: triples what it finds." in page.read_text()
    assert "| Growth | steps | 1, 2 | 2, 3 |" in page.read_text()
    assert "toy (" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rows", "tox"], "unknown row 'tox'; did you mean 'toy'?"),
        (["--rows", "zzz"], "unknown row 'zzz'; rows are toy"),
        (["--repeats", "0"], "repeats must be at least 1, got 0"),
        (["--device", "tpu"], "device must be 'auto', 'cpu' or 'cuda', got 'tpu'"),
    ],
)
def test_a_wrong_argument_is_told_in_a_sentence(arguments, sentence, tmp_path, capsys):
    assert run.main(arguments, [ROW], tmp_path) == 2
    assert capsys.readouterr().err == f"bench: {sentence}\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is such a device")
def test_cuda_without_a_device_is_told(tmp_path, capsys):
    assert run.main(["--device", "cuda"], [ROW], tmp_path) == 2
    assert "no CUDA device" in capsys.readouterr().err


def test_long_rows_run_by_name_or_in_full():
    long = replace(ROW, name="long", long=True)
    names = lambda *asked, full=False: [one.name for one in catalogue.selected(asked, [ROW, long], full=full)]  # noqa: E731
    assert names() == ["toy"]
    assert names("long") == ["long"]
    assert names(full=True) == ["toy", "long"]


def test_the_catalogue_names_every_row_once_and_says_what_it_is():
    entries = catalogue.entries()
    assert len({entry.name for entry in entries}) == len(entries)
    assert all(run.told(entry) for entry in entries)
    assert {entry.name for entry in entries if isinstance(entry, Row) and entry.kinds == ("cuda",)}


def test_the_page_is_made_of_the_kept_results(repository, tmp_path, record, monkeypatch):
    spec = importlib.util.spec_from_file_location("docs_performance", repository / "scripts" / "docs_performance.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    results.keep(tmp_path / "m.json", "a machine", record, ["toy"])
    monkeypatch.setattr(script, "PAGE", tmp_path / "performance.md")
    monkeypatch.setattr(script, "RESULTS", tmp_path)
    assert script.main(["--check"]) == 1
    assert script.main([]) == 0
    page = script.PAGE.read_text()
    assert "## a machine" in page
    assert table.line(record) in page
    assert script.main(["--check"]) == 0
    results.keep(tmp_path / "m.json", "a machine", {**record, "when": "2001-02-03"}, ["toy"])
    assert script.main(["--check"]) == 1
