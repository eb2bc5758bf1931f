"""Trains the networks that come with the package, on phantoms, and puts them where the package finds them. An hour.

`python scripts/ship_weights.py [NAME ...] [--work DIR]`: a training that lies finished in the work folder is reused
where its recipe is still the same.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from voxplain.data.prepare import Prepare
from voxplain.data.writing import json_text, written_beside
from voxplain.phantoms import phantom
from voxplain.score.load import load_model
from voxplain.score.released import MODEL, PREPARE, WEIGHTS
from voxplain.score.shipped import FOLDER, facts, shipped
from voxplain.toml import toml

RECIPES = {
    "phantom-pumpkin-age": "pumpkin-age",
    "phantom-tumour-types": "tumour-types",
    "phantom-glioma-seg": "glioma-seg",
}
"""Name in the package -> recipe, which is taken as it stands."""

ANSWERS = Path(__file__).resolve().parents[1] / "tests" / "score" / "shipped_answers.json"
"""What the networks say of phantoms that none was trained on, for the tests to ask again."""

MOST_BYTES = 4_000_000
"""Together."""

FRESH_SEED, FRESH = 2_000_000, 3
"""Seed and count of the phantoms of `ANSWERS`."""


def main() -> int:
    """Train, copy, ask, and say what there is; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(RECIPES)} (default: all)")
    parser.add_argument("--work", type=Path, default=Path("shipped-training"), help="where phantoms and trainings lie")
    chosen = parser.parse_args()
    for name in chosen.names or RECIPES:
        keep(name, trained(RECIPES[name], chosen.work))
    with written_beside(ANSWERS) as beside:
        beside.write_text(json_text({name: answers(name) for name in shipped()}, indent=1) + "\n", encoding="utf-8")
    return told()


def trained(recipe: str, work: Path) -> Path:
    """The folder of the recipe's training on the CPU, named by its request."""
    work.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "voxplain", *shlex.split(command_of(recipe))[1:], "--json"]
    done = subprocess.run(command, cwd=work, check=True, stdout=subprocess.PIPE, text=True)
    return work / str(json.loads(done.stdout)["out"])


def command_of(recipe: str) -> str:
    """What anybody types for the same training."""
    return f"voxplain train {recipe} --device cpu"


def keep(name: str, folder: Path) -> None:
    """Copy what a model is made of; model.toml gets the name here and the command."""
    table: dict[str, Any] = tomllib.loads((folder / MODEL).read_text("utf-8"))
    recipe = table.pop("recipe")
    table |= {"name": name, "command": command_of(RECIPES[name])}
    nested = {f"recipe.{key}": value for key, value in recipe.items() if isinstance(value, Mapping)}
    plain = {key: value for key, value in recipe.items() if not isinstance(value, Mapping)}
    texts = {MODEL: toml({**table, "recipe": plain, **nested}).encode()}
    for file in (WEIGHTS, PREPARE, MODEL):
        with written_beside(FOLDER / name / file) as beside:
            beside.write_bytes(texts.get(file) or (folder / file).read_bytes())


def answers(name: str) -> list[list[float]]:
    """Of each fresh phantom: the value, the logits, or the mean logit of each class over all voxels."""
    made, model = phantom(facts(name)["recipe"]["phantom"]), load_model(name)
    prepare, found = Prepare.read(shipped()[name] / PREPARE), []
    for number in range(FRESH):
        image = made.sample(number, FRESH_SEED).image
        prepared = prepare(image, 2 if image.grid.is_2d else 3)
        output = model(torch.from_numpy(prepared.values)[None])[0]
        found.append(output.flatten(1).mean(dim=1).tolist() if output.ndim > 1 else output.tolist())
    return found


def told() -> int:
    """Sizes and scores of all there is; 1 where it is too much for the package."""
    sizes = {name: sum(file.stat().st_size for file in path.iterdir()) for name, path in shipped().items()}
    for name, size in sizes.items():
        print(f"{name}: {size:,} bytes, {json.dumps(facts(name)['scores'])}")
    total = sum(sizes.values())
    print(f"together: {total:,} of at most {MOST_BYTES:,} bytes")
    return int(total > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
