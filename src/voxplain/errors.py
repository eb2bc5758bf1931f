"""Every error Voxplain raises on purpose, each one sentence in the user's words.

    VoxplainError
    ├── InputError      (ValueError)       a value, shape or combination that cannot work
    │   └── OptionError                    an option of a method, target, metric or command
    ├── KindError       (TypeError)        an object of the wrong kind
    ├── FileError       (OSError)          a file or folder that cannot be read or written
    ├── TrustError      (PermissionError)  code of others that nobody has trusted by name
    ├── MissingExtra    (ImportError)      an optional package that is not installed
    └── MemoryShort     (MemoryError)      not even one sample fits the memory budget

The command line prints these without a traceback and exits with 2; any other exception is a bug.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class VoxplainError(Exception):
    """Root of all errors that speak to the user."""


class InputError(VoxplainError, ValueError):
    """A value, a shape or a combination of them that cannot work."""


class OptionError(InputError):
    """An option of a method, target, metric or command is unknown or out of its range."""


class KindError(VoxplainError, TypeError):
    """An object of the wrong kind."""


class FileError(VoxplainError, OSError):
    """A file or folder that cannot be read or written."""


class TrustError(VoxplainError, PermissionError):
    """Something that would run code of others and was not trusted by name."""


class MissingExtra(VoxplainError, ImportError):
    """An optional package that is not installed."""


class MemoryShort(VoxplainError, MemoryError):
    """Not even one sample fits the memory budget."""


def missing_extra(package: str, extra: str, purpose: str) -> MissingExtra:
    """The error for an optional `package` that is not installed, with the command that installs it."""
    return MissingExtra(f"{purpose} needs the package {package!r}; install it with: pip install 'voxplain[{extra}]'")


def suggestion(name: str, known: Iterable[str]) -> str:
    """'; did you mean ...?' for the nearest known name, else '; choose from ...'."""
    names = sorted(known)
    near = get_close_matches(name, names, n=1, cutoff=0.6)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; choose from {shortened(names)}" if names else ""


def unknown(kind: str, name: str, known: Iterable[str]) -> OptionError:
    """The error for a `name` that no `kind` (method, option, layer ...) has."""
    return OptionError(f"unknown {kind} {name!r}{suggestion(name, known)}")


def shortened(names: Iterable[str], most: int = 8) -> str:
    """Names joined by commas, cut after `most` with a count of the rest."""
    listed = list(names)
    rest = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {rest} more" if rest > 0 else "")
