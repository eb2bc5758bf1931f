"""The memory plan: read, estimated, kept to, and told where it cannot be kept."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile

from tests.nets import Awkward, batch, seeded
from voxplain.errors import InputError, MemoryShort, OptionError
from voxplain.methods import method
from voxplain.score import memory
from voxplain.score.dry import peak_bytes
from voxplain.score.memory import SAFETY, Ledger, available_bytes, parse_bytes, plan_chunk, short_of_memory, words
from voxplain.score.model import Model
from voxplain.score.score import Score

CPU = torch.device("cpu")


# --- words ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("4GB", 4 * 10**9),
        ("4 gb", 4 * 10**9),
        ("512MiB", 512 * 2**20),
        (" 1.5MB ", 1_500_000),
        ("2k", 2000),
        ("3M", 3 * 10**6),
        ("1G", 10**9),
        ("2Ki", 2048),
        ("3mi", 3 * 2**20),
        ("1Gi", 2**30),
        ("7KiB", 7 * 1024),
        ("10kB", 10_000),
        ("1000", 1000),
        ("1000B", 1000),
        ("1e9", 10**9),
    ],
)
def test_amounts_are_read_in_every_usual_spelling(text, amount):
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "GB", "much", "4XB", "4 G B", "4BB", "4iB", "1,5GB", "--1"])
def test_what_is_no_amount_is_told(text):
    with pytest.raises(OptionError, match=r"^memory must read like 4GB or 512MiB, got "):
        parse_bytes(text)


@pytest.mark.parametrize("text", ["0", "0GB", "-4GB", "nan", "inf", "1e999GB", "0.5"])
def test_no_amount_at_all_or_without_end_is_told(text):
    with pytest.raises(OptionError, match=r"^memory must be at least one byte and finite, got "):
        parse_bytes(text)


@pytest.mark.parametrize(("amount", "told"), [(1_340_000_000, "1.3 GB"), (2_000_000, "2.0 MB"), (999_000, "999.0 kB")])
def test_amounts_are_told_with_one_decimal(amount, told):
    assert words(amount) == told


@pytest.mark.parametrize(("amount", "told"), [(1000, "1.0 kB"), (999, "999 bytes"), (5.0, "5 bytes"), (1, "1 byte")])
def test_few_bytes_are_told_as_they_are(amount, told):
    assert words(amount) == told


# --- what is free --------------------------------------------------------------------------------------------------


def group(folder: Path, limit: str, used: int, cached: int) -> Path:
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\nactive_file 5\n")
    return folder


def test_a_control_group_limits_what_is_free_and_cached_files_give_way(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "GROUP", group(tmp_path, "1000000", 900_000, 300_000))
    assert available_bytes(CPU) == 400_000


@pytest.mark.parametrize("limit", ["max", "nonsense"])
def test_a_control_group_without_a_limit_does_not_count(limit, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "GROUP", tmp_path)
    free = available_bytes(CPU)
    group(tmp_path, limit, 900_000, 0)
    assert available_bytes(CPU) == pytest.approx(free, rel=0.2)


def test_what_is_free_is_never_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "GROUP", group(tmp_path, "10", 900_000, 0))
    assert available_bytes(CPU) == 1


def test_a_limit_on_the_address_space_counts(monkeypatch):
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda what: (used + 10**8, used + 10**8))
    assert 5 * 10**7 < available_bytes(CPU) <= 10**8 + 10**7


# --- the estimate --------------------------------------------------------------------------------------------------


def real_peak(module: nn.Module, x: torch.Tensor, backward: bool) -> int:
    """Most bytes torch's allocator held at once, as its profiler counts them."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as seen:
        leaf = x.clone().requires_grad_(backward)
        with torch.set_grad_enabled(backward):
            out = module(leaf.view_as(leaf))
            if backward:
                torch.autograd.grad(out.sum(), leaf)
    now = most = 0
    for event in seen.profiler.kineto_results.events():
        if event.name() == "[memory]":
            now += event.nbytes()
            most = max(most, now)
    return most


