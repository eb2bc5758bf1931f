"""Pictures of a training: what is drawn, where, and from which files."""

import csv
import json

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex
from PIL import Image as Pillow

from voxplain.errors import FileError, InputError
from voxplain.report import training_figures
from voxplain.report.figures import png
from voxplain.report.training_figures import (
    age_histogram,
    confusion,
    curve_grid,
    curves,
    joint,
    residuals,
    write_training_figures,
)

HISTORY = {
    "train_loss": [3.0, 2.0, 1.0],
    "val_loss": [3.5, 2.5, 2.0],
    "train_accuracy": [0.5, 0.7, 0.9],
    "val_accuracy": [0.4, 0.6, 0.8],
}


def lines(axes) -> dict:
    """Label -> line."""
    return {line.get_label(): line for line in axes.get_lines()}


def words(axes) -> list[str]:
    return [text.get_text() for text in axes.texts]


def ages(count: int = 80) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    truth = random.uniform(20, 80, count)
    return truth, truth + random.normal(0, 3, count)


def test_curves_show_loss_and_score_of_both_parts_by_epoch_from_one():
    loss, score = curves(HISTORY).axes
    for axes, column in ((loss, "loss"), (score, "accuracy")):
        drawn = lines(axes)
        assert drawn["training"].get_xdata().tolist() == [1, 2, 3]
        assert list(drawn["training"].get_ydata()) == HISTORY[f"train_{column}"]
        assert list(drawn["validation"].get_ydata()) == HISTORY[f"val_{column}"]


def test_training_and_validation_differ_in_colour_and_dashes():
    drawn = lines(curves(HISTORY).axes[0])
    assert drawn["training"].get_color() != drawn["validation"].get_color()
    assert drawn["training"].get_linestyle() == "-"
    assert drawn["validation"].get_linestyle() != "-"


def test_accuracy_runs_from_0_to_1_and_errors_do_not():
    assert curves(HISTORY).axes[1].get_ylim() == (0, 1)
    ageing = {"train_loss": [9.0, 4.0], "train_mae": [3.0, 2.0]}
    low, high = curves(ageing).axes[1].get_ylim()
    assert (low > 0, high > 3) == (True, True)


def test_a_single_epoch_has_a_tick_and_a_dot():
    axes = curves({"train_loss": [2.0]}).axes[0]
    shown = [place for place in axes.get_xticks() if 0.5 < place < 1.5]
    assert shown == [1]
    assert lines(axes)["training"].get_marker() == "."


def test_a_history_without_score_shows_the_loss_alone():
    assert len(curves({"train_loss": [2.0, 1.0]}).axes) == 1


def test_a_phase_that_begins_is_marked_between_epochs():
    figure = curves({**HISTORY, "phase": [1, 1, 2]})
    marks = [line.get_xdata()[0] for line in figure.axes[0].get_lines() if line.get_linestyle() == ":"]
    assert marks == [2.5]


def test_the_grid_has_a_row_a_fold_and_the_same_axes_in_all():
    folds = [{name: values[: n + 1] for name, values in HISTORY.items()} for n in range(3)]
    figure = curve_grid(folds)
    assert len(figure.axes) == 6
    left, right = figure.axes[::2], figure.axes[1::2]
    assert [axes.get_title(loc="left") for axes in left] == ["fold 0", "fold 1", "fold 2"]
    assert [len(lines(axes)["training"].get_xdata()) for axes in left] == [1, 2, 3]
    assert {axes.get_xlim() for axes in figure.axes} == {(0.5, 3.5)}
    assert len({axes.get_ylim() for axes in left}) == 1
    assert {axes.get_ylim() for axes in right} == {(0, 1)}
    assert {axes.get_ylabel() for axes in right} == {"accuracy"}


def test_grids_are_dashed():
    axes = curve_grid([HISTORY]).axes[0]
    assert {line.get_linestyle() for line in axes.get_xgridlines()} == {"--"}


