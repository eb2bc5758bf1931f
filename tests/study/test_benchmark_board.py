"""How the leaderboard counts: skill, means over phantoms, ranks, and the stability of the order."""

import numpy as np
import pytest

from voxplain.study.benchmark_board import concordance, mean_ranks, overall, scored, stability, standings
from voxplain.study.benchmark_findings import diffuse_finding
from voxplain.study.benchmark_rows import METRICS, REFUSED, SHARES
from voxplain.study.benchmark_words import refused_words, share_words


def rows(method, value, *, phantom="focal", seed=0, head=0, chance=0.2, control=False, **more):
    """The rows of all metrics for one head with the same number."""
    status = "not applicable" if value is None else "done"
    about = {"method": method, "phantom": phantom, "seed": seed, "case": f"{phantom}-{seed}-{head}", "control": control}
    about |= {"value": value, "chance": chance, "status": status, "reason": ""}
    return [{**about, "metric": metric, **more} for metric in METRICS]


def board(skills, *, heads=3, phantom="focal", seed=0):
    """Rows of methods {name: skill}, the same for all heads."""
    return [
        row
        for name, skill in skills.items()
        for head in range(heads)
        for row in rows(name, skill, phantom=phantom, seed=seed, head=head, chance=0.0)
    ]


@pytest.mark.parametrize(("value", "skill"), [(1.0, 1.0), (0.2, 0.0), (0.6, 0.5), (0.0, -0.25)])
def test_skill_is_the_share_of_the_way_from_chance_to_the_truth(value, skill):
    found = scored(rows("one", value))
    assert found["one"].of("focal") == pytest.approx({"focal-0-0": skill})


def test_skill_is_the_mean_over_metrics():
    made = [{**row, "value": value} for row, value in zip(rows("one", 0.2), (0.2, 0.4, 0.6, 0.8, 1.0), strict=True)]
    assert scored(made)["one"].of("focal") == pytest.approx({"focal-0-0": 0.5})


def test_a_map_without_evidence_gets_chance_and_is_counted():
    found = scored([*rows("one", None), *rows("one", 1.0, head=1)])["one"]
    assert found.of("focal") == {"focal-0-0": 0.0, "focal-0-1": 1.0}
    assert found.empty == 1


def test_a_row_that_failed_leaves_its_head_out():
    broken = rows("one", None, status="failed", reason="the map holds values that are NaN or infinite")
    found = scored([*broken, *rows("one", 1.0, head=1)])["one"]
    assert found.of("focal") == {"focal-0-1": 1.0}
    assert found.failed == len(METRICS)


def test_an_empty_map_is_no_failure_although_its_row_says_so():
    empty = rows("one", None, status="failed", reason="the map has no values but 0")
    found = scored(empty)["one"]
    assert (found.failed, found.empty, found.of("focal")) == (0, 1, {"focal-0-0": 0.0})


def test_phantoms_count_alike_however_many_heads_they_have():
    made = board({"one": 1.0}, heads=6) + board({"one": 0.0}, heads=2, phantom="diffuse")
    value, low, high = overall(scored(made)["one"], ["focal", "diffuse"])
    assert value == pytest.approx(0.5)
    assert low == high == pytest.approx(0.5)  # no head differs from others of its phantom


def test_intervals_widen_with_the_spread_of_heads():
    made = [row for head in range(20) for row in rows("one", float(head % 2), head=head, chance=0.0)]
    value, low, high = overall(scored(made)["one"], ["focal"])
    assert value == 0.5
    half = 1.96 * 0.5 / np.sqrt(20)  # the normal interval of a mean of 20 coins
    assert (high - low) / 2 == pytest.approx(half, rel=0.15)


def test_a_method_that_cannot_explain_a_phantom_has_no_place_over_all():
    made = board({"whole": 0.2, "half": 0.9}) + board({"whole": 0.2}, phantom="diffuse")
    made += rows("half", None, phantom="diffuse", **{REFUSED: True, "reason": "it needs attention"})
    table = standings(scored(made), ["focal", "diffuse"])
    assert [row["method"] for row in table] == ["whole", "half"]
    half = table[1]
    assert half["skill"] is None
    assert half["mean_rank"] is None
    assert half["refused"] == {"diffuse": "it needs attention"}
    assert refused_words(half) == "half cannot explain diffuse: it needs attention"
    assert half["phantoms"]["focal"]["value"] == pytest.approx(0.9)
    assert half["empty"] == 0


def test_a_method_that_refuses_some_heads_is_not_said_to_refuse_all():
    made = board({"one": 0.2}) + rows("one", None, head=7, **{REFUSED: True, "reason": "one segment"})
    (row,) = standings(scored(made), ["focal"])
    assert (row["heads"], row["refused_heads"]) == (3, {"focal": 1})
    assert refused_words(row) == "one cannot explain focal (1 of its heads): one segment"


def test_the_best_stands_first_and_maps_beside_get_no_rank():
    made = board({"good": 0.8, "bad": 0.1, "middle": 0.4})
    made += [{**row, "control": True} for row in board({"oracle": 1.0})]
    table = standings(scored(made), ["focal"])
    assert [row["method"] for row in table] == ["oracle", "good", "middle", "bad"]
    assert [row["mean_rank"] for row in table] == [None, 1.0, 2.0, 3.0]


