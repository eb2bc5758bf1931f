"""Which layout a run folder has, for those who write run folders and those who read them."""

LAYOUT = 1
"""Grows when files or columns of a run folder change their meaning; `plan.toml` says it as `layout`."""
