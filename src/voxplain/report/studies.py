"""A study with its figures: run, draw, and say where it all is."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from voxplain.study.studies import STUDIES, Say, Study, StudyFolder, name_in, run_study, study_of


def study(
    name: str | Study, *, out: str | Path | None = None, say: Say = lambda line: None, **options: Any
) -> StudyFolder:
    """Run a study (`neuroxai`, `myopathy`, `xception`, `pumpkin`, `chest-view`) from data to figures.

    `options` are `size`, `data`, `seed`, `device` and those of the study. Everything lies in the folder `out`: arrays,
    tables, `numbers.json` and `figures/`. Steps that lie there finished are kept.
    """
    done = run_study(study_of(name, **options), out, say=say)
    say(f"{done.study.name}: drawing")
    write_figures(done.path)
    return done


def write_figures(folder: Path) -> list[Path]:
    """Draw the figures of the study in `folder` into `folder/figures`, from what lies there."""
    module = STUDIES[name_in(folder)].partition(":")[0]
    draw: Callable[[Path], list[Path]] = import_module(f"voxplain.report.{module}").write_figures
    return draw(folder)
