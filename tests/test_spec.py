"""The grammar reads literals and nested specs only, and every door tells the same wrong thing in the same words."""

import copy
import pickle
import tomllib
from dataclasses import FrozenInstanceError, dataclass, fields
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voxplain.errors import KindError, OptionError
from voxplain.methods import METHODS, method
from voxplain.score.target import TARGETS, ClassScore, Margin, Region, target
from voxplain.spec import Options, Spec, build, describe, parse, schema, table_of, text

TABLES = {"method": METHODS, "target": TARGETS}

NEEDED = {"ensemble": "ensemble(of=['gradient', 'occlusion'])"}
"""What cannot be made without options."""


def with_defaults(kind: str, name: str):
    return method(NEEDED[name]) if name in NEEDED else TABLES[kind][name]()


EVERY = [(kind, name) for kind, table in TABLES.items() for name in sorted(table)]


@dataclass(frozen=True, kw_only=True)
class Leaf(Options):
    """A part without parts."""

    name = "leaf"
    size: int = 1
    """How large."""
    weight: float = 0.5
    colour: Literal["red", "green"] = "red"


@dataclass(frozen=True, kw_only=True)
class Tree(Options):
    """Options that hold other options."""

    name = "tree"
    inner: Leaf = Leaf()
    of: tuple[Leaf, ...] = ()
    label: str = ""
    sides: tuple[int, ...] | None = None


TOYS = {"leaf": Leaf, "tree": Tree}


def planted(source: str | dict):
    return build(source, TOYS, "toy")


# --- the grammar ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "spec"),
    [
        ("leaf", Spec("leaf")),
        ("leaf()", Spec("leaf")),
        ("  leaf( size = 2 ) ", Spec("leaf", (), {"size": 2})),
        ("leaf(2, colour='red')", Spec("leaf", (2,), {"colour": "red"})),
        ("leaf(-1.5, [1, (2, 3)], None, True)", Spec("leaf", (-1.5, (1, (2, 3)), None, True))),
        ("tree(inner=leaf(size=2))", Spec("tree", (), {"inner": Spec("leaf", (), {"size": 2})})),
        ("tree(of=[leaf(), leaf(1)])", Spec("tree", (), {"of": (Spec("leaf"), Spec("leaf", (1,)))})),
    ],
)
def test_reads_names_literals_and_nested_specs(source, spec):
    assert parse(source) == spec


@pytest.mark.parametrize(
    "source",
    [
        "occlusion(window=__import__('os').getpid())",
        "occlusion(window=().__class__)",
        "occlusion(window=open('/etc/passwd'))",
        "occlusion(window=2 if True else 3)",
        "occlusion(window=lambda: 2)",
        "occlusion(window=[n for n in (1, 2)])",
        "occlusion(window=f'{2}')",
        "occlusion(window=1 + 1)",
        "occlusion(window=(n := 2))",
        "occlusion(window=some_name)",
        "occlusion(window={[1]: 2})",
        "occlusion(window={{}})",
        "occlusion(*[1])",
        "occlusion(**{'window': 2})",
        "occlusion()()",
        "os.system('true')",
        "occlusion[2]",
        "'occlusion'",
        "occlusion, gradient",
        "occlusion; gradient",
        "occlusion(window=2",
        "import os",
        "",
        "\0",
        "(" * 5000,
        "occlusion(window=" + "-" * 9000 + "1)",
        "x(" + "+".join("1" * 3000) + ")",
    ],
)
def test_anything_but_a_literal_is_refused(source):
    with pytest.raises(OptionError, match=r"must read like name\(option=value\)|literal values only|unknown method"):
        method(source)


@pytest.mark.parametrize("place", ["occlusion(window={})", "occlusion(window=[{}])", "{}", "occlusion({})", "{}.x()"])
@pytest.mark.parametrize("code", ["open({!r}, 'w')", "__import__('pathlib').Path({!r}).touch()"])
def test_no_code_of_a_spec_is_run(place, code, tmp_path):
    marker = tmp_path / "it ran"
    with pytest.raises(OptionError):
        method(place.format(code.format(str(marker))))
    assert not marker.exists()


def test_a_nested_call_is_looked_up_in_the_same_table_and_never_run():
    with pytest.raises(OptionError, match=r"unknown method 'open'"):
        method("grad_cam(layer=open('x'))")


def test_an_option_given_twice_is_refused():
    with pytest.raises(OptionError, match=r"must give window once"):
        method("occlusion(window=1, window=2)")


def test_a_spec_is_not_built_before_it_is_asked_for():
    assert parse("no_such_thing(no_such_option=1)").name == "no_such_thing"


