"""Recipes: one record from TOML, sizes and single options; the user is told what is wrong with them."""

import pytest

from voxplain.errors import FileError, OptionError
from voxplain.training.recipe import Recipe
from voxplain.training.recipe_files import merged, read_recipe, recipe_names, settings_of

LEAST = {"task": "classification", "network": "small_cnn_2d"}


def test_the_six_recipes_of_the_studies_are_shipped():
    studies = {"pumpkin-age", "glioma-grade", "glioma-seg", "tumour-types", "muscle-cv", "chest-view"}
    assert studies <= set(recipe_names())


@pytest.mark.parametrize("name", recipe_names())
@pytest.mark.parametrize("with_data", [False, True])
def test_every_recipe_comes_back_from_its_own_table(name, with_data):
    recipe = read_recipe(name, with_data=with_data)
    assert Recipe.of(recipe.table()) == recipe
    assert recipe.title


def test_muscle_cv_is_the_source_s_recipe_at_paper_size():
    recipe = read_recipe("muscle-cv", "paper")
    assert (recipe.optimiser, recipe.frozen_rate, recipe.momentum, recipe.batch) == ("sgd", 0.001, 0.9, 32)
    assert (recipe.frozen_epochs, recipe.patience, recipe.delta, recipe.stopping_rule) == (100, 5, 0.006, "tolerant")
    assert (recipe.outer_folds, recipe.outer_seed, recipe.inner_folds, recipe.inner_seed) == (5, 7, 10, 1)
    assert recipe.prepare.crop_pad == (224, 224)
    assert recipe.prepare.size is None
    assert (recipe.augment.blur, recipe.augment.brightness, recipe.augment.flip) == ((0.1, 0.5), 0.3, (0.0, 0.5))
    assert (recipe.best, recipe.oversample, recipe.positive) == ("score", True, "affected")


def test_chest_view_is_the_source_s_recipe_at_paper_size():
    recipe = read_recipe("chest-view", "paper")
    assert (recipe.optimiser, recipe.rate, recipe.batch, recipe.epochs) == ("rmsprop", 0.001, 21, 30)
    assert (recipe.head_factor, recipe.augment.shift_voxels, recipe.file_order) == (10.0, 3, True)
    assert recipe.prepare.size == (227, 227)


def test_settings_reach_into_tables_and_the_last_one_wins():
    settings = settings_of(["epochs=3", "prepare.size=[64, 48]", "epochs=4", "network=small_cnn_2d(width=4)"])
    recipe = read_recipe("tumour-types", settings=settings)
    assert (recipe.epochs, recipe.prepare.size, recipe.network) == (4, (64, 48), "small_cnn_2d(width=4)")
    assert recipe.prepare.scale == pytest.approx(1 / 255)  # other options of the table stay


def test_none_takes_an_option_away():
    assert read_recipe("muscle-cv", settings=settings_of(["patience=none"])).patience is None
    assert read_recipe("tumour-types", settings=settings_of(["prepare.size=none"])).prepare.size is None


def test_merging_changes_neither_table():
    table, over = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merged(table, over) == {"a": {"b": 1, "c": 2}}
    assert (table, over) == ({"a": {"b": 1}}, {"a": {"c": 2}})


@pytest.mark.parametrize(("settings", "sentence"), [
    (["epoch=3"], "recipe: unknown option 'epoch'; did you mean 'epochs'?"),
    (["prepare.sise=[3, 3]"], "prepare: unknown option 'sise'; did you mean 'size'?"),
    (["augment.flipp=[0.5]"], "augment: unknown option 'flipp'; did you mean 'flip'?"),
    (["epochs=soon"], "recipe: epochs must be a whole number, got 'soon'"),
    (["epochs"], "--set must read like key=value, got 'epochs'"),
    (["optimiser=adagrad"], "recipe: optimiser must be one of 'sgd', 'adam', 'adamw', 'rmsprop', got 'adagrad'"),
    (["loss=squared"], "recipe: loss must be one of cross_entropy for classification, got 'squared'"),
    (["rate=0"], "recipe: rate must be above 0, got 0"),
    (["outer_folds=1"], "recipe: outer_folds must be 0 or at least 2, got 1"),
    (["epochs=0"], "recipe: epochs must be at least 1 where frozen_epochs is 0, got 0"),
    (["shares=[0.8, 0.2, 0.2]"], "recipe: shares must be shares that sum to 1 at most, got (0.8, 0.2, 0.2)"),
    (["columns.picture=file"], "recipe: columns must speak of id, image, mask, label, group, split, got 'picture'"),
])  # fmt: skip
def test_wrong_settings_are_told_in_the_user_s_words(settings, sentence):
    with pytest.raises(OptionError) as told:
        read_recipe("tumour-types", settings=settings_of(settings))
    assert str(told.value) == sentence


def test_unknown_recipes_and_sizes_are_named():
    with pytest.raises(OptionError, match="unknown recipe 'pumpkin'; did you mean 'pumpkin-age'"):
        read_recipe("pumpkin")
    with pytest.raises(OptionError, match="unknown size 'large'"):
        read_recipe("pumpkin-age", "large")
    with pytest.raises(OptionError, match=r"has no table \[paper\]"):
        read_recipe("hippocampus-seg", "paper")


def test_a_recipe_of_one_s_own_is_a_file(tmp_path):
    (tmp_path / "mine.toml").write_text('task = "classification"\nnetwork = "small_cnn_2d"\n[paper]\nepochs = 99\n')
    assert read_recipe(str(tmp_path / "mine.toml"), "paper").epochs == 99
    (tmp_path / "broken.toml").write_text("task = ")
    with pytest.raises(FileError, match=r"'broken.toml' must be a TOML file"):
        read_recipe(str(tmp_path / "broken.toml"))
    with pytest.raises(FileError, match=r"cannot read recipe 'absent.toml'"):
        read_recipe(str(tmp_path / "absent.toml"))


def test_task_and_network_must_be_given():
    with pytest.raises(OptionError, match="recipe: network must be given"):
        Recipe.of({"task": "regression"})


def test_phases_without_epochs_are_left_out():
    recipe = Recipe(**LEAST, frozen=("blocks.*",), frozen_epochs=2, frozen_rate=0.1, epochs=3, rate=0.01)
    assert [(phase.name, phase.epochs, phase.rate, phase.frozen) for phase in recipe.phases()] == [
        ("frozen", 2, 0.1, ("blocks.*",)),
        ("all", 3, 0.01, ()),
    ]
    assert [phase.name for phase in Recipe(**LEAST, frozen_epochs=2, epochs=0).phases()] == ["frozen"]