def resnet():
    models = pytest.importorskip("torchvision").models
    return models.resnet18(num_classes=3), (1, 3, 64, 64)


def transformer():
    models = pytest.importorskip("torchvision").models
    options = {"num_layers": 2, "num_heads": 2, "hidden_dim": 64, "mlp_dim": 128}
    return models.VisionTransformer(image_size=64, patch_size=8, **options), (1, 3, 64, 64)


def unet():
    nets = pytest.importorskip("monai.networks.nets")
    return nets.UNet(3, 1, 2, channels=(8, 16, 32), strides=(2, 2)), (1, 1, 32, 32, 32)


def dynamic_unet():
    """Registers its parts under two names each, and its convolutions unfold at this size."""
    nets = pytest.importorskip("monai.networks.nets")
    return nets.DynUNet(3, 1, 2, [3, 3, 3], [1, 2, 2], [2, 2], filters=[4, 8, 16]), (1, 1, 24, 24, 24)


def double():
    return Awkward(3, "segmentation").double(), (1, 2, 16, 16, 16)


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize("build", [resnet, transformer, unet, dynamic_unet, double])
def test_the_dry_peak_is_what_torch_really_takes_within_a_factor_of_two(build, backward):
    module, shape = build()
    module = Model.of(module).module
    x = torch.rand(shape, dtype=next(module.parameters()).dtype)
    module(x)  # the allocator's and oneDNN's first time is not what we measure
    share = peak_bytes(module, x, backward) / real_peak(module, x, backward)
    assert 0.6 < share < 2, share


def test_with_the_safety_margin_the_plan_is_never_below_what_torch_takes():
    for build in (resnet, unet, dynamic_unet, double):
        module, shape = build()
        module = Model.of(module).module
        x = torch.rand(shape, dtype=next(module.parameters()).dtype)
        assert SAFETY * peak_bytes(module, x, True) > real_peak(module, x, True)


@pytest.mark.parametrize("rank", [2, 3])
def test_a_larger_image_takes_more_and_a_gradient_more_than_a_call(rank):
    module = seeded(Awkward, rank, "segmentation")
    small, large = batch(rank, count=1, side=8), batch(rank, count=1, side=24)
    assert peak_bytes(module, large, False) > 3 * peak_bytes(module, small, False)
    assert peak_bytes(module, small, True) > peak_bytes(module, small, False)


# --- the plan ------------------------------------------------------------------------------------------------------


def planned(budget: int | None, *, backward: bool = False, x: torch.Tensor | None = None) -> int:
    module = Model.of(seeded(Awkward, 2, "segmentation")).module
    x = batch(2, side=16) if x is None else x
    return plan_chunk(module, x, backward=backward, budget=budget, ledger=Ledger())


@pytest.mark.parametrize("backward", [False, True])
@pytest.mark.parametrize(("room", "chunk"), [(1.01, 1), (1.9, 1), (2.5, 2), (7.9, 7), (500, 64)])
def test_a_chunk_never_exceeds_the_budget_and_fills_it(room, chunk, backward):
    x = batch(2, side=16)
    one = SAFETY * peak_bytes(Model.of(seeded(Awkward, 2, "segmentation")).module, x[:1], backward)
    assert planned(int(room * one), backward=backward) == chunk


def test_no_budget_means_half_of_what_is_free(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda device: 2_000_000)
    assert planned(None) == planned(1_000_000)


def test_a_budget_for_everything_stops_where_larger_chunks_gain_nothing():
    assert planned(10**12) == memory.MOST_SAMPLES["cpu"]


