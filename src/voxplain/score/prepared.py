"""The prepared copy: the user's module unwrapped, copied and frozen; the original is never touched."""

import copy
import hashlib
from dataclasses import dataclass

import torch
from torch import nn

from voxplain.errors import InputError, KindError
from voxplain.score.output import tensors
from voxplain.types import Access

HALF = (torch.float16, torch.bfloat16)


@dataclass(frozen=True)
class Prepared:
    """A copy that is safe to hook, and what was found while making it."""

    module: nn.Module
    access: Access
    reason: str
    """Why the access is limited, in words; empty where it is not."""
    notices: tuple[str, ...]


def prepare(module: nn.Module) -> Prepared:
    """Copy `module` for explaining: no parameter gradients ever, evaluation mode, compiled wrappers taken off."""
    if not isinstance(module, nn.Module):
        raise KindError(f"model must be a torch.nn.Module, got {type(module).__name__}")
    inner, notices = _unwrapped(module)
    scripted = isinstance(inner, torch.jit.ScriptModule)
    twin = _copied(inner)
    for part in list(twin.modules()):
        for name, child in part.named_children():
            plain, found = _unwrapped(child)
            if plain is not child:
                setattr(part, name, plain)
                notices += [notice for notice in found if notice not in notices]
    _evaluation_mode(twin)
    for weight in twin.parameters():  # TorchScript has no requires_grad_ for the whole
        weight.requires_grad_(False)
    if any(tensor.dtype in HALF for tensor in [*twin.parameters(), *twin.buffers()]):
        twin = twin.float()
        notices.append("the model's half-precision weights were widened to float32")
    if scripted:
        return Prepared(twin, Access.GRADIENT, "it is TorchScript, whose inner layers cannot be tapped", tuple(notices))
    return Prepared(twin, Access.RULES, "", tuple(notices))


def _unwrapped(module: nn.Module) -> tuple[nn.Module, list[str]]:
    notices: list[str] = []
    while True:
        if isinstance(getattr(module, "_orig_mod", None), nn.Module):
            module = module._orig_mod  # type: ignore[assignment]
            notices.append("torch.compile was taken off for explaining: backward hooks on compiled code can be lost")
        elif isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            module = module.module
        else:
            return module, notices


def _copied(module: nn.Module) -> nn.Module:
    """A deep copy; what a forward left on the module (a feature map, a normed weight) is copied without its history."""
    kept = [tensor for part in module.modules() for _, tensor in tensors(vars(part)) if not tensor.is_leaf]
    try:
        with torch.no_grad():  # TorchScript copies its weights by operations that would be recorded
            return copy.deepcopy(module, {id(tensor): tensor.detach().clone() for tensor in kept})
    except (RuntimeError, TypeError) as error:
        raise InputError(
            "the model must be copyable to be explained without being changed, "
            f"got {type(module).__name__}: {str(error).splitlines()[0]}"
        ) from error


def _evaluation_mode(module: nn.Module) -> None:
    try:
        module.eval()
    except NotImplementedError:  # exported programs refuse .eval(): their mode was fixed at export
        for part in module.modules():
            part.training = False


def weights_hash(module: nn.Module) -> str:
    """SHA-256 of all parameters and buffers with their names, hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        if not isinstance(tensor, torch.Tensor):
            continue
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        plain = tensor.detach().cpu().contiguous()
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