# --- four doors, one sentence --------------------------------------------------------------------------------------

WRONG = [
    ("method", "occlusion", {"window": 1.5}),
    ("method", "occlusion", {"window": True}),
    ("method", "occlusion", {"window": "16"}),
    ("method", "occlusion", {"window": 0}),
    ("method", "occlusion", {"window": [4, -1]}),
    ("method", "occlusion", {"window": [4, 4.5]}),
    ("method", "occlusion", {"window": 4, "window_mm": 2.0}),
    ("method", "occlusion", {"stride_mm": -1}),
    ("method", "occlusion", {"fill": "black"}),
    ("method", "occlusion", {"windw": 4}),
    ("method", "occlusion", {"channels": 2}),
    ("method", "integrated_gradients", {"steps": 0}),
    ("method", "integrated_gradients", {"rule": "simpson"}),
    ("method", "integrated_gradients", {"baseline": []}),
    ("method", "grad_cam", {"layer": 3}),
    ("method", "grad_cam", {"layer": []}),
    ("method", "grad_cam", {"layer": ["a", 3]}),
    ("method", "grad_cam", {"relu": 1}),
    ("method", "gradient", {"anything": 1}),
    ("target", "class_score", {"index": "2"}),
    ("target", "class_score", {"klass": 2}),
    ("target", "margin", {"against": 0.5}),
    ("target", "regression", {"reference": "high"}),
    ("target", "region", {"over": "tumour"}),
    ("target", "region", {"component": 0}),
    ("target", "region", {"over": "box", "box": [1, 2]}),
    ("target", "region", {"over": "voxel"}),
    ("target", "region", {"voxel": [1, 2]}),
    ("target", "region", {"box": [0, 0, 1, 1]}),
    ("target", "region", {"component": 2}),
]


@pytest.mark.parametrize(("kind", "name", "options"), WRONG)
def test_the_same_wrong_value_gives_the_same_sentence_at_every_door(kind, name, options):
    table = TABLES[kind]
    written = f"{name}({', '.join(f'{key}={value!r}' for key, value in options.items())})"
    doors = {
        "Python": lambda: table[name](**options),
        "text": lambda: build(written, table, kind),
        "TOML": lambda: build({"name": name, **options}, table, kind),
    }
    said = {}
    for door, enter in doors.items():
        with pytest.raises(OptionError) as caught:
            enter()
        said[door] = str(caught.value)
    assert len(set(said.values())) == 1, said
    sentence = said["Python"]
    assert sentence.startswith(f"{name}: ")
    assert "\n" not in sentence
    assert "__init__" not in sentence


def test_names_the_constraint_and_the_value():
    with pytest.raises(OptionError) as caught:
        METHODS["occlusion"](window=0)
    assert str(caught.value) == "occlusion: window must be at least 1, got 0"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("gradcam", "unknown method 'gradcam'; did you mean 'grad_cam'?"),
        ("occlusion(windo=3)", "occlusion: unknown option 'windo'; did you mean 'window'?"),
        ("integrated_gradients(rule='gauss')", "got 'gauss'"),
    ],
)
def test_suggests_what_was_meant(source, told):
    with pytest.raises(OptionError) as caught:
        method(source)
    assert told in str(caught.value)


def test_a_number_without_a_name_is_refused_where_options_are_named():
    for enter in (lambda: METHODS["occlusion"](16), lambda: method("occlusion(16)")):
        with pytest.raises(OptionError, match=r"^occlusion: options must be named \(option=value\), got 16 alone$"):
            enter()


@pytest.mark.parametrize(("cls", "first", "second"), [(ClassScore, 1, 2), (Margin, 1, 2), (Region, 1, "whole")])
def test_only_the_first_field_of_a_target_goes_without_a_name(cls, first, second):
    assert cls(first).index == first
    for enter in (lambda: cls(first, second), lambda: target(f"{cls.name}({first}, {second!r})")):
        with pytest.raises(OptionError, match=r"options must be named"):
            enter()


def test_the_first_field_is_not_taken_twice():
    for enter in (lambda: ClassScore(1, index=2), lambda: target("class_score(1, index=2)")):
        with pytest.raises(OptionError, match=r"index must be given once, got 1 as well"):
            enter()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 10**400])
@pytest.mark.parametrize(
    "enter",
    [
        lambda value: METHODS["integrated_gradients"](baseline=value),
        lambda value: build({"name": "occlusion", "fill": value}, METHODS, "method"),
        lambda value: target({"name": "regression", "reference": value}),
    ],
)
def test_numbers_must_be_finite(value, enter):
    with pytest.raises(OptionError, match=r"must be a finite number"):
        enter(value)


