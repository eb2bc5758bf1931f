"""Networks through torch.compile, for passes that nobody looks into; where it fails the network runs as it is."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from voxplain.score.memory import short_of_memory


class Compiled(nn.Module):
    """A network and its compiled form, which is left at the first error."""

    def __init__(self, network: nn.Module, say: Callable[[str], None]) -> None:
        super().__init__()
        self.network = network
        self._say = say
        # The bound call and not the module: the wrapper would be one more child, with the weights in it again.
        self._form: Callable[[Tensor], Any] | None = torch.compile(network.__call__)
        self.eval()

    def forward(self, x: Tensor) -> Any:
        """The network's output for x; a pass on shapes alone plans memory and compiles nothing."""
        if x.is_meta or self._form is None:
            return self.network(x)
        try:
            return self._form(x)
        except Exception as error:
            if short_of_memory(error):
                raise
            self._form = None
            self._say(f"torch.compile failed ({type(error).__name__}), so the network ran as it is")
            return self.network(x)
