"""What a trained network says about cases, batch by batch and without changing anything."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from voxplain.training.samples import Samples

Array = npt.NDArray[Any]


def predicted(module: nn.Module, samples: Samples, numbers: Sequence[int], task: str, batch: int = 16) -> Array:
    """Probabilities (case, class), numbers (case,) or labels (case, *space) of the cases `numbers`, in their order."""
    module.eval()
    device = next(module.parameters()).device
    found = []
    with torch.no_grad():
        for start in range(0, len(numbers), batch):
            x = torch.stack([samples.pair(number)[0] for number in numbers[start : start + batch]])
            found.append(_read(module(x.to(device)), task).cpu().numpy())
    return np.concatenate(found) if found else np.empty(0)


def _read(outputs: Tensor, task: str) -> Tensor:
    if task == "classification":
        return outputs.double().softmax(dim=1)
    return outputs.flatten().double() if task == "regression" else outputs.argmax(dim=1).to(torch.uint8)
