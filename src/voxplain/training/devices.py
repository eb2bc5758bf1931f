"""Trainings on several devices: Lightning starts the command again for each, and the first one speaks and writes."""

import os
from collections.abc import Mapping

import torch


def leads(environment: Mapping[str, str] = os.environ) -> bool:
    """True in the process of the first device, and where there is one alone."""
    return all(environment.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK"))


def wait_for_all() -> None:
    """Go on when every process has come here; at once where there is one alone."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()
