import pytest

from voxplain.errors import TrustError
from voxplain.score.trust import demand_trust, is_trusted


def test_trusts_a_name_exactly_as_typed():
    assert is_trusted(["models/x.pt"], "models/x.pt")


@pytest.mark.parametrize("name", ["x.pt", "models/x", "models/x.pt2", "*", "", "models"])
def test_trusts_nothing_but_the_exact_name(name):
    assert not is_trusted([name], "models/x.pt")


def test_a_leading_dot_slash_makes_no_difference():
    assert is_trusted(["./x.py"], "x.py")
    assert is_trusted(["x.py"], "./x.py")


def test_a_single_name_is_not_taken_for_a_list_of_letters():
    assert is_trusted("x.pt", "x.pt")
    assert not is_trusted("abc", "a")


def test_trusting_what_does_not_exist_is_harmless():
    demand_trust(["nosuch", "x.pt"], "model 'x.pt' would run", "x.pt")


def test_the_sentence_tells_what_would_run_and_how_to_trust_it():
    with pytest.raises(TrustError) as caught:
        demand_trust([], "model 'my net.pt' is a pickled module and would run its own code when loaded", "my net.pt")
    assert str(caught.value) == (
        "model 'my net.pt' is a pickled module and would run its own code when loaded; "
        "add --trust 'my net.pt' if you know where it comes from"
    )