def test_a_number_too_large_to_be_written_is_not_read_as_infinity():
    with pytest.raises(OptionError, match=r"finite number"):
        method("occlusion(fill=1e999)")


def test_whole_numbers_pass_for_floats_but_not_the_other_way_round():
    assert Leaf(weight=2).weight == 2
    with pytest.raises(OptionError, match=r"^leaf: size must be a whole number, got 2.0$"):
        Leaf(size=2.0)


@pytest.mark.parametrize("value", [True, False])
@pytest.mark.parametrize("field", ["size", "weight"])
def test_true_is_no_number(field, value):
    with pytest.raises(OptionError, match=rf"leaf: {field} must be"):
        Leaf(**{field: value})


def test_numbers_and_texts_of_numpy_become_plain_ones():
    made = Leaf(size=np.int64(3), weight=np.float32(0.5), colour=np.str_("green"))
    assert [type(value) for value in (made.size, made.weight, made.colour)] == [int, float, str]
    assert planted(text(made)) == made
    listed = Tree(sides=[np.int64(3), np.int32(4)])
    assert [type(side) for side in listed.sides] == [int, int]
    assert planted(text(listed)) == listed


def test_lists_become_tuples_and_stay_hashable():
    made = METHODS["occlusion"](window=[4, 2])
    assert made.window == (4, 2)
    assert hash(made) == hash(method("occlusion(window=(4, 2))"))


@pytest.mark.parametrize("source", [3, None, ["occlusion"], object, ClassScore(1)])
def test_an_object_of_another_kind_is_refused(source):
    with pytest.raises(KindError, match=r"^method must be a method or read like"):
        method(source)


def test_a_target_is_no_method_and_a_method_no_target():
    with pytest.raises(KindError, match=r"got class_score"):
        method(ClassScore())
    with pytest.raises(KindError, match=r"got gradient"):
        target(method("gradient"))


def test_an_object_passes_through_as_it_is():
    made = method("occlusion(window=3)")
    assert method(made) is made


def test_a_method_of_another_package_passes_through_without_being_in_the_table():
    @dataclass(frozen=True, kw_only=True)
    class Theirs(METHODS["gradient"]):
        name = "theirs"

    made = Theirs()
    assert method(made) is made


@pytest.mark.parametrize("source", [{}, {"window": 3}, {"name": "no_such"}])
def test_a_table_without_a_known_name_is_refused(source):
    with pytest.raises(OptionError, match=r"unknown method"):
        method(source)


def test_a_missing_option_is_told_without_python_words():
    @dataclass(frozen=True, kw_only=True)
    class Needy(Options):
        name = "needy"
        size: int

    with pytest.raises(OptionError) as caught:
        build("needy", {"needy": Needy}, "toy")
    assert str(caught.value).startswith("needy: ")
    assert "'size'" in str(caught.value)
    assert "__init__" not in str(caught.value)


def test_options_never_change():
    made = method("occlusion(window=3)")
    with pytest.raises(FrozenInstanceError):
        made.window = 4


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_options_can_be_copied_and_pickled(kind, name):
    made = with_defaults(kind, name)
    assert copy.deepcopy(made) == made
    assert pickle.loads(pickle.dumps(made)) == made


# --- text and tables -----------------------------------------------------------------------------------------------

SAMPLES = [
    method("occlusion(window=[4, 3], stride=2, fill=-0.25, channels='each')"),
    method("occlusion(window_mm=(4.5, 3), stride_mm=1e-3, fill='blur')"),
    method("integrated_gradients(steps=7, rule='trapezoid', baseline=1e300)"),
    method("grad_cam(layer=['a.0', 'b\"c', \"d'e\", 'f\\n'], relu=False)"),
    method("grad_cam(layer='features')"),
    target("class_score(3)"),
    target("probability(0)"),
    target("margin(1, against=0)"),
    target("regression(2, reference=-71.5)"),
    target("region(2, over='box', box=(0, 1, 2, 3, 4, 5), reduce='sum', of='probability')"),
    target("region(1, over='voxel', voxel=[4, 0])"),
    target("region(1, over='component', component=3)"),
    *(with_defaults(kind, name) for kind, name in EVERY),
]


@pytest.mark.parametrize("made", SAMPLES, ids=str)
@pytest.mark.parametrize("full", [False, True])
def test_the_text_of_options_builds_them_again(made, full):
    table, kind = (METHODS, "method") if made.name in METHODS else (TARGETS, "target")
    assert build(text(made, full=full), table, kind) == made


