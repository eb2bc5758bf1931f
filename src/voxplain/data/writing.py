"""Files appear whole or not at all: written beside, then renamed."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from voxplain.errors import FileError


def json_text(document: Any, indent: int | None = None) -> str:
    """The document as JSON that every reader takes: NaN and infinity, which JSON does not know, become null."""
    return json.dumps(_finite(document), indent=indent, allow_nan=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A temporary path in the same folder that becomes `path` when the block ends well, and vanishes when it does not.

    The suffixes are kept, so that writers which look at them see the right ones.
    """
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        beside.replace(path)
    except OSError as error:
        raise FileError(f"cannot write {path.name!r}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # where even the folder is missing there is nothing to remove
            beside.unlink()
