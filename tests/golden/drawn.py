"""Every figure by name, drawn of phantoms: what `tests/golden/pictures` holds, and `scripts/golden.py` draws."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from matplotlib.figure import Figure

from tests.golden.phantoms import attribution, head, labels, maps, mask, noise, picture, shown, signed
from voxplain.data.image import Image
from voxplain.report import (
    figures,
    figures_ensemble,
    figures_grids,
    figures_layers,
    figures_matrix,
    figures_montage,
    figures_overlay,
    figures_pumpkins,
    figures_relevance,
    figures_rows,
    figures_segments,
    figures_shap,
    figures_statistics,
    figures_trust,
    sheet,
    training_figures,
)
from voxplain.study.ranking import ranking
from voxplain.types import Quantity

HEAD, FILM = head(), picture()
CLASSES = ("background", "oedema", "tumour")
METHODS = ("integrated_gradients", "grad_cam", "occlusion", "lime", "random_map")


def _mask(image: Image) -> Image:
    return Image.of(mask(image).astype(np.float32), image.grid, unit="label", identifier=image.identifier)


def contact_sheet() -> Figure:
    on = sheet.ground(HEAD, _mask(HEAD))
    tiles = [sheet.tile(on, attribution(HEAD, one.values, quantity=one.quantity), one.scale) for one in maps(HEAD)]
    return sheet.draw_sheet(on, tiles, "head-1\nscore of class 1 (glioma)")


def by_modality() -> Figure:
    values = np.stack([signed(HEAD, 0.2), signed(HEAD, 1.0)])
    return figures_rows.draw_by_modality(HEAD, values, Quantity.SCORE_UNITS, unit="logits")


def samples() -> list[figures_grids.Sample]:
    films = [picture(f"film-{n}", shift=3 * n) for n in range(4)]
    truth, said = ("glioma", "glioma", "cyst", "cyst"), ("glioma", "cyst", "cyst", "glioma")
    cams = [shown("grad_cam", np.clip(signed(film), 0, None), Quantity.SALIENCY, unit="") for film in films]
    sure = (0.6, 0.7, 0.8, 0.9)
    return [figures_grids.Sample(*each) for each in zip(films, truth, said, sure, cams, strict=True)]


def right_wrong() -> Figure:
    right, wrong = ([one for one in samples() if one.wrong is flag] for flag in (False, True))
    return figures_grids.draw_right_wrong(right, wrong)


def models() -> Figure:
    weak = [replace(one, predicted="cyst", shown=shown("grad_cam", noise(one.image))) for one in samples()[:2]]
    return figures_grids.draw_models({"strong": samples()[:2], "weak": weak})


def matrix(row_names: tuple[str, ...], *, shared: bool) -> Figure:
    films = [picture(f"film-{n}", shift=3 * n) for n in range(3)]
    columns = [
        figures_matrix.Column(
            film,
            {
                name: shown(name, signed(film, 10.0 ** -(row + 2 * n * shared)))
                for row, name in enumerate(row_names)
                if (row, n) != (1, 2)
            },
            f"{film.identifier}, predicted cyst{', WRONG' * (n == 1)}",
            wrong=n == 1,
            mask=mask(film),
        )
        for n, film in enumerate(films)
    ]
    return figures_matrix.draw_matrix(columns, shared=shared, title="by cases")


def segments() -> figures_segments.Segments:
    i, j = np.indices((64, 48))
    cut = (i // 11 * 5 + j // 10)[..., None]
    weights = np.stack(
        [np.bincount(cut.ravel(), signed(FILM).ravel()), np.bincount(cut.ravel(), -signed(FILM).ravel())]
    )
    return figures_segments.Segments(cut, weights, ("glioma", "cyst"), "logits")


def shap() -> Figure:
    return figures_shap.draw_shap([(FILM, {"glioma": signed(FILM), "cyst": -0.5 * signed(FILM)})], unit="logits")


def layers() -> list:
    return [
        shown(f"block{n}.conv", signed(HEAD, 10.0**-n, 2 + n) * (n != 3), Quantity.RELEVANCE) for n in range(5)
    ]  # fmt: skip


def layer_rows() -> Figure:
    said = {"healthy": 0.125, "glioma": 0.875}
    return figures_layers.draw_layers(HEAD, layers()[:3], probabilities=said, truth="glioma", predicted="glioma")


def pumpkin(age: float = 62.0) -> figures_pumpkins.Pumpkin:
    marks = np.array([[44, 14], [40, 20]])
    return figures_pumpkins.Pumpkin(FILM, age / 60 * signed(FILM, 4.0), age, age + 2.5, marks[:1], marks[1:])


def relevance_sums() -> Figure:
    ages = np.linspace(20, 80, 30)
    return figures_relevance.draw_relevance_sums(0.9 * (ages - 48) + 3 * np.sin(ages), ages, 50.0)


def fused() -> Figure:
    members = maps(FILM)[:3]
    common = np.clip(signed(FILM), 0, None)
    votes = np.rint(3 * common) / 3
    related = [[1, 0.7, -0.2], [0.7, 1, 0.1], [-0.2, 0.1, 1]]
    return figures_ensemble.draw_fused(FILM, members, common, agreement=votes, correlations=related)


def levels() -> Figure:
    steps = np.rint(3 * np.clip(signed(FILM, width=6), 0, None))
    parts = {f"level {n}": (steps >= n).astype(float) for n in (1, 3)}
    counters = {"predicted_as_glioma": 3, "informative_as_glioma": 2}
    return figures_ensemble.draw_levels(FILM, steps, highest=3, parts=parts, counters=counters)


def error() -> Figure:
    wide = 0.15 + 0.3 * np.abs(signed(HEAD, width=6))
    return figures_trust.draw_error(HEAD, shown("rise", signed(HEAD)), wide.astype(np.float32))


def deletion() -> Figure:
    x = np.linspace(0, 1, 21)
    found = []
    for name, speed in zip(METHODS, (7, 5, 4, 2.5, 1), strict=True):
        y, wide = 0.9 * np.exp(-speed * x), 0.03 + 0.04 * x
        told = f"area {np.trapezoid(y, x):.2f}"
        found.append(figures_statistics.Curve(name, x, y, y - wide, y + wide, told, control=name == "random_map"))
    return figures_statistics.draw_curves(
        found, y_label="probability of glioma", interval="95 % of 50 patients", title="Deletion, lower is better"
    )


def scores() -> dict[str, np.ndarray]:
    random = np.random.default_rng(3)
    hard = random.uniform(0, 0.3, 24)
    return {
        name: np.clip(level - hard + random.normal(0, 0.06, 24), 0, 1)
        for name, level in zip(METHODS, (0.8, 0.75, 0.73, 0.55, 0.3), strict=True)
    }


def distributions() -> Figure:
    values = scores()
    values["lime"][:3] = np.nan
    return figures_statistics.draw_distributions(
        values, quantity="share of the evidence inside the mask", better="higher", chance=0.08
    )


def ages() -> tuple[np.ndarray, np.ndarray]:
    truth = np.linspace(20, 80, 40).round()
    return truth, 0.9 * truth + 6 + 3 * np.sin(3 * truth)


HISTORY = {
    "train_loss": [3.0, 2.0, 1.4, 1.0, 0.8],
    "val_loss": [3.2, 2.3, 1.9, 1.8, 1.85],
    "train_accuracy": [0.4, 0.6, 0.75, 0.85, 0.9],
    "val_accuracy": [0.35, 0.55, 0.65, 0.7, 0.69],
    "phase": [0, 0, 1, 1, 1],
}

FIGURES: dict[str, Callable[[], Figure]] = {
    "planes": lambda: figures.draw(HEAD, attribution(HEAD), mask=_mask(HEAD)),
    "flat-noise": lambda: figures.draw(FILM, attribution(FILM, noise(FILM, 1e-4))),
    "flat-constant": lambda: figures.draw(FILM, attribution(FILM, np.full(FILM.grid.shape, 0.3))),
    "flat": lambda: figures.draw(FILM, attribution(FILM), mask=_mask(FILM)),
    "sheet": contact_sheet,
    "overlay": lambda: figures_overlay.draw_overlay(HEAD, maps(HEAD)[0], outlines={"lesion": mask(HEAD)}),
    "montage": lambda: figures_montage.draw_montage(HEAD, maps(HEAD)[0], slices=11, columns=4, mask=mask(HEAD)),
    "montage-coronal": lambda: figures_montage.draw_montage(HEAD, maps(HEAD)[3], slices=5, columns=3, plane="coronal"),
    "methods": lambda: figures_rows.draw_methods(HEAD, maps(HEAD), prediction=labels(HEAD), class_names=CLASSES),
    "methods-shared": lambda: figures_rows.draw_methods(FILM, maps(FILM)[::4], shared=True),
    "single-3": lambda: figures_rows.draw_single(FILM, maps(FILM)[2], class_name="glioma"),
    "single-5": lambda: figures_rows.draw_single(HEAD, maps(HEAD)[0], prediction=labels(HEAD), class_names=CLASSES),
    "modalities": by_modality,
    "comparison": lambda: figures_rows.draw_comparison(
        FILM,
        {
            one.name: [replace(one, name="glioma"), replace(one, name="cyst", values=-one.values)]
            for one in maps(FILM)[:2]
        },
    ),
    "grid": lambda: figures_grids.draw_grid(samples()),
    "right-wrong": right_wrong,
    "models": models,
    "catalogue": lambda: next(figures_grids.draw_catalogue(samples())),
    "matrix": lambda: matrix(("occlusion", "grad_cam", "lime"), shared=False),
    "matrix-layers": lambda: matrix(("layer1", "layer4"), shared=True),
    "segments-best": lambda: figures_segments.draw_best(FILM, segments(), 0),
    "segments-outlines": lambda: figures_segments.draw_outlines(FILM, segments(), 0),
    "segments-signed": lambda: figures_segments.draw_signed([("film-1", FILM, segments())]),
    "segments-weights": lambda: figures_segments.draw_weights(FILM, segments()),
    "shap": shap,
    "layers": layer_rows,
    "flow": lambda: figures_layers.draw_flow(HEAD, layers(), columns=3, prediction=mask(HEAD)),
    "relevance": lambda: figures_pumpkins.draw_heat_map(pumpkin(), pointers=True),
    "relevance-gallery": lambda: figures_pumpkins.draw_gallery([pumpkin(40), pumpkin(25), pumpkin(70)], columns=2),
    "relevance-sums": relevance_sums,
    "ensemble-stack": lambda: figures_ensemble.draw_stack(FILM, maps(FILM)[:4], columns=3),
    "ensemble": fused,
    "levels": levels,
    "error": error,
    "agreement": lambda: figures_trust.draw_agreement(FILM, maps(FILM)[:3]),
    "curves": deletion,
    "distributions": distributions,
    "ranks-nemenyi": lambda: figures_statistics.draw_critical_difference(ranking(scores(), test="nemenyi")),
    "ranks-wilcoxon": lambda: figures_statistics.draw_critical_difference(ranking(scores()), title="Inside the mask"),
    "training-curves": lambda: training_figures.curves(HISTORY, "small_cnn"),
    "training-folds": lambda: training_figures.curve_grid([HISTORY, HISTORY]),
    "confusion": lambda: training_figures.confusion([[18, 2, 0], [3, 15, 2], [0, 4, 16]], CLASSES),
    "predictions": lambda: training_figures.joint(*ages(), unit="years"),
    "residuals": lambda: training_figures.residuals(*ages(), unit="years"),
    "age-histogram": lambda: training_figures.age_histogram(ages()[0], 48.5),
}
"""Figure name -> draws it."""
