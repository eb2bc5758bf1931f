"""Provenance: the request that decides a map bit by bit, and the record of what making it took."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self


@dataclass(frozen=True)
class Provenance:
    """Equal requests promise equal bytes; the record may differ from run to run."""

    request: Mapping[str, Any] = field(default_factory=dict)
    """Hashes of voxels and weights, specs, versions, seed, device, dtype, way of running, chunk size, threads."""
    record: Mapping[str, Any] = field(default_factory=dict)
    """Seconds, model calls, peak memory."""

    @property
    def key(self) -> str:
        """SHA-256 of the request, hexadecimal: the name under which the map may be cached."""
        return hashlib.sha256(json.dumps(self.request, sort_keys=True).encode()).hexdigest()

    def to_table(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"key": self.key, "request": dict(self.request), "record": dict(self.record)}

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """Back from `to_table`."""
        return cls(table.get("request", {}), table.get("record", {}))
