"""Many cases: explain, plan, run folder, statistics; the floor where files and networks meet."""
