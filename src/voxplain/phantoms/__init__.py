"""Made-up images with a known cause: what a correct explanation must find is written down while they are made."""

from voxplain.phantoms.lesion import CLASS_NAMES, Phantom, lesion_slices, lesion_volumes

__all__ = ["CLASS_NAMES", "Phantom", "lesion_slices", "lesion_volumes"]
