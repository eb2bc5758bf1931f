"""`voxplain explain`: model and image(s) in, run folder out."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxplain.cli import asking, preparing
from voxplain.cli.progress import shown
from voxplain.errors import InputError, OptionError, VoxplainError

if TYPE_CHECKING:
    from voxplain.data.case import Case
    from voxplain.methods import Method
    from voxplain.score.model import Model
    from voxplain.study.plan import Plan
    from voxplain.study.run import Outcome

EXAMPLE = """example:
  voxplain explain --model "torchvision.models:resnet18(num_classes=3)" --weights w.safetensors \\
      --prepare prepare.toml --image t1.nii.gz --method grad_cam --target "class_score(2)" --out results/"""


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    parser.epilog, parser.formatter_class = EXAMPLE, argparse.RawDescriptionHelpFormatter
    asking.add(parser, "the model", asking.MODEL)
    asking.add(parser, "the image", asking.IMAGE)
    preparing.add(parser.add_argument_group("preparation (a file, flags, or both: flags win)"))
    asking.add(parser, "the question", asking.QUESTION)
    asking.add(parser, "the run", asking.RUN)


def run(chosen: argparse.Namespace) -> int:
    """Explain, write the page, and say where it is."""
    _check_asked(chosen)
    from voxplain.report import page
    from voxplain.study.run import check_plan
    from voxplain.study.run import run as run_plan

    plan = _plan(chosen)
    check_plan(plan)
    cases = _cases(chosen)
    try:
        with shown() as (say, tick):
            outcome = run_plan(plan, cases, chosen.out, single=chosen.cases is None, say=say, tick=tick)
    except VoxplainError as error:
        raise _as_typed(error, chosen, cases) from error
    written = page.write(chosen.out)
    _tell(chosen, outcome, written)
    return 3 if outcome.failed else 0


def _check_asked(chosen: argparse.Namespace) -> None:
    if (chosen.image is None) == (chosen.cases is None):
        raise OptionError("explain needs one of --image and --cases")
    if chosen.cases is not None and any(given is not None for given in (chosen.mask, chosen.slice, chosen.id)):
        raise OptionError(
            "with --cases, masks, slices and ids come from the table's columns; leave --mask, --slice and --id out"
        )


def _plan(chosen: argparse.Namespace) -> "Plan":
    from voxplain.methods import method
    from voxplain.score.load import load_model
    from voxplain.score.memory import parse_bytes
    from voxplain.score.target import target
    from voxplain.study.plan import Plan

    prepare = preparing.read(chosen)
    asked = tuple(target(one) for one in chosen.target or ()) or (None,)
    names = tuple(name.strip() for name in (chosen.class_names or "").split(",") if name.strip())
    early = [method(one) for one in chosen.method or () if one != "all"]
    model = load_model(
        chosen.model,
        weights=chosen.weights,
        output=chosen.output,
        head=chosen.head,
        class_names=names,
        trust=chosen.trust,
    ).on(asking.device(chosen.device))
    methods = _all(model) if "all" in (chosen.method or ()) else tuple(early) or _default(model)
    budget = None if chosen.memory is None else parse_bytes(chosen.memory)
    return Plan(model, prepare, asked, methods, chosen.seed, budget, chosen.verify)


def _all(model: "Model") -> "tuple[Method, ...]":
    from voxplain.methods import table

    return tuple(cls() for cls in table().values() if cls.access <= model.access and not cls.needs_reference)


def _default(model: "Model") -> "tuple[Method, ...]":
    from voxplain.methods import method
    from voxplain.types import Access

    return (method("grad_cam" if model.access >= Access.LAYERS else "occlusion"),)


def _cases(chosen: argparse.Namespace) -> "list[Case]":
    from voxplain.data.case import Case, read_cases
    from voxplain.data.load import load_image, load_mask

    if chosen.cases is not None:
        return read_cases(chosen.cases, resample_slices=chosen.resample_slices)
    image = load_image(_sources(chosen.image), identifier=chosen.id, resample_slices=chosen.resample_slices)
    mask = None if chosen.mask is None else load_mask(chosen.mask, like=image)
    return [Case(image.identifier, image, mask=mask, slice=chosen.slice)]


def _sources(given: list[str]) -> "str | dict[str, str]":
    """One path, or channel names to paths: 'flair=a.nii.gz' names a channel unless a file has that very name."""
    named = [one.partition("=") for one in given]
    if len(given) == 1 and (not named[0][1] or Path(given[0]).exists()):
        return given[0]
    if any(not equals or not name or not path for name, equals, path in named):
        raise InputError(
            "several images are channels of one case and need names, such as --image flair=a.nii.gz --image t1=b.nii.gz"
        )
    sources = {name: path for name, _, path in named}
    if len(sources) < len(given):
        raise InputError("each channel must have a name of its own; --image names one twice")
    return sources


def _as_typed(error: VoxplainError, chosen: argparse.Namespace, cases: "list[Case]") -> VoxplainError:
    """An error about the only case, speaking of the file as it was typed instead of the hash that stands for it."""
    if chosen.image is None or chosen.id is not None:
        return error
    return type(error)(str(error).replace(repr(cases[0].identifier), repr(Path(chosen.image[0]).name)))


def _tell(chosen: argparse.Namespace, outcome: "Outcome", page: Path) -> None:
    from voxplain.data.writing import json_text

    if chosen.json:
        document: dict[str, Any] = {"out": str(chosen.out), "page": str(page), "rows": outcome.rows}
        print(json_text(document, indent=1))
        return
    failed = f", {len(outcome.failed)} failed" if outcome.failed else ""
    print(f"{len(outcome.rows)} rows{failed} in {chosen.out}")
    print(f"page: {page}")