@pytest.mark.parametrize(
    "history", [{}, {"epoch": [1]}, {"train_loss": []}, {"train_loss": [1.0], "val_loss": [1.0, 2.0]}]
)
def test_a_history_that_cannot_be_drawn_is_refused(history):
    with pytest.raises(InputError, match="a history must have columns"):
        curves(history)


def test_a_grid_of_no_folds_is_refused():
    with pytest.raises(InputError, match="at least one history"):
        curve_grid([])


def test_confusion_counts_stand_where_truth_and_prediction_meet():
    axes, bar = confusion([[8, 2], [1, 9]], ["healthy", "affected"]).axes
    assert words(axes) == ["8\n80 %", "2\n20 %", "1\n10 %", "9\n90 %"]
    assert [text.get_position() for text in axes.texts] == [(0, 0), (1, 0), (0, 1), (1, 1)]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["healthy", "affected"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("prediction", "truth")
    assert np.array_equal(axes.images[0].get_array(), [[0.8, 0.2], [0.1, 0.9]])
    assert bar.get_ylabel() == "share of the class"


def test_numbers_are_white_on_dark_cells_and_black_on_light_ones():
    axes = confusion([[8, 2], [1, 9]], ["a", "b"]).axes[0]
    assert [text.get_color() for text in axes.texts] == ["white", "black", "black", "white"]


def test_a_class_without_cases_has_shares_of_zero():
    axes = confusion([[3, 0], [0, 0]], ["a", "b"]).axes[0]
    assert words(axes)[3] == "0\n0 %"


@pytest.mark.parametrize("matrix", [[[1, 2]], [[1]], []])
def test_a_matrix_must_fit_the_class_names(matrix):
    with pytest.raises(InputError, match="must be 2 by 2"):
        confusion(matrix, ["a", "b"])


def test_predictions_stand_over_their_truths_around_the_line_of_perfect_ones():
    truth, got = ages()
    axes, above, beside = joint(truth, got, "years").axes
    assert np.array_equal(axes.collections[0].get_offsets(), np.stack([truth, got], axis=1))
    (perfect,) = axes.get_lines()
    assert np.array_equal(perfect.get_xdata(), perfect.get_ydata())
    assert axes.get_xlim() == axes.get_ylim()
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("truth (years)", "prediction (years)")
    error = np.abs(got - truth).mean()
    r2 = 1 - ((got - truth) ** 2).sum() / ((truth - truth.mean()) ** 2).sum()
    assert above.get_title() == f"MAE {error:.3g} years, R² {r2:.3g}"
    assert beside.get_ylim() == axes.get_ylim()


def test_the_densities_at_the_sides_are_those_of_truth_and_prediction():
    truth = np.r_[np.full(60, 30.0), np.full(20, 70.0)] + np.random.default_rng(0).normal(0, 1, 80)
    _, above, beside = joint(truth, np.linspace(20, 80, 80), "years").axes
    (along,) = above.get_lines()
    assert along.get_xdata()[along.get_ydata().argmax()] == pytest.approx(30, abs=2)
    (up,) = beside.get_lines()
    assert up.get_ydata()[up.get_xdata().argmax()] == pytest.approx(50, abs=10)


def test_residuals_fall_on_a_cubic_where_they_are_one():
    truth = np.linspace(20, 80, 40)
    error = 1e-4 * (truth - 50) ** 3 - 0.1 * (truth - 40)
    (axes,) = residuals(truth, truth + error, "years").axes
    fit = lines(axes)["cubic fit"]
    x = fit.get_xdata()
    assert fit.get_ydata() == pytest.approx(1e-4 * (x - 50) ** 3 - 0.1 * (x - 40), abs=1e-9)
    assert np.allclose(axes.collections[0].get_offsets(), np.stack([truth, error], axis=1))


@pytest.mark.parametrize("truth", [[5.0], [5.0, 5.0], [5.0, 6.0]])
def test_few_or_equal_truths_are_drawn_without_a_cubic(truth):
    prediction = [value + 1 for value in truth]
    assert "cubic fit" not in lines(residuals(truth, prediction, "years").axes[0])
    assert len(joint(truth, prediction, "years").axes) == 3
    assert len(age_histogram(truth).axes) == 1


def test_the_histogram_has_lines_at_bias_mean_and_median():
    values = np.array([20, 30, 30, 40, 80])
    drawn = lines(age_histogram(values, bias=55).axes[0])
    assert drawn["bias 55.0 years"].get_xdata()[0] == 55
    assert drawn["mean 40.0 years"].get_xdata()[0] == 40
    assert drawn["median 30.0 years"].get_xdata()[0] == 30
    looks = [drawn[name] for name in ("bias 55.0 years", "mean 40.0 years", "median 30.0 years")]
    assert looks[0].get_linestyle() == ":"
    assert len({to_hex(line.get_color()) for line in looks}) == 3
    assert [line.get_linestyle() for line in looks[1:]] == ["--", "--"]


def test_without_a_bias_there_is_no_line_for_it():
    assert not any(name.startswith("bias") for name in lines(age_histogram([20.0, 30.0, 50.0]).axes[0]))


def test_bars_count_all_images_and_the_density_has_their_area():
    values = np.random.default_rng(0).integers(20, 81, 500)
    (axes,) = age_histogram(values).axes
    assert sum(bar.get_height() for bar in axes.patches) == 500
    density = next(line for line in axes.get_lines() if len(line.get_xdata()) > 2)
    area = np.trapezoid(density.get_ydata(), density.get_xdata())
    # Kernels reach beyond both ends of the data, where nothing is drawn.
    assert area == pytest.approx(500 * axes.patches[0].get_width(), rel=0.15)


def test_each_bar_holds_equally_many_whole_years():
    (axes,) = age_histogram(np.random.default_rng(0).integers(20, 81, 500)).axes
    widths = {round(bar.get_width(), 9) for bar in axes.patches}
    assert len(widths) == 1
    assert widths.pop() % 1 == 0


@pytest.mark.parametrize("draw", [joint, residuals])
def test_predictions_that_are_no_numbers_are_refused(draw):
    with pytest.raises(InputError, match="prediction must be finite numbers, at least 1, got 1 that are not"):
        draw([1.0, 2.0], [1.0, np.nan], "years")
    with pytest.raises(InputError, match="equally many, got 2 and 1"):
        draw([1.0, 2.0], [1.0], "years")


def test_no_labels_have_no_histogram():
    with pytest.raises(InputError, match="at least 1, got none"):
        age_histogram([])


FIGURES = {
    "curves": lambda: curves(HISTORY),
    "grid": lambda: curve_grid([HISTORY, HISTORY]),
    "confusion": lambda: confusion([[8, 2], [1, 9]], ["a", "$b$ & _c"]),
    "joint": lambda: joint(*ages(), "years"),
    "residuals": lambda: residuals(*ages(), "years"),
    "ages": lambda: age_histogram(ages()[0], 55.0),
}


@pytest.mark.parametrize("name", FIGURES)
def test_the_users_own_matplotlib_settings_change_nothing(name):
    plain = png(FIGURES[name]())
    with matplotlib.rc_context({"font.family": "serif", "lines.linewidth": 9, "axes.grid": True}):
        assert png(FIGURES[name]()) == plain


def write(path, rows: list[dict]) -> None:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def epochs(**more) -> list[dict]:
    return [more | {"epoch": n + 1} | {name: values[n] for name, values in HISTORY.items()} for n in range(3)]


def test_a_classifiers_folder_gets_curves_and_a_confusion_matrix_a_part(tmp_path):
    write(tmp_path / "history.csv", epochs(phase=1))
    scores = {"accuracy": 0.85, "cases": 20, "confusion": [[8, 2], [1, 9]], "classes": ["a", "b"]}
    (tmp_path / "scores.json").write_text(json.dumps({"val": scores, "test": scores, "seconds": 3}))
    row = {"id": "x", "group": "p", "part": "test", "truth": "a", "prediction": "b", "probability_a": 0.4}
    write(tmp_path / "predictions.csv", [row])
    found = write_training_figures(tmp_path)
    assert [path.name for path in found] == ["curves.png", "confusion-val.png", "confusion-test.png"]
    assert all(path.parent == tmp_path / "figures" for path in found)
    for path in found:
        with Pillow.open(path) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 200


def test_a_regressions_folder_gets_predictions_and_residuals_a_part(tmp_path):
    rows = [
        {"id": n, "group": "", "part": part, "truth": 20.0 + n, "prediction": 21.0 + n}
        for part in ("val", "test")
        for n in range(5)
    ]
    write(tmp_path / "predictions.csv", rows)
    names = [path.name for path in write_training_figures(tmp_path, unit="years")]
    assert names == ["predictions-val.png", "residuals-val.png", "predictions-test.png", "residuals-test.png"]


@pytest.fixture
def labels(monkeypatch):
    """The labels of the axes of all figures that are written."""
    found = []

    def keep(figure, path):
        found.extend(label for axes in figure.axes for label in (axes.get_xlabel(), axes.get_ylabel()))
        return path

    monkeypatch.setattr(training_figures, "save", keep)
    return found


REGRESSION = [{"part": "test", "truth": 20.0 + n, "prediction": 21.0 + n} for n in range(5)]


@pytest.mark.parametrize(("given", "unit"), [(None, "ml"), ("years", "years")])
def test_units_are_those_of_what_was_learnt(tmp_path, labels, given, unit):
    (tmp_path / "model.toml").write_text('task = "regression"\nunit = "ml"\n')
    write(tmp_path / "predictions.csv", REGRESSION)
    write(tmp_path / "history.csv", [{"train_loss": 1, "val_loss": 1, "train_mae": 2, "val_mae": 3}])
    write_training_figures(tmp_path, given)
    there = {f"truth ({unit})", f"prediction ({unit})", f"prediction − truth ({unit})", f"mean absolute error ({unit})"}
    assert there <= set(labels)
    assert {"epoch", "loss"} <= set(labels)


def test_without_a_unit_none_is_told(tmp_path, labels):
    write(tmp_path / "predictions.csv", REGRESSION)
    write_training_figures(tmp_path)
    assert {"truth", "prediction"} <= set(labels)
    assert not any("(" in label for label in labels)


def test_squared_errors_have_the_squared_unit_and_shares_none():
    squared = curves({"train_loss": [1.0], "val_loss": [1.0], "val_mse": [4.0], "train_mse": [4.0]}, unit="years")
    assert squared.axes[1].get_ylabel() == "mean squared error (years²)"
    assert curves(HISTORY, unit="years").axes[1].get_ylabel() == "accuracy"


def test_the_axis_of_ages_has_its_name_and_unit():
    assert age_histogram([20.0, 30.0]).axes[0].get_xlabel() == "age (years)"
    assert age_histogram([2.0, 3.0], unit="ml", quantity="volume").axes[0].get_xlabel() == "volume (ml)"


def test_the_legend_of_the_histogram_covers_no_bar():
    axes = age_histogram(ages()[0]).axes[0]
    assert axes.get_ylim()[1] > 1.25 * max(bar.get_height() for bar in axes.patches)


def test_a_folder_of_folds_gets_a_grid_and_the_curves_of_the_final_run(tmp_path):
    final = [{"fold": 3, "epoch": 1, "train_loss": 1.0, "train_accuracy": 0.9}]
    write(tmp_path / "history.csv", [row for fold in range(3) for row in epochs(fold=fold)] + final)
    assert [path.name for path in write_training_figures(tmp_path)] == ["folds.png", "curves.png"]


def test_an_empty_folder_gets_no_pictures(tmp_path):
    assert write_training_figures(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("scores.json", b"{", "'scores.json' must be JSON"),
        ("history.csv", b"\xff\xfe\x00", "'history.csv' must be a table"),
        ("history.csv", b"epoch,train_loss\n1,low\n", "must hold numbers, got 'low'"),
        ("model.toml", b"unit = ", "'model.toml' must be TOML"),
    ],
)
def test_damaged_files_are_named(tmp_path, name, content, told):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(FileError, match=told):
        write_training_figures(tmp_path)
