"""Where the methods and metrics of a run are defined."""

import re
from collections.abc import Iterable


def citations(methods: Iterable[str], metrics: Iterable[str] = ()) -> list[tuple[str, str]]:
    """Name and citation of each method and metric that occurs in these specs, inner methods too, each once."""
    # These tables load the networks' library; a page needs them for nothing else.
    from voxplain.methods import table as method_table
    from voxplain.metrics import table as metric_table

    found: dict[str, str] = {}
    for specs, known in ((methods, method_table()), (metrics, metric_table())):
        for spec in specs:
            for name in re.findall(r"[A-Za-z_]\w*", spec):
                if name in known:
                    found[name] = known[name].citation
    return list(found.items())