def test_ranks_that_no_head_turns_have_no_width_and_others_have():
    fixed = mean_ranks(scored(board({"a": 0.9, "b": 0.5, "c": 0.1}, heads=8)), ["focal"])
    assert fixed["b"] == {"mean_rank": 2.0, "rank_low": 2.0, "rank_high": 2.0}
    turned = [row for head in range(20) for name, value in (("a", float(head % 2)), ("b", 0.5))
              for row in rows(name, value, head=head, chance=0.0)]  # fmt: skip
    found = mean_ranks(scored(turned), ["focal"])["a"]
    half = 1.96 * 0.5 / np.sqrt(20)  # the normal interval of a mean of 20 coins, 1 or 2
    assert found["mean_rank"] == 1.5
    assert (found["rank_high"] - found["rank_low"]) / 2 == pytest.approx(half, rel=0.15)


def test_shares_are_told_and_do_not_count():
    made = rows("one", 0.6)
    shares = [{**made[0], "metric": name, "value": value} for name, value in zip(SHARES, (0.5, 0.3), strict=True)]
    twice = [{**one, "case": "other", "value": one["value"] + 0.2} for one in shares]
    lacking = {**shares[0], "value": None, "status": "not applicable", "reason": "the map has no values but 0"}
    found = scored([*made, *shares, *twice, lacking])
    assert found["one"].of("focal") == pytest.approx({"focal-0-0": 0.5})
    assert found["one"].empty == found["one"].failed == 0
    (row,) = standings(found, ["focal"])
    assert row["shares"] == {"focal": pytest.approx({"share_in_feature": 0.6, "share_beside": 0.4})}
    assert [*share_words([row], "focal")] == [
        "focal: of a map's size, whatever its sign, what else there is holds from 40% (one) to 40% (one)"
    ]


def test_equal_orders_in_all_seeds_are_stable():
    made = [row for seed in range(3) for row in board({"a": 0.9, "b": 0.5 - seed / 10, "c": 0.1}, seed=seed)]
    found = stability(scored(made), ["focal"], range(3))
    assert (found.w, found.tau, found.flipped, found.pairs) == (1.0, 1.0, (), 3)


def test_a_pair_that_turns_is_named():
    made = board({"a": 0.9, "b": 0.5, "c": 0.4}) + board({"a": 0.9, "b": 0.1, "c": 0.4}, seed=1)
    found = stability(scored(made), ["focal"], range(2))
    assert found.flipped == (("c", "b"),)
    assert found.tau == pytest.approx(1 / 3)  # two pairs agree, one does not
    assert found.w == pytest.approx(0.75)  # rank sums 2, 5, 5: 12 * 6 / (4 * 24)


def test_stability_looks_at_phantoms_that_every_seed_has():
    made = board({"a": 0.9, "b": 0.5}) + board({"a": 0.9, "b": 0.5}, seed=1)
    made += board({"a": 0.1, "b": 0.5}, phantom="diffuse", seed=1)
    found = stability(scored(made), ["focal", "diffuse"], range(2))
    assert found.phantoms == ("focal",)
    assert found.w == 1.0


def test_one_seed_says_nothing_about_stability():
    found = stability(scored(board({"a": 0.9, "b": 0.5})), ["focal"], range(1))
    assert (found.w, found.tau) == (None, None)


def test_concordance_of_opposite_orders_is_zero_and_ties_are_corrected():
    assert concordance(np.array([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])) == 0
    tied = np.array([[1.0, 2.5, 2.5], [1.0, 2.5, 2.5]])
    assert concordance(tied) == pytest.approx(1.0)
    assert concordance(np.full((2, 3), 2.0)) is None


def test_the_published_finding_is_told_with_its_direction():
    spread = [0.02, -0.02, 0.01, -0.01, 0.03, -0.03, 0.0, 0.015]
    made = [
        row
        for head, shift in enumerate(spread)
        for name, skill in {"smoothgrad": 0.6, "grad_cam": 0.4 + shift, "lrp(rules='z_plus')": 0.8 + shift}.items()
        for row in rows(name, skill, phantom="diffuse", head=head, chance=0.0)
    ]
    pairs = {one["second"]: one for one in diffuse_finding(scored(made))["pairs"]}
    assert pairs["grad_cam"]["verdict"] == "holds"
    assert pairs["grad_cam"]["difference"] == pytest.approx(0.2, abs=0.01)
    assert pairs["grad_cam"]["low"] > 0
    assert pairs["lrp(rules='z_plus')"]["verdict"] == "the other way round"


def test_without_one_of_the_methods_the_finding_is_not_judged():
    assert diffuse_finding(scored(board({"smoothgrad": 0.5, "grad_cam": 0.4}, phantom="diffuse"))) is None
    assert diffuse_finding(scored(board({"smoothgrad": 0.5, "grad_cam": 0.4, "lrp": 0.2}))) is None