@pytest.mark.parametrize("made", SAMPLES, ids=str)
def test_the_table_of_options_builds_them_again(made):
    table, kind = (METHODS, "method") if made.name in METHODS else (TARGETS, "target")
    assert build(table_of(made), table, kind) == made


@pytest.mark.parametrize("made", SAMPLES, ids=str)
def test_the_table_names_every_default_that_toml_has_a_word_for(made):
    told = table_of(made)
    assert told.pop("name") == made.name
    told.pop("of", None)  # options inside options stand as text
    assert told == {key: value for key, value in vars(made).items() if value is not None and key != "of"}


def test_a_plan_written_in_toml_gives_the_same_method():
    plan = tomllib.loads('[[methods]]\nname = "occlusion"\nwindow = [4, 3]\nfill = "mean"')
    assert method(plan["methods"][0]) == METHODS["occlusion"](window=(4, 3), fill="mean")


def test_defaults_are_left_out_of_the_short_text_and_shown_in_the_full_one():
    made = method("occlusion(window=3)")
    assert text(made) == str(made) == "occlusion(window=3)"
    assert all(f"{spec.name}=" in text(made, full=True) for spec in fields(made))


@given(
    size=st.integers(-(10**30), 10**30),
    weight=st.floats(allow_nan=False, allow_infinity=False),
    colour=st.sampled_from(["red", "green"]),
)
def test_every_leaf_survives_its_text(size, weight, colour):
    made = Leaf(size=size, weight=weight, colour=colour)
    assert planted(text(made)) == made == planted(table_of(made))


@given(label=st.text(), sides=st.none() | st.lists(st.integers()).map(tuple), size=st.integers(0, 9))
def test_every_tree_survives_its_text(label, sides, size):
    made = Tree(inner=Leaf(size=size), of=(Leaf(), Leaf(size=size)), label=label, sides=sides)
    assert planted(text(made)) == made == planted(text(made, full=True)) == planted(table_of(made))


@pytest.mark.parametrize(
    "source",
    [
        "tree(inner=leaf(size=3), of=[leaf(size=4), leaf])",
        "tree(inner='leaf(size=3)', of=['leaf(size=4)', 'leaf'])",
        {"name": "tree", "inner": {"name": "leaf", "size": 3}, "of": [{"name": "leaf", "size": 4}, "leaf"]},
        {"name": "tree", "inner": "leaf(size=3)", "of": ["leaf(size=4)", "leaf()"]},
    ],
)
def test_inner_options_may_be_specs_texts_or_tables(source):
    if isinstance(source, str):
        source = source.replace(", leaf]", ", leaf()]")  # a bare name is no literal; only a call is a nested spec
    assert planted(source) == Tree(inner=Leaf(size=3), of=(Leaf(size=4), Leaf()))


def test_text_that_is_text_is_not_taken_for_a_spec():
    assert planted("tree(label='leaf(size=2)')").label == "leaf(size=2)"


def test_a_wrong_inner_value_is_told_like_any_other():
    with pytest.raises(OptionError, match=r"^leaf: size must be a whole number, got 'x'$"):
        planted("tree(inner=leaf(size='x'))")


# --- listings ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_every_option_is_listed_with_type_default_and_help(kind, name):
    listed = schema(TABLES[kind][name])
    assert [row["name"] for row in listed] == [spec.name for spec in fields(TABLES[kind][name])]
    for row in listed:
        assert row["type"], row
        assert row["help"].endswith((".", ")")), row
        assert row["required"] is (name in NEEDED and row["name"] == "of")


def test_options_of_other_packages_are_listed_with_their_help_too():
    assert schema(Leaf)[0] == {
        "name": "size",
        "type": "a whole number",
        "default": 1,
        "required": False,
        "help": "How large.",
    }


def test_options_without_source_are_listed_without_help():
    scope: dict = {"Leaf": Leaf, "dataclass": dataclass}
    exec("@dataclass(frozen=True, kw_only=True)\nclass Typed(Leaf):\n    more: int = 2\n    'Never seen.'", scope)
    assert [row["help"] for row in schema(scope["Typed"])] == ["How large.", "", "", ""]


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int, "a whole number"),
        (float | None, "a finite number or nothing"),
        (tuple[int, ...], "a list, each a whole number"),
        (tuple[float, float], "2 values (a finite number, a finite number)"),
        (Literal["a", "b"], "one of 'a', 'b'"),
        (bool, "true or false"),
    ],
)
def test_types_are_told_in_words(hint, words):
    assert describe(hint) == words