def test_large_samples_go_in_few_at_once_on_a_processor(monkeypatch):
    x = batch(2, side=16)
    module = Model.of(seeded(Awkward, 2, "segmentation")).module
    peak = lambda backward: peak_bytes(module, x[:1], backward)  # noqa: E731
    one = peak(False)
    monkeypatch.setitem(memory.MOST_BYTES, "cpu", int(3.5 * one))
    assert planned(10**12) == 3
    monkeypatch.setitem(memory.MOST_BYTES, "cpu", int(1.75 * peak(True)))
    assert planned(10**12, backward=True) == 3, "twice as much with a backward"
    monkeypatch.setitem(memory.MOST_BYTES, "cpu", one // 2)
    assert planned(10**12) == 1


@pytest.mark.parametrize(
    ("size", "count", "even"), [(8, 50, 8), (8, 10, 5), (8, 8, 8), (16, 3, 3), (4, 9, 3), (1, 7, 1)]
)
def test_samples_are_shared_out_evenly(size, count, even):
    assert memory.evened(size, count) == even
    assert -(-count // even) == -(-count // size)


def test_a_budget_too_small_for_one_sample_is_told_with_both_numbers():
    with pytest.raises(MemoryShort) as caught:
        planned(50_000)
    said = str(caught.value)
    assert said.startswith("one sample of (2, 16, 18) needs about ")
    assert "more than 50.0 kB allowed; raise --memory" in said


def test_a_sample_that_half_of_the_free_memory_cannot_hold_may_take_more(monkeypatch):
    least = next(budget for budget in range(20_000, 4_000_000, 20_000) if _fits(budget))
    for free, fits in ((2 * least, True), (int(1.25 * least), True), (int(1.1 * least), False)):
        monkeypatch.setattr(memory, "available_bytes", lambda device, free=free: free)
        assert _fits(None) is fits


def _fits(budget):
    try:
        planned(budget)
    except MemoryShort:
        return False
    return True


@pytest.mark.parametrize(("name", "value"), [("budget", 0), ("budget", -1), ("chunk", 0), ("chunk", -3)])
def test_a_score_refuses_amounts_of_nothing(name, value):
    with pytest.raises(OptionError, match=rf"^score: {name} must be at least 1, got {value}$"):
        Score(seeded(Awkward, 2, "classification"), "class_score(0)", **{name: value})


def test_a_plan_is_made_once_for_each_shape_and_kind():
    ledger, module = Ledger(), Model.of(seeded(Awkward, 2, "segmentation")).module
    for _ in range(2):
        for side in (8, 16):
            for backward in (False, True):
                plan_chunk(module, batch(2, side=side), backward=backward, budget=10**7, ledger=ledger)
    assert len(ledger.plans) == 4
    assert set(ledger.chunks) == {"forward", "backward"}


class Peeks(Awkward):
    """A network that looks at values, which no dry pass has."""

    def forward(self, x):
        return super().forward(x / max(x.abs().max().item(), 1.0))


def test_a_network_that_cannot_run_dry_goes_one_by_one_and_says_so():
    score = Score(seeded(Peeks, 2, "classification"), "class_score(0)")
    assert torch.isfinite(score(batch(2, count=3))).all()
    assert score.ledger.chunks == {"forward": 1}
    assert score.ledger.fallbacks == ["memory could not be planned for this network, so samples went one by one"]


def test_the_plan_of_a_network_that_registers_parts_twice_leaves_it_usable():
    module, shape = dynamic_unet()
    score = Score(module, "region(1, over='whole')")
    x = torch.rand(shape)
    before = score(x)
    assert torch.equal(score(x), before)
    assert torch.isfinite(method("grad_cam")(score, x).values).all()


# --- running out ---------------------------------------------------------------------------------------------------


class Greedy(Awkward):
    """A network that runs out of memory above `most` samples; what it ran on is kept in a list."""

    def __init__(self, *arguments, most: int = 2, error: Exception | None = None):
        super().__init__(*arguments)
        self.most = most
        self.error = error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    def forward(self, x):
        if len(x) > self.most and x.device.type != "meta":
            raise self.error
        return super().forward(x)


PASSES = {
    "call": lambda score, x: score(x),
    "output": lambda score, x: score.output(x),
    "freeze": lambda score, x: score.freeze(x)[0],
    "grad": lambda score, x: score.grad(x).gradient,
    "tap": lambda score, x: score.tap(x, ["second"]).taps[0].gradient,
    "occlusion": lambda score, x: method("occlusion(window=4)")(score, x).values,
    "integrated_gradients": lambda score, x: method("integrated_gradients(steps=3)")(score, x).values,
}


@pytest.mark.parametrize("name", PASSES)
def test_a_chunk_that_runs_out_of_memory_is_halved_and_the_result_is_the_same(name):
    x = batch(2, count=7)
    greedy = Score(seeded(Greedy, 2, "classification"), "class_score")
    plain = Score(seeded(Awkward, 2, "classification"), "class_score")
    torch.testing.assert_close(PASSES[name](greedy, x), PASSES[name](plain, x), rtol=1e-10, atol=1e-12)
    assert set(greedy.ledger.chunks.values()) == {2}
    first = greedy.ledger.fallbacks[0]
    assert first == "memory ran out with 7 samples at once, went on with 4"
    assert greedy.ledger.fallbacks[-1].endswith("went on with 2")


def test_later_passes_begin_with_the_size_that_worked():
    score, x = Score(seeded(Greedy, 2, "classification"), "class_score(0)"), batch(2, count=7)
    score(x)
    told = len(score.ledger.fallbacks)
    score.grad(x)
    score(x)
    assert score.ledger.chunks["forward"] == 2
    assert len(score.ledger.fallbacks) <= told + 2, "from 7 to 4 to 2 for the first backward, and never again"


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried to allocate"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
    ],
)
def test_every_way_of_running_out_is_known(error):
    assert short_of_memory(error)
    score = Score(seeded(Greedy, 2, "classification", most=1, error=error), "class_score(0)")
    assert score(batch(2, count=3)).shape == (3,)
    assert score.ledger.chunks["forward"] == 1


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ValueError("memory-like")]
)
def test_any_other_error_is_not_taken_for_it(error):
    assert not short_of_memory(error)
    score = Score(seeded(Greedy, 2, "classification", most=0, error=error), "class_score(0)")
    with pytest.raises(InputError, match=r"the model failed on an input"):
        score(batch(2))
    assert score.ledger.fallbacks == []


