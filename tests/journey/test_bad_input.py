"""Wrong input on purpose: one sentence in the user's words, exit code 2, nothing written."""

import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch import nn

from tests.journey.conftest import AFFINE, PICTURE
from voxplain.errors import VoxplainError
from voxplain.score.networks import NETWORKS

UNET = "small_unet(spatial_dims=3)"


def refused(done, *words: str) -> None:
    """Assert that a call ended with one sentence that holds these words, and left no output folder."""
    assert done.code == 2, done.err
    assert done.sentence.startswith("voxplain: ")
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.sentence, done.sentence
    assert done.out == ""
    assert not Path("out").exists()


@pytest.mark.parametrize(("name", "content", "words"), [
    ("missing.nii.gz", None, ("missing.nii.gz", "does not exist")),
    ("empty.nii.gz", b"", ("empty.nii.gz", "empty")),
    ("text.nii.gz", b"not an image", ("text.nii.gz", "NIfTI")),
    ("text.png", b"not an image", ("text.png", "picture")),
    ("letter.docx", b"PK", ("letter.docx",)),
    ("pickled.npy", b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'shape': (1,), }", ("pickled.npy",)),
])  # fmt: skip
def test_files_that_are_no_images(explain, files, name, content, words):
    if content is not None:
        (files / name).write_bytes(content)
    refused(explain(image=name), *words)


