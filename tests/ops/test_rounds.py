"""Rounds of draws."""

from voxplain.ops.rounds import rounds


def test_without_looks_all_draws_come_at_once():
    assert [(list(who), list(draws)) for who, draws in rounds([3], 2, lambda n: False)] == [([0, 1], [0, 1, 2])]


def test_each_sample_stops_on_its_own_and_no_draw_comes_twice():
    enough = {0: 4, 1: 2, 2: 100}
    done = dict.fromkeys(enough, 0)
    for who, draws in rounds([2, 4, 8], 3, lambda n: done[n] >= enough[n]):
        for n in who:
            assert draws.start == done[n]
            done[n] += len(draws)
    assert done == {0: 4, 1: 2, 2: 8}


def test_nothing_is_drawn_once_all_have_stopped():
    assert len(list(rounds([2, 4, 8], 2, lambda n: True))) == 1