@pytest.mark.parametrize("name", PASSES)
def test_running_out_with_one_sample_is_told_in_one_sentence(name):
    score = Score(seeded(Greedy, 2, "classification", most=0), "class_score")
    with pytest.raises(
        MemoryShort, match=r"^out of memory with one sample at a time; use a smaller image or a machine"
    ):
        PASSES[name](score, batch(2, count=3))


def test_a_fixed_batch_cannot_be_halved():
    score = Score(Model.of(seeded(Greedy, 2, "classification", most=3), fixed_batch=4), "class_score(0)")
    with pytest.raises(MemoryShort, match=r"^out of memory"):
        score(batch(2, count=4))
    assert score.ledger.fallbacks == []


LIMITED = """
import resource, torch
from pathlib import Path
from torch import nn
from voxplain.errors import MemoryShort
from voxplain.methods import method
from voxplain.score.score import Score

torch.set_num_threads(1)
head = nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(32, 2)
module = nn.Sequential(nn.Conv3d(1, 32, 3, padding=1), nn.ReLU(), *head)
small, large = torch.zeros(1, 1, 16, 16, 16), torch.zeros(2, 1, 160, 160, 160)
method("gradient")(Score(module, "class_score(0)"), small)
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 2**28, resource.RLIM_INFINITY))
for chunk in (None, 2):
    try:
        method("gradient")(Score(module, "class_score(0)", chunk=chunk), large)
    except MemoryShort as error:
        print(error)
method("gradient")(Score(module, "class_score(0)"), small)
print("alive")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit on the address space is Linux's")
def test_an_image_too_large_for_the_process_is_told_and_the_process_lives():
    """With a plan it is refused before the run; with a chunk forced on it, the allocator's failure is told."""
    source = Path(memory.__file__).parents[2]
    environment = {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "PATH": ""}
    command = [sys.executable, "-c", LIMITED]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    refused, ran_out, alive = done.stdout.splitlines()
    assert refused.startswith("one sample of (1, 160, 160, 160) needs about ")
    assert ran_out.startswith("out of memory with one sample at a time; use a smaller image")
    assert alive == "alive"
