"""Which methods are audited where nobody named any."""

from voxplain.types import Access

METHODS = ("grad_cam", "gradient", "integrated_gradients", "lrp")
"""What is audited where no method is named, as far as the model allows."""

WITHOUT_GRADIENTS = ("occlusion",)
"""What is audited of a model that can only be called."""


def default_methods(access: Access) -> tuple[str, ...]:
    """The methods that a model of this access allows."""
    from voxplain.methods import method

    return tuple(name for name in METHODS if method(name).needed_access <= access) or WITHOUT_GRADIENTS
