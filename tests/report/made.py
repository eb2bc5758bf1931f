"""Images, maps and run folders made by hand for the tests of pictures and pages."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from voxplain.data.attribution import Attribution
from voxplain.data.certificate import Certificate, Check
from voxplain.data.image import Image
from voxplain.data.nifti import write_nifti
from voxplain.data.provenance import Provenance
from voxplain.space.grid import Grid
from voxplain.types import Quantity

SHAPE = (20, 24, 16)
RAS = np.diag([2.0, 2.0, 3.0, 1.0])
LPS = np.diag([-2.0, -2.0, 3.0, 1.0])
PIXELS = np.diag([-1.0, -1.0, 1.0, 1.0])


def oblique(degrees: float) -> np.ndarray:
    """An RAS affine turned about the z axis."""
    angle = np.radians(degrees)
    affine = RAS.copy()
    affine[:2, :2] = 2 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return affine


def blob(shape: tuple[int, ...], centre: tuple[float, ...], width: float = 2.0) -> np.ndarray:
    """A lump of height one."""
    gaps = sum((place - middle) ** 2 for place, middle in zip(np.indices(shape), centre, strict=True))
    return np.exp(-gaps / (2 * width**2)).astype(np.float32)


def volume(affine: np.ndarray = RAS, shape: tuple[int, int, int] = SHAPE, **named: Any) -> Image:
    """A volume of mild gradients, 0 outside its middle."""
    values = np.zeros(shape, dtype=np.float32)
    inner = tuple(slice(2, -2) for _ in shape)
    values[inner] = np.linspace(10, 100, values[inner].size).reshape(values[inner].shape)
    return Image.of(values, Grid(shape, affine), **{"identifier": "case a", **named})


def picture(columns: int = 40, rows: int = 30, unit: str = "px", **named: Any) -> Image:
    """A 2D image that gets brighter towards the right."""
    values = np.tile(np.linspace(1, 200, columns, dtype=np.float32)[:, None, None], (1, rows, 1))
    grid = Grid((columns, rows, 1), PIXELS, unit)  # type: ignore[arg-type]
    return Image.of(values, grid, **{"identifier": "case b", "unit": "8-bit grey", **named})


def attribution(
    image: Image, values: np.ndarray | None = None, quantity: Quantity = Quantity.SCORE_UNITS, /, **named: Any
) -> Attribution:
    """A map on the image's grid, by default a lump in its first quarter."""
    shape = image.grid.shape
    own = blob(shape, tuple(count / 4 for count in shape)) if values is None else values
    own = own[None] if own.ndim == 3 else own
    words = {"target_words": "score of class 1 (glioma)", "unit": "logits", **named}
    return Attribution(
        own.astype(np.float32),
        image.grid,
        quantity,
        words.pop("method", "occlusion(window=4)"),
        "class_score(1)",
        **words,
    )


def failed(name: str = "completeness") -> Certificate:
    """A certificate with one failed and one passed check."""
    return Certificate(
        (
            Check("finite", "passed", "all values are finite"),
            Check(name, "failed", "the sum misses the score by 40 %", 0.4),
        )
    )


def provenance(method: str) -> Provenance:
    """What a run records beside a map."""
    return Provenance(
        {"method": method, "seed": 7, "device": "cpu", "versions": {"torch": "2.15.0"}, "weights": "ab" * 32},
        {"seconds": 1.25, "forwards": 34},
    )


class RunMaker:
    """Writes a run folder piece by piece, as a run would."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: list[dict[str, Any]] = []
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "plan.toml").write_text('[model]\nsource = "small_cnn"\n')
        self.finish()

    def case(
        self, image: Image, name: str = "c1", mask: Image | None = None, labels: Image | None = None, **facts: Any
    ) -> None:
        """Write one case; `labels` is its predicted mask."""
        home = self.folder / "cases" / name
        for file, one in (("image", image), ("mask", mask), ("prediction", labels)):
            if one is not None:
                write_nifti(home / f"{file}.nii.gz", one.values, one.grid)
        table = {
            "id": image.identifier,
            "label": "glioma",
            "group": "patient-4711",
            "split": "test",
            "channels": list(image.channels),
            "unit": image.unit,
            "notices": [],
            "grid": {"shape": image.grid.shape, "unit": image.grid.unit, "orientation": image.grid.orientation},
            "prediction": {
                "kind": "classification",
                "class_names": ["healthy", "glioma"],
                "probabilities": [0.125, 0.875],
                "predicted": 1,
                "words": "glioma (0.88)",
            },
            **facts,
        }
        (home / "case.json").write_text(json.dumps(table))

    def map(self, found: Attribution, image: Image, name: str = "occlusion", **row: Any) -> Path:
        """Write one map and its row."""
        relative = f"maps/c1/net/class_score-1/{name}.nii.gz"
        (self.folder / relative).parent.mkdir(parents=True, exist_ok=True)
        found.save(self.folder / relative)
        self.row(case=image.identifier, model="net", target=found.target, method=found.method, map=relative, **row)
        return self.folder / relative

    def row(self, **row: Any) -> None:
        """Add a row to rows.jsonl."""
        self.rows.append({"status": "done", "error": None, "share_in_mask": None, "mask_share": None, **row})
        self.finish()

    def finish(self) -> Path:
        """Write the rows."""
        (self.folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in self.rows))
        return self.folder


def one_map(run: RunMaker, **row: Any) -> Path:
    """A run of one 2D case with one map; returns the map's file."""
    image = picture()
    run.case(image)
    found = attribution(image, method="occlusion(window=4)", provenance=provenance("occlusion(window=4)"))
    return run.map(found, image, **row)
