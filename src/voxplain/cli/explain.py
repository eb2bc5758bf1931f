"""`voxplain explain`: model and image(s) in, run folder out."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voxplain.cli import asking, dry_run, preparing
from voxplain.cli.progress import shown
from voxplain.errors import InputError, OptionError, VoxplainError

if TYPE_CHECKING:
    from voxplain.data.case import Case
    from voxplain.data.image import Image
    from voxplain.methods import Method
    from voxplain.score.model import Model
    from voxplain.study.plan import Plan
    from voxplain.study.run import Outcome

EXAMPLE = """example:
  voxplain explain --model "torchvision.models:resnet18(num_classes=3)" --weights w.safetensors \\
      --prepare prepare.toml --image t1.nii.gz --method grad_cam --target "class_score(2)" --out results/"""

PLAIN_RUN: dict[str, Any] = {
    "as_is": False, "precision": "full", "compile": False, "verify": False, "seed": 0, "dry_run": False,
}  # fmt: skip
"""Options of a run that commands without them leave as they are."""


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
    check_asked(chosen)
    from voxplain.report import page
    from voxplain.study.run import check_plan
    from voxplain.study.run import run as run_plan

    plan = plan_of(chosen)
    check_plan(plan)
    cases = cases_of(chosen)
    if chosen.dry_run:
        return dry_run.run(plan, cases, as_json=chosen.json)
    try:
        with shown() as (say, tick):
            outcome = run_plan(plan, cases, chosen.out, single=chosen.cases is None, say=say, tick=tick)
    except VoxplainError as error:
        raise as_typed(error, chosen, cases) from error
    written = page.write(chosen.out)
    _tell(chosen, outcome, written)
    return 3 if outcome.failed else 0


def check_asked(chosen: argparse.Namespace) -> None:
    """Raise `OptionError` where options contradict each other."""
    if chosen.as_is and (chosen.compile or chosen.precision != "full"):
        raise OptionError("--as-is runs the network exactly as it is; leave --precision and --compile out")
    if (chosen.image is None) == (chosen.cases is None):
        raise OptionError(f"{chosen.command} needs one of --image and --cases")
    of_one_case = (chosen.mask, chosen.segments, chosen.slice, chosen.id)
    if chosen.cases is not None and any(given is not None for given in of_one_case):
        raise OptionError(
            "with --cases, masks, segments, slices and ids come from the table's columns; "
            "leave --mask, --segments, --slice and --id out"
        )


def plan_of(chosen: argparse.Namespace) -> "Plan":
    """What was asked for: the model, its preparation, targets and methods."""
    from voxplain.methods import method
    from voxplain.score.memory import parse_bytes
    from voxplain.score.target import target
    from voxplain.study.plan import Plan

    prepare = preparing.read(chosen, chosen.model)
    asked = tuple(target(one) for one in chosen.target or ()) or (None,)
    early = [method(one) for one in chosen.method or () if one != "all"]
    model, references = model_of(chosen, chosen.model, chosen.weights), references_of(chosen)
    every = "all" in (chosen.method or ())
    methods, left_out = _all(model, early, compares=bool(references)) if every else (early or _default(model), [])
    budget = None if chosen.memory is None else parse_bytes(chosen.memory)
    run = {"seed": chosen.seed, "budget": budget, "verify": chosen.verify, "references": references}
    return Plan(model, prepare, asked, tuple(methods), **run, every=every, left_out=tuple(left_out))


def model_of(chosen: argparse.Namespace, source: str, weights: Path | None) -> "Model":
    """A model as typed, read and run as the options say."""
    from voxplain.score.load import load_model

    model = load_model(
        source,
        weights=weights,
        output=chosen.output,
        head=chosen.head,
        class_names=tuple(name.strip() for name in (chosen.class_names or "").split(",") if name.strip()),
        trust=chosen.trust,
        sliding_window=chosen.sliding_window,
    ).on(asking.device(chosen.device))
    return model.run_as(prepared=not chosen.as_is, precision=chosen.precision, compiled=chosen.compile)


def _all(model: "Model", given: "list[Method]", *, compares: bool) -> "tuple[list[Method], list[str]]":
    """Every method the model allows, the `given` ones with their options, and sentences on those left out."""
    from voxplain.methods import table
    from voxplain.spec import schema

    found: list[Method] = []
    left_out: list[str] = []
    for name, cls in table().items():
        own = [one for one in given if one.name == name]
        required = [option["name"] for option in schema(cls) if option["required"]]
        if required and not own:
            left_out.append(f'{name} needs options; add --method "{name}({required[0]}=...)"')
            continue
        others = [] if own else [cls()]
        if others and others[0].wants_reference and not compares:
            left_out.append(f"{name} needs reference images; pass --reference")
            continue
        found += [*own, *(one for one in others if one.needed_access <= model.access)]
    return found, left_out


def references_of(chosen: argparse.Namespace) -> "tuple[Image, ...]":
    """The reference images as typed."""
    from voxplain.data.load import load_image

    named = [one.split(",") if "=" in one and not Path(one).exists() else [one] for one in chosen.reference]
    sources = [_sources(parts, "--reference", ",") for parts in named]
    return tuple(load_image(source, resample_slices=chosen.resample_slices) for source in sources)


def _default(model: "Model") -> "list[Method]":
    from voxplain.methods import method
    from voxplain.types import Access

    return [method("grad_cam" if model.access >= Access.LAYERS else "occlusion")]


def cases_of(chosen: argparse.Namespace) -> "list[Case]":
    """The image or the table of images that was given."""
    from voxplain.data.case import Case, read_cases
    from voxplain.data.load import load_image, load_mask

    if chosen.cases is not None:
        return read_cases(chosen.cases, resample_slices=chosen.resample_slices)
    image = load_image(_sources(chosen.image), identifier=chosen.id, resample_slices=chosen.resample_slices)
    mask = None if chosen.mask is None else load_mask(chosen.mask, like=image)
    segments = None if chosen.segments is None else load_mask(chosen.segments, like=image, what="segments")
    return [Case(image.identifier, image, mask=mask, segments=segments, slice=chosen.slice)]


def _sources(given: list[str], flag: str = "--image", joint: str = " --image ") -> "str | dict[str, str]":
    """One path, or channel names to paths: 'flair=a.nii.gz' names a channel unless a file has that very name."""
    named = [one.partition("=") for one in given]
    if len(given) == 1 and (not named[0][1] or Path(given[0]).exists()):
        return given[0]
    if any(not equals or not name or not path for name, equals, path in named):
        example = f"{flag} flair=a.nii.gz{joint}t1=b.nii.gz"
        raise InputError(f"several images are channels of one case and need names, such as {example}")
    sources = {name: path for name, _, path in named}
    if len(sources) < len(given):
        raise InputError(f"each channel must have a name of its own; {flag} names one twice")
    return sources


def as_typed(error: VoxplainError, chosen: argparse.Namespace, cases: "list[Case]") -> VoxplainError:
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
    counts = {"left out": len(outcome.refused), "failed": len(outcome.failed)}
    told = "".join(f", {count} {what}" for what, count in counts.items() if count)
    print(f"{len(outcome.rows)} rows{told} in {chosen.out}")
    print(f"page: {page}")
