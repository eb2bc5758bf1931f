"""The metrics that are asked where none is named."""

DEFAULT = (
    "relevance_mass", "relevance_rank", "pointing_game", "auprc", "deletion", "insertion", "abpc",
    "faithfulness_correlation", "max_sensitivity", "efficient_mprt", "sparseness",
)  # fmt: skip
"""Of every kind, quick, and without a second model."""
