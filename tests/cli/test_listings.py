"""What the listing of metrics tells, as text and as JSON."""

import json

import pytest

from voxplain.cli.main import main
from voxplain.metrics import METRICS, metric
from voxplain.metrics.base import Need


def listed(capsys, *options):
    assert main(["metrics", *options]) == 0
    return capsys.readouterr().out


def test_every_metric_is_listed_with_what_it_needs_and_its_direction(capsys):
    entries = {entry["name"]: entry for entry in json.loads(listed(capsys, "--json"))}
    assert set(entries) >= set(METRICS)
    for name, cls in METRICS.items():
        entry = entries[name]
        assert entry["needs"] in list(Need)
        assert entry["better"] in ("higher", "lower")
        assert entry["bounds"] == list(cls.bounds)
        assert all(entry[told] for told in ("says", "title", "citation", "range"))
        assert all(option["help"] for option in entry["options"]), name


def test_the_listing_reads_as_text(capsys):
    paragraphs = listed(capsys).split("\n\n")
    (distance,) = [one for one in paragraphs if one.startswith("mass_distance\n")]
    assert "  needs: map and mask\n  better: lower\n  range: at least 0\n" in distance
    (completeness,) = [one for one in paragraphs if one.startswith("relevance_mass\n")]
    assert "  range: 0 to 1\n" in completeness


@pytest.mark.parametrize("name", sorted(METRICS))
def test_every_metric_is_built_from_its_own_spec(name):
    made = metric(name)
    assert made.name == name
    assert metric(str(made)) == made
