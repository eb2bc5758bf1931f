"""The methods of the benchmark, with options of moderate cost on small images."""

from __future__ import annotations

from collections.abc import Sequence

from voxplain.errors import OptionError
from voxplain.methods import Method, method, table
from voxplain.spec import schema, text

MODERATE = {
    "occlusion": "occlusion(window=6, stride=3)",
    "rise": "rise(samples=300)",
    "hierarchical_occlusion": "hierarchical_occlusion(window=12, min_window=3)",
    "lime": "lime(samples=400)",
    "kernel_shap": "kernel_shap(samples=400)",
    "shapley_sampling": "shapley_sampling(samples=8)",
    "partition_shap": "partition_shap(max_evals=200)",
    "integrated_gradients": "integrated_gradients(steps=24)",
    "extremal_perturbation": "extremal_perturbation(steps=30)",
    "guided_ig": "guided_ig(steps=30)",
    "blur_ig": "blur_ig(steps=32)",
    "xrai": "xrai(steps=8)",
    "expected_gradients": "expected_gradients(samples=64)",
    "ensemble": "ensemble(of=['integrated_gradients(steps=24)', 'grad_cam', 'occlusion(window=6, stride=3)'])",
}
"""Name -> spec where the default costs more than a ranking needs, or where an option has no default."""

BESIDES = ("smoothgrad(kind='squared')", "lrp(rules='z_plus')", "grad_cam(layer='blocks.0')")
"""Further forms of methods that are asked beside the defaults."""

QUICK = (
    "gradient", "input_x_gradient", "smoothgrad", "integrated_gradients(steps=24)", "grad_cam", "layer_cam",
    "guided_backprop", "lrp", "deep_lift", "occlusion(window=6, stride=3)",
)  # fmt: skip
"""Methods of a few passes."""


def chosen_methods(asked: Sequence[str] | None, *, quick: bool = False) -> tuple[Method, ...]:
    """The methods as asked, each once; None for the default set, 'all' stands for that set beside others.

    The default set is all of the table, those of other packages with their own defaults. Raises `OptionError` for
    unknown names and options.
    """
    if asked is not None and not asked:
        raise OptionError("at least one method must be asked for, got none; see voxplain methods")
    specs: list[str] = []
    for one in ["all"] if asked is None else asked:
        specs += (QUICK if quick else _every()) if one == "all" else [one]
    made = (method(one) for one in specs)
    return tuple({text(one): one for one in made}.values())


def _every() -> list[str]:
    takes_no_options = [name for name, cls in table().items() if not any(one["required"] for one in schema(cls))]
    names = [name for name in table() if name in MODERATE or name in takes_no_options]
    return [*(MODERATE.get(name, name) for name in names), *BESIDES]
