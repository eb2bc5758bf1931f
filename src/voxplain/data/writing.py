"""Files appear whole or not at all: written beside, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from voxplain.errors import FileError


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
