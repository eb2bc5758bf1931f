"""The benchmark: Voxplain, the libraries one would otherwise take and the floor take turns on the same work."""
