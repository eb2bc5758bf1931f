"""What every loader hands to the dispatcher, and the checks of a file that all of them begin with."""

from dataclasses import dataclass, field
from pathlib import Path

from torch import nn

from voxplain.errors import FileError
from voxplain.score.sliding import SlidingWindow
from voxplain.types import Access, Head

RANDOM = "no --weights were given, so the network's weights are random"
"""The notice on a network that nobody has trained."""


@dataclass(frozen=True, eq=False)
class Loaded:
    """A network as its source gave it, with all that the source tells about it."""

    module: nn.Module = field(repr=False)
    label: str
    """Short name for listings and folders."""
    access: Access | None = None
    """The most a method may ask of it, or None where the module itself decides."""
    reason: str = ""
    """Why access is limited, in words."""
    fixed_batch: int | None = None
    """The only batch size it takes, or None."""
    channels: int | None = None
    """Input channels it wants, where the source says so."""
    rank: int | None = None
    """Spatial dimensions it wants (2 or 3), where the source says so."""
    class_names: tuple[str, ...] = ()
    """Names of the output channels, where the source says so."""
    head: Head = "auto"
    """How its numbers become probabilities, where the source says so."""
    window: SlidingWindow | None = None
    """How it reads images that are larger than its patches, where the source says so."""
    random: bool = False
    """True where the weights are those the network was born with."""
    notices: tuple[str, ...] = ()
    """What was done or noticed while loading, in sentences."""


def existing_file(path: Path, what: str) -> Path:
    """`path` itself if it is a readable file with something in it; raises `FileError` speaking of `what`."""
    try:
        if path.is_dir():
            raise FileError(f"{what} {str(path)!r} must be a file, got a folder")
        if not path.is_file():
            raise FileError(f"{what} {str(path)!r} does not exist")
        if path.stat().st_size == 0:
            raise FileError(f"{what} {str(path)!r} is empty")
        path.open("rb").close()
    except (PermissionError, ValueError) as error:
        raise FileError(f"{what} {str(path)!r} cannot be read: {first_line(error)}") from error
    return path


def first_line(error: BaseException, most: int = 160) -> str:
    """The first line of an error's message, cut to `most` characters; the error's type where it says nothing."""
    lines = str(error).strip().splitlines()
    return lines[0][:most] if lines else type(error).__name__
