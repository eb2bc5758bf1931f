"""Many cases: explain, plan, run folder, statistics; the floor where files and networks meet."""

from voxplain.face import answer_calls

answer_calls(__name__, "voxplain.report.studies:study")
