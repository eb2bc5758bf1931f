"""The plan: what a run was asked to do, as understood and with every default filled in."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.methods import Method
from voxplain.score.model import Model
from voxplain.score.target import Target
from voxplain.spec import table_of, text
from voxplain.study.origin import versions


@dataclass(frozen=True, eq=False)
class Plan:
    """One model, its preparation, and the targets and methods to be run over cases."""

    model: Model
    prepare: Prepare
    targets: tuple[Target | None, ...]
    """None stands for the default: the predicted class, the largest predicted region, or the value."""
    methods: tuple[Method, ...]
    seed: int = 0
    budget: int | None = None
    verify: bool = False
    references: tuple[Image, ...] = ()
    """Images that methods may compare every case with."""
    every: bool = False
    """Every method was asked for: one that cannot explain a case is a refused row and no error."""
    left_out: tuple[str, ...] = ()
    """Which methods of the table were not asked, and why, in sentences."""

    def to_table(self, cases: Sequence[str]) -> dict[str, Any]:
        """As plain values; files appear by the hash of their content, cases by their ids."""
        return {
            "cases": list(cases),
            "model": {
                "name": self.model.label,
                "weights_sha256": self.model.weights_hash,
                "output": self.model.output or "",
                "head": self.model.head,
                **({"sliding_window": self.model.windows} if self.model.windows else {}),
                "class_names": list(self.model.class_names),
            },
            "prepare": table_of(self.prepare),
            "run": {
                "seed": self.seed,
                "device": str(self.model.device),
                "execution": text(self.model.execution, full=True),
                "memory_bytes": self.budget or 0,
                "verify": self.verify,
                "reference_sha256": [one.content_hash for one in self.references],
                "every_method": self.every,
                "left_out": list(self.left_out),
            },
            "targets": [{"name": "default"} if one is None else table_of(one) for one in self.targets],
            "methods": [table_of(one) for one in self.methods],
            "versions": versions(self.model),
        }


def file_name(text: str) -> str:
    """A spec, id or class name as one path component of letters, digits, '.', '_' and '-'.

    Where something was lost, eight digits of a hash keep different texts apart.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.") or "unnamed"
    if plain == text and len(plain) <= 80:
        return plain
    return f"{plain[:60].rstrip('-.')}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
