"""The rules of trust in one place: what would run code of others is refused until it is trusted by name."""

import shlex
from collections.abc import Collection
from pathlib import PurePath

from voxplain.errors import TrustError


def is_trusted(trust: Collection[str], *names: str) -> bool:
    """True where one of `names` was trusted exactly as typed; only a leading './' makes no difference."""
    given = {trust} if isinstance(trust, str) else trust
    return not {_plain(name) for name in names}.isdisjoint(map(_plain, given))


def demand_trust(trust: Collection[str], would: str, *names: str) -> None:
    """Raise `TrustError` unless one of `names` is trusted; `would` tells what is meant and what it would run."""
    if not is_trusted(trust, *names):
        raise TrustError(f"{would}; add --trust {shlex.quote(names[0])} if you know where it comes from")


def _plain(name: str) -> str:
    return str(PurePath(name))
