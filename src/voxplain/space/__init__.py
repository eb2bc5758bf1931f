"""Millimetres: affines, grids and the resampling between them (the only place that computes in the world)."""
