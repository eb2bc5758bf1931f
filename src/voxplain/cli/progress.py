"""How far a run is: a bar on a terminal, plain lines elsewhere; always on standard error."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Say = Callable[[str], None]
Tick = Callable[[int, int], None]


@contextmanager
def shown() -> Iterator[tuple[Say, Tick]]:
    """A function for lines and one for (done, total), as `voxplain.study.run` calls them."""
    if not sys.stderr.isatty():
        yield _say, lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("explaining", total=None)

        def say(line: str) -> None:
            if line.lstrip().startswith("failed"):  # the next line must not wipe this one out
                bar.console.print(line, highlight=False, markup=False)
            else:
                bar.update(task, description=line.strip())

        yield say, lambda done, total: bar.update(task, completed=done, total=total)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
