"""How a network was run stands in the request, in the plan and in the certificate."""

import numpy as np
import pytest

import voxplain as vx
from tests.score.test_execution import single
from voxplain.cli import main
from voxplain.data.image import Image
from voxplain.data.prepare import Prepare
from voxplain.space.grid import Grid
from voxplain.study.plan import Plan


def picture() -> Image:
    values = np.random.default_rng(0).normal(0, 1, (2, 12, 10, 9)).astype("float32")
    return Image.of(values, Grid((12, 10, 9), np.eye(4)), identifier="case")


def told(single_map: vx.Attribution) -> list[str]:
    return [check.sentence for check in single_map.certificate.checks if check.name == "network"]


def test_the_request_and_the_certificate_tell_prepared_maps_from_others():
    model = vx.Model.of(single(3))
    prepared = vx.explain(model, picture(), "gradient")
    plain = vx.explain(model.run_as(prepared=False), picture(), "gradient")
    assert told(prepared) == ["2 batch norms ran as part of the layer before, which changes rounding only"]
    assert told(plain) == []
    assert prepared.provenance.key != plain.provenance.key
    requests = [dict(one.provenance.request) for one in (prepared, plain)]
    assert [request.pop("execution") for request in requests] == [
        "execution(prepared=True, precision='full', compiled=False)",
        "execution(prepared=False, precision='full', compiled=False)",
    ]
    assert requests[0] == requests[1]


def test_what_half_precision_changed_stands_in_the_certificate():
    found = vx.explain(vx.Model.of(single(3)).run_as(precision="bfloat16"), picture(), "gradient")
    assert any(sentence.startswith("the network ran in bfloat16: on the first image") for sentence in told(found))


def test_plans_that_differ_in_it_are_different():
    plans = [Plan(vx.Model.of(single(3)).run_as(prepared=on), Prepare(), (), ()) for on in (True, False)]
    assert plans[0].to_table([])["run"]["execution"] != plans[1].to_table([])["run"]["execution"]


def test_equal_requests_give_equal_bytes():
    one, other = (vx.explain(vx.Model.of(single(3)), picture(), "smoothgrad(samples=5)") for _ in range(2))
    assert one.provenance.key == other.provenance.key
    assert one.values.tobytes() == other.values.tobytes()


@pytest.mark.parametrize("flags", [["--compile"], ["--precision", "bfloat16"]])
def test_contradicting_flags_are_refused(flags, tmp_path, capsys):
    asked = ["explain", "--model", "small_cnn_2d", "--image", "none.png", "--out", str(tmp_path / "out"), "--as-is"]
    assert main.main([*asked, *flags]) == 2
    assert "--as-is runs the network exactly as it is; leave --precision and --compile out" in capsys.readouterr().err
