"""Exported programs (`.pt2`): looked through before torch may load them, then unflattened into layers to tap."""

import io
import logging
import zipfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_structure

from voxplain.errors import FileError, InputError, shortened
from voxplain.score.archive import reasons
from voxplain.score.loaded import Loaded, existing_file, first_line
from voxplain.score.trust import demand_trust, is_trusted

LEGACY_MEMBER = "serialized_exported_program.json"
"""What torch 2.7 and earlier wrote at the top of an archive that is unpickled as a whole."""

Shape = tuple[int | None, ...]
"""Sizes of the input (batch, channel, *space); None where any will do."""


def load_exported(source: str, trust: Collection[str] = ()) -> Loaded:
    """The network of a `.pt2` file; `TrustError` where loading could run code, `FileError` if it is damaged."""
    path = existing_file(Path(source), "model")
    content = path.read_bytes()
    _demand_trust(source, content, trust)
    program = _program(source, content)
    shape = _input_shape(source, program)
    module = _network(source, program)
    module.register_forward_pre_hook(InputCheck(shape))
    return Loaded(
        module,
        label=path.stem,
        fixed_batch=shape[0],
        channels=shape[1],
        rank=len(shape) - 2,
        notices=tuple(_notices(program, shape)),
    )


def _demand_trust(source: str, content: bytes, trust: Collection[str]) -> None:
    if is_trusted(trust, source):
        return
    try:
        found = reasons(content)
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        if not _is_legacy(content):
            raise FileError(
                f"model {source!r} must be an exported program (.pt2), but it is damaged or something else"
            ) from error
        found = ["its format, of torch 2.7 or earlier, is unpickled"]
    if found:
        would = f"model {source!r} could run code of its own when loaded ({shortened(found, 2)})"
        demand_trust(trust, would, source)


def _is_legacy(content: bytes) -> bool:
    try:
        return LEGACY_MEMBER in zipfile.ZipFile(io.BytesIO(content)).namelist()
    except zipfile.BadZipFile:
        return False


def _program(source: str, content: bytes) -> torch.export.ExportedProgram:
    """The program of bytes that have been looked through: the file itself may have changed since."""
    try:
        with _quiet("torch.export"):
            return torch.export.load(io.BytesIO(content))
    except Exception as error:  # torch lets many kinds escape from a damaged or foreign program
        raise FileError(
            f"model {source!r} cannot be loaded by torch {torch.__version__}; export it again with this version "
            f"({first_line(error)})"
        ) from error


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Keep torch's own traceback of a failed load off the terminal."""
    logger = logging.getLogger(name)
    before = logger.disabled
    logger.disabled = True
    try:
        yield
    finally:
        logger.disabled = before


def _input_shape(source: str, program: torch.export.ExportedProgram) -> Shape:
    """Sizes of the one input, raising for programs that take anything else than one batch (batch, channel, *space)."""
    names = program.graph_signature.user_inputs
    wanted = f"exported program {source!r} must take one tensor (batch, channel, *space)"
    if len(names) != 1:
        raise InputError(f"{wanted}, got {len(names)} inputs ({shortened(map(str, names))})")
    value: Any = next(node.meta.get("val") for node in program.graph.nodes if node.name == names[0])
    if not isinstance(value, Tensor) or value.ndim not in (4, 5) or not value.is_floating_point():
        raise InputError(f"{wanted}, got {_words(value)}")
    if program.call_spec.in_spec != tree_structure(((value,), {})):
        raise InputError(f"{wanted} as its first argument, got it by name or inside another container")
    return tuple(size if isinstance(size, int) else None for size in value.shape)


def _words(value: object) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _network(source: str, program: torch.export.ExportedProgram) -> nn.Module:
    try:
        module = torch.export.unflatten(program)
    except Exception as error:
        raise InputError(f"exported program {source!r} cannot be split into layers: {first_line(error)}") from error
    # Torch's own check of the input keeps a reference to this very object, so that copies would drag it along;
    # ours says the same in words. The stand-in tensors that it reads can then go: they cannot be copied.
    module.__dict__.pop("process_forward_inputs", None)
    module.check_input_constraints = False
    for part in module.modules():
        for node in getattr(getattr(part, "graph", None), "nodes", ()):
            node.meta.pop("val", None)
    return module


def _notices(program: torch.export.ExportedProgram, shape: Shape) -> Iterator[str]:
    if None not in shape[2:]:
        yield f"the exported program takes images of {' x '.join(map(str, shape[2:]))} only"
    training = {node.target for node in program.graph.nodes if node.op == "call_function" and _trains(node)}
    if training:
        yield "the program was exported in training mode and may answer at random; export model.eval()"


def _trains(node: torch.fx.Node) -> bool:
    """True for a dropout or batch norm whose training argument was frozen as true."""
    places = {"aten.dropout": 2, "aten.batch_norm": 5, "aten.feature_dropout": 2, "aten.instance_norm": -1}
    place = places.get(str(node.target).rpartition(".")[0], -1)
    return 0 <= place < len(node.args) and node.args[place] is True


@dataclass(frozen=True)
class InputCheck:
    """Refuses, before the first operation, an input of other sizes than the program was exported for."""

    shape: Shape
    """(batch, channel, *space), None where any size will do."""

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        """Raise `InputError` unless the input has the sizes of `shape`."""
        got = tuple(inputs[0].shape)
        pairs = zip(self.shape, got, strict=False)
        if len(got) != len(self.shape) or any(size not in (None, own) for size, own in pairs):
            wanted = " x ".join("any" if size is None else str(size) for size in self.shape)
            raise InputError(
                f"the exported program takes {wanted} (batch, channel, *space), got {' x '.join(map(str, got))}"
            )
