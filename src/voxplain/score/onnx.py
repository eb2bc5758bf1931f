"""ONNX files, run by onnxruntime: outputs only, so methods that need no more than calls remain."""

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from voxplain.errors import FileError, InputError, missing_extra, shortened
from voxplain.score.loaded import Loaded, existing_file, first_line
from voxplain.types import Access

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

FLOATS: dict[str, type[np.floating[Any]]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
}

REASON = "it is an ONNX file, which has outputs but no gradients or layers"


def load_onnx(source: str) -> Loaded:
    """The network of an `.onnx` file; raises `FileError` where onnxruntime cannot read it."""
    path = existing_file(Path(source), "model")
    module = OnnxNetwork(source, _session(path))
    sizes = module.sizes
    return Loaded(
        module,
        label=path.stem,
        access=Access.CALLS,
        reason=REASON,
        fixed_batch=sizes[0],
        channels=sizes[1],
        rank=len(sizes) - 2,
    )


def _session(path: Path) -> "InferenceSession":
    try:
        import onnxruntime
    except ImportError as error:
        raise missing_extra("onnxruntime", "onnx", f"model {str(path)!r}") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's own kinds have no common base below Exception
        raise FileError(f"model {str(path)!r} is not a readable ONNX file: {_reason(error)}") from error


def _reason(error: BaseException) -> str:
    """The part of onnxruntime's message that comes after its own codes and paths."""
    return first_line(ValueError(str(error).split(" : ")[-1].split(" failed:")[-1]))


class OnnxNetwork(nn.Module):
    """A session as a network: a batch in; a tensor out, or a dict of them by name where there are several."""

    digest: Tensor

    def __init__(self, source: str, session: "InferenceSession") -> None:
        super().__init__()
        inputs = session.get_inputs()
        wanted = f"ONNX file {source!r} must take one float tensor (batch, channel, *space)"
        if len(inputs) != 1:
            raise InputError(f"{wanted}, got {len(inputs)} inputs ({shortened(entry.name for entry in inputs)})")
        if inputs[0].type not in FLOATS or len(inputs[0].shape) not in (4, 5):
            raise InputError(f"{wanted}, got {inputs[0].type} of shape {inputs[0].shape}")
        self.session = session
        self.input = inputs[0].name
        self.number = FLOATS[inputs[0].type]
        self.sizes = tuple(size if isinstance(size, int) and size > 0 else None for size in inputs[0].shape)
        self.outputs = [entry.name for entry in session.get_outputs()]
        # The weights lie inside the session; their hash stands in for them where a model's identity is asked for.
        content = hashlib.sha256(Path(source).read_bytes()).digest()
        self.register_buffer("digest", torch.frombuffer(bytearray(content), dtype=torch.uint8))

    def forward(self, x: Tensor) -> Tensor | dict[str, Tensor]:
        """Outputs for a batch (batch, channel, *space), as float32 on the input's device."""
        array = np.ascontiguousarray(x.detach().cpu().numpy(), dtype=self.number)
        try:
            found = self.session.run(None, {self.input: array})
        except Exception as error:
            raise InputError(f"the ONNX model failed on an input of {tuple(x.shape)}: {_reason(error)}") from error
        tensors = [torch.from_numpy(np.array(value, dtype=np.float32)).to(x.device) for value in found]
        return tensors[0] if len(tensors) == 1 else dict(zip(self.outputs, tensors, strict=True))

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """The same network: a session never changes and cannot be copied."""
        return self
