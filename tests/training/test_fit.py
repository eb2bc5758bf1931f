import io

import pytest
import torch
from rich.console import Console
from torch import nn

from voxplain.errors import InputError
from voxplain.training.fit import accuracy, fit, seeded


def bright_or_dark(count=32):
    """Pictures whose class is the sign of their mean."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(count) % 2
    noise = torch.randn(count, 1, 6, 6, generator=generator)
    return noise + 1.5 * (2 * labels - 1).view(-1, 1, 1, 1), labels


def network():
    with seeded(0):
        features = (nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        return nn.Sequential(*features, nn.Flatten(), nn.Dropout(0.1), nn.Linear(64, 2))


def weights(module):
    return torch.cat([value.flatten() for value in module.state_dict().values()])


def test_learns_a_trivial_task():
    inputs, labels = bright_or_dark()
    module = network()
    assert fit(module, inputs, labels, epochs=8).accuracy >= 0.95


def test_the_loss_falls():
    inputs, labels = bright_or_dark()
    history = fit(network(), inputs, labels, epochs=6).history
    assert len(history) == 6
    assert history[-1] < 0.5 * history[0]


def test_leaves_the_global_random_state_alone():
    inputs, labels = bright_or_dark()
    before = torch.random.get_rng_state()
    fit(network(), inputs, labels, epochs=1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_leaves_the_global_random_state_alone_after_an_error():
    inputs, labels = bright_or_dark()
    module = nn.Linear(3, 2)
    before = torch.random.get_rng_state()
    with pytest.raises(RuntimeError):
        fit(module, inputs, labels, epochs=1)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_same_seed_gives_the_same_weights_whatever_the_global_state():
    inputs, labels = bright_or_dark()
    first, second = network(), network()
    fit(first, inputs, labels, epochs=2, seed=4)
    torch.rand(3)
    fit(second, inputs, labels, epochs=2, seed=4)
    assert torch.equal(weights(first), weights(second))


def test_another_seed_gives_other_weights():
    inputs, labels = bright_or_dark()
    first, second = network(), network()
    fit(first, inputs, labels, epochs=2, seed=4)
    fit(second, inputs, labels, epochs=2, seed=5)
    assert not torch.equal(weights(first), weights(second))


def test_a_last_batch_of_one_does_not_break_batch_norm():
    inputs, labels = bright_or_dark(9)
    module = nn.Sequential(nn.Flatten(), nn.Linear(36, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    assert len(fit(module, inputs, labels, epochs=1, batch=8).history) == 1


class Watched(nn.Linear):
    """A linear layer that keeps the batches it was trained on."""

    def __init__(self):
        with seeded(0):
            super().__init__(1, 2)
        self.batches = []

    def forward(self, x):
        if self.training:
            self.batches.append(x)
        return super().forward(x)


def ramp(count=11):
    """One number a case, and its class."""
    return torch.arange(float(count)).view(-1, 1), (torch.arange(count) > count / 2).long()


def test_every_case_is_seen_once_an_epoch_in_training_mode():
    module = Watched().eval()
    fit(module, *ramp(), epochs=1, batch=4)
    assert sorted(torch.cat(module.batches).flatten().tolist()) == list(range(11))


def test_no_batch_is_larger_than_asked():
    module = Watched()
    fit(module, *ramp(), epochs=1, batch=4)
    assert [len(part) for part in module.batches] == [4, 4, 3]


def test_the_history_weighs_every_case_alike():
    module, (inputs, labels) = Watched(), ramp()
    history = fit(module, inputs, labels, epochs=1, batch=4, learning_rate=1e-12).history
    assert history[0] == pytest.approx(float(nn.functional.cross_entropy(module(inputs).detach(), labels)), rel=1e-5)


def test_gradients_of_one_batch_do_not_reach_the_next():
    module, (inputs, labels) = Watched(), ramp()
    fit(module, inputs, labels, epochs=1, batch=4, learning_rate=1e-12)
    left = module.weight.grad.clone()
    module.zero_grad()
    last = module.batches[-1]
    nn.functional.cross_entropy(module(last), labels[last.flatten().long()]).backward()
    assert torch.allclose(left, module.weight.grad, rtol=1e-4)


def test_the_module_ends_in_evaluation_mode():
    inputs, labels = bright_or_dark(8)
    module = network()
    fit(module, inputs, labels, epochs=1)
    assert not module.training


def test_accuracy_is_the_share_of_right_answers():
    module = nn.Identity()
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0]])
    assert accuracy(module, logits, torch.tensor([0, 1, 1]), batch=2) == pytest.approx(2 / 3)


def test_tells_one_line_an_epoch_where_there_is_no_terminal():
    inputs, labels = bright_or_dark(8)
    written = io.StringIO()
    fit(network(), inputs, labels, epochs=2, progress=Console(file=written), title="training on slices")
    lines = written.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[1].startswith("training on slices: epoch 2 of 2, loss 0.")


def test_many_epochs_take_ten_lines_and_end_with_the_last():
    written = io.StringIO()
    fit(Watched(), *ramp(), epochs=25, progress=Console(file=written), title="ramp")
    lines = written.getvalue().splitlines()
    assert len(lines) <= 10
    assert lines[-1].startswith("ramp: epoch 25 of 25")


def test_draws_a_bar_on_a_terminal():
    inputs, labels = bright_or_dark(8)
    written = io.StringIO()
    terminal = Console(file=written, force_terminal=True, width=80)
    fit(network(), inputs, labels, epochs=2, progress=terminal, title="slices")
    assert "━" in written.getvalue()
    assert "slices" in written.getvalue()


def test_says_nothing_unless_asked(capsys):
    inputs, labels = bright_or_dark(8)
    fit(network(), inputs, labels, epochs=1)
    assert capsys.readouterr() == ("", "")


def test_refuses_labels_that_do_not_fit_the_inputs():
    inputs, labels = bright_or_dark(8)
    with pytest.raises(InputError, match="equally many, at least 2, got 8 and 7"):
        fit(network(), inputs, labels[1:])


@pytest.mark.parametrize(("epochs", "batch"), [(0, 8), (1, 1)])
def test_refuses_counts_that_make_no_sense(epochs, batch):
    inputs, labels = bright_or_dark(8)
    with pytest.raises(InputError, match="epochs must be at least 1 and batch at least 2"):
        fit(network(), inputs, labels, epochs=epochs, batch=batch)
