"""The command `voxplain`: parses, dispatches, and turns errors into one sentence and an exit code.

0 good; 2 the user's error; 3 finished with failed rows; 130 interrupted; 1 a bug.
"""

import argparse
import os
import re
import sys
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from voxplain import __version__
from voxplain.errors import VoxplainError

COMMANDS = {
    "demo": "explain a regression, a classification and a 3D segmentation of phantoms on one page (offline)",
    "explain": "explain what a model says about one image or a table of cases",
    "flow": "show what one method says at every convolution of a network, in one pass",
    "units": "say which channels of a layer respond to which label (network dissection)",
    "influence": "measure which labelled regions of the input drive which output label",
    "fuse": "join the maps of several runs, such as those of several models, into one map a case",
    "simulate": "make images whose truth is known: phantoms with masks and a table",
    "train": "train a network as a recipe says, on data or on simulated images",
    "study": "run one of the five source studies from data to figures, or list them",
    "evaluate": "measure how good maps are: metrics with intervals and tests, beside maps that know nothing",
    "audit": "say what a model looks at and which explanations of it can be trusted, check by check",
    "compare": "hold maps against each other: methods, models, layers, right and wrong predictions",
    "benchmark": "rank methods on phantoms whose truth is known, by networks that learn them on the spot",
    "report": "write the page of a run folder again",
    "feedback": "let readers rate maps without knowing their methods, and collect what they say",
    "figure": "draw one figure of a run folder as PNG, PDF or SVG",
    "view": "look at the images and maps of a run folder in the browser, in 2D and 3D",
    "methods": "list the attribution methods",
    "targets": "list the targets: which number of the model's output is meant",
    "models": "list the networks that have a name of their own, and those that come trained",
    "metrics": "list the metrics",
    "phantoms": "list the phantoms that simulate makes",
}
"""Command -> one line of help; `voxplain.cli.<module>` holds `add` and `run` of each."""

MODULES = dict.fromkeys(("methods", "targets", "models", "metrics", "phantoms"), "listings")
"""Commands that share a module."""

NEGATIVE = re.compile(r"-\.?\d")
"""How a negative number, or a list of numbers of which the first is negative, begins."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    parser = _parser()
    chosen = parser.parse_args(_joined(sys.argv[1:] if arguments is None else arguments))
    if chosen.command is None:
        parser.print_help()
        return 0
    try:
        return int(_module(chosen.command).run(chosen))
    except VoxplainError as error:
        print(f"voxplain: {_one_line(error)}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not _short_of_memory(error):
            raise
        print("voxplain: out of memory; use a smaller image or a machine with more memory", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("voxplain: interrupted; what is done stays, and the same command goes on from there", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone: nobody is left to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _joined(arguments: Sequence[str]) -> list[str]:
    """`--window -100,300` as `--window=-100,300`: argparse would take such a value for an option."""
    joined: list[str] = []
    for one in arguments:
        if joined and joined[-1].startswith("--") and "=" not in joined[-1] and NEGATIVE.match(one):
            joined[-1] += f"={one}"
        else:
            joined.append(one)
    return joined


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="voxplain",
        description="Explains 2D and 3D medical-imaging models in the scan's own geometry. "
        "Research use, never a diagnosis.",
    )
    parser.add_argument("--version", action="version", version=f"voxplain {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, line in COMMANDS.items():
        command = commands.add_parser(name, help=line, description=line[0].upper() + line[1:] + ".")
        _module(name).add(command, name)
    return parser


def _module(command: str) -> ModuleType:
    return import_module(f"voxplain.cli.{MODULES.get(command, command)}")


def _short_of_memory(error: Exception) -> bool:
    """Whether an error from outside a network's pass, where chunks are halved, says that memory is short."""
    if isinstance(error, MemoryError):
        return True
    from voxplain.score.memory import short_of_memory

    return short_of_memory(error)


def _one_line(error: VoxplainError) -> str:
    return " ".join(str(error).split())