def test_a_truncated_file(explain, files):
    whole = (files / "t1.nii.gz").read_bytes()
    (files / "cut.nii.gz").write_bytes(whole[: len(whole) // 2])
    refused(explain(image="cut.nii.gz"), "cut.nii.gz", "cut short")


def test_a_folder_without_pictures(explain, files):
    (files / "series").mkdir()
    refused(explain(image="series"), "series")


@pytest.mark.parametrize(("value", "words"), [(np.nan, "finite"), (np.inf, "finite")])
def test_voxels_that_are_no_numbers(explain, value, words):
    values = nibabel.load("t1.nii.gz").get_fdata().copy()
    values[2, 3, 4] = value
    nibabel.save(nibabel.Nifti1Image(values.astype(np.float32), AFFINE), "holes.nii.gz")
    refused(explain(image="holes.nii.gz"), words, "1 ", "holes.nii.gz")


def test_a_constant_image(explain):
    nibabel.save(nibabel.Nifti1Image(np.full((8, 8, 8), 7, np.float32), AFFINE), "flat.nii.gz")
    refused(explain(image="flat.nii.gz"), "flat.nii.gz", "constant", "7")


@pytest.mark.parametrize(("model", "image", "words"), [
    ("small_cnn_3d(channels=2)", "t1.nii.gz", ("wants 2 channels in 3D", "(1, 16, 18, 12)")),
    (PICTURE, "t1.nii.gz", ("2D", "--slice")),
    ("small_cnn_3d", "film.png", ("3D", "film.png")),
])  # fmt: skip
def test_wrong_channels_or_rank_say_what_the_model_wants(explain, model, image, words):
    refused(explain(model=model, image=image), *words)


@pytest.mark.parametrize(("options", "words"), [
    (("--target", "class_score(5)"), ("between 0 and 1, got 5",)),
    (("--target", "class_scor"), ("unknown target 'class_scor'", "did you mean 'class_score'")),
    (("--target", "region(1)"), ("use class_score",)),
    (("--method", "gradcam"), ("unknown method 'gradcam'", "did you mean 'grad_cam'")),
    (("--method", "occlusion(windw=3)"), ("unknown option 'windw'", "did you mean 'window'")),
    (("--method", "occlusion(window=0)"), ("occlusion: window must be at least 1, got 0",)),
    (("--method", "occlusion(window='big')"), ("window must be", "'big'")),
    (("--method", "occlusion(window=4, stride=6)"), ("stride must not exceed the window",)),
    (("--method", "integrated_gradients(steps=0)"), ("steps must be at least 1, got 0",)),
    (("--method", "occlusion(window=__import__('os').getpid())"), ("must read like name(option=value)",)),
    (("--method", "grad_cam(layer='blcks')"), ("unknown layer 'blcks'", "did you mean 'blocks'")),
    (("--memory", "lots"), ("4GB", "'lots'")),
    (("--memory", "20KB"), ("one sample", "--memory")),
    (("--device", "gpu"), ("cpu, cuda", "'gpu'")),
    (("--size", "0,4,4"), ("size must be",)),
    (("--mean", "a"), ("--mean", "'a'")),
    (("--slice", "99"), ("99",)),
    (("--weights", "film.png"), ("film.png", ".safetensors")),
    (("--weights", "gone.safetensors"), ("gone.safetensors", "does not exist")),
    (("--prepare", "gone.toml"), ("gone.toml",)),
    (("--mask", "gone.nii.gz"), ("gone.nii.gz",)),
    (("--image", "t1.nii.gz", "--image", "flair.nii.gz"), ("need names",)),
    (("--image", "a=t1.nii.gz", "--image", "a=flair.nii.gz"), ("name of its own",)),
    (("--cases", "gone.csv"), ("gone.csv",)),
])  # fmt: skip
def test_wrong_options(explain, options, words):
    model = PICTURE if "--slice" in options else "small_cnn_3d"
    refused(explain(*options, model=model), *words)


def test_window_in_mm_on_a_picture_without_mm(explain):
    refused(explain("--method", "occlusion(window_mm=10)", model=PICTURE, image="film.png"), "needs a grid in mm")


def test_an_empty_region(explain):
    refused(explain("--target", "region(1, over='mask')", "--mask", "empty_mask.nii.gz", model=UNET), "region is empty")
    refused(explain("--target", "region(1, over='mask')", model=UNET), "--mask")


def test_an_image_and_a_table_at_once(explain):
    refused(explain("--image", "t1.nii.gz", "--cases", "cases.csv"), "one of --image and --cases")


class Twice(nn.Module):
    """One layer that runs twice and one that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.twice = nn.Conv2d(1, 1, 3, padding=1)
        self.never = nn.Conv2d(1, 1, 3, padding=1)
        self.head = nn.Linear(1, 2)

    def forward(self, x):
        return self.head(self.twice(self.twice(x)).flatten(2).mean(2))


@pytest.mark.parametrize(("layer", "words"), [("twice", "runs 2 times"), ("never", "does not run"), ("head", "no map")])
def test_a_layer_without_one_map(layer, words):
    import voxplain as vx

    score = vx.Score(Twice(), "class_score(0)")
    with pytest.raises(VoxplainError, match=words):
        vx.method(f"grad_cam(layer={layer!r})")(score, torch.randn(1, 1, 8, 8))


def test_a_half_precision_model_is_widened_and_the_certificate_says_so(files):
    import voxplain as vx

    found = vx.explain(NETWORKS["small_cnn_3d"]().half(), "t1.nii.gz", "gradient")
    assert any("half-precision" in check.sentence for check in found.certificate.checks)


def test_a_compiled_model_is_unwrapped_and_the_certificate_says_so(files):
    import voxplain as vx

    found = vx.explain(torch.compile(NETWORKS["small_cnn_3d"]()), "t1.nii.gz", "grad_cam")
    assert any("torch.compile" in check.sentence for check in found.certificate.checks)


def test_a_scripted_model_says_which_access_remains(files):
    import voxplain as vx

    scripted = torch.jit.trace(NETWORKS["small_cnn_3d"]().eval(), torch.randn(1, 1, 16, 18, 12))
    assert vx.explain(scripted, "t1.nii.gz", "gradient").values.any()
    with pytest.raises(
        VoxplainError, match="grad_cam needs layers, but this model offers input gradient: it is TorchScr"
    ):
        vx.explain(scripted, "t1.nii.gz", "grad_cam")


@pytest.mark.parametrize("name", ["os:system", "subprocess:getoutput('touch ran')"])
def test_code_of_others_does_not_run_untrusted(explain, files, name):
    refused(explain(model=name), "--trust")
    assert not (files / "ran").exists()


def test_an_output_folder_that_cannot_be_one(explain, files):
    done = explain("--out", "film.png")
    assert (done.code, "must be a folder" in done.sentence) == (2, True)
    (files / "full").mkdir()
    (files / "full" / "thesis.txt").write_text("mine")
    done = explain("--out", "full")
    assert (done.code, "must be empty or a run folder" in done.sentence) == (2, True)
    assert [path.name for path in (files / "full").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("name", ["plan.toml", "rows.jsonl", "cases/a/case.json"])
def test_a_run_folder_whose_files_are_broken(explain, name):
    assert explain("--id", "a").code == 0
    Path("out", name).write_text("{{{")
    done = explain("--id", "a")
    assert done.code == 2
    assert f"{Path(name).name!r} of the run folder is broken" in done.sentence


def test_a_device_that_cannot_compute(explain, voxplain):
    refused(explain("--device", "meta"), "device 'meta' is not available here")
    refused(voxplain("demo", "--device", "meta", "--out", "out"), "device 'meta' is not available here")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder that nobody can write to")
def test_an_unwritable_output_folder_is_told_before_the_work(explain):
    done = explain("--out", "/proc/voxplain")
    assert (done.code, "writable" in done.sentence) == (2, True)
    assert "gradient" not in done.err


LIMITED = """
import resource, sys
from voxplain.cli.main import main
import torch, voxplain.study.run, voxplain.score.load, voxplain.report.page
torch.set_num_threads(1)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 120 * 2**20,) * 2)
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit on the address space")
def test_out_of_memory_at_one_sample_is_one_sentence(files):
    """Under a real limit of the operating system: 120 MiB more than Python and torch themselves."""
    values = np.random.default_rng(0).normal(size=(150, 150, 120)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, AFFINE), "large.nii.gz")
    asked = [
        "explain",
        "--model",
        "small_cnn_3d(width=32)",
        "--image",
        "large.nii.gz",
        "--method",
        "gradient",
        "--out",
        "out",
    ]
    done = subprocess.run([sys.executable, "-c", LIMITED, *asked], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert "memory" in done.stderr.strip().splitlines()[-1]
    assert not Path("out").exists()
