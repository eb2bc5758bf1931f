"""Pictures and pages of what a run found: they show numbers and never make any of their own."""

from voxplain.face import answer_calls

answer_calls(__name__, "page:write")
