"""Training of the example on small made-up pictures."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torchvision.models import squeezenet1_0


@pytest.fixture
def labelled() -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures that are bright in the red, green or blue channel."""
    labels = torch.arange(24) % 3
    pictures = torch.randn(24, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    return pictures + 2 * functional.one_hot(labels, 3)[:, :, None, None], labels


@pytest.fixture
def network(training_example, tmp_path):
    """A SqueezeNet whose 'ImageNet' weights are random."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = squeezenet1_0().state_dict()
        np.savez(tmp_path / "weights.npz", **{name: value.numpy() for name, value in state.items()})
        return training_example.imagenet_squeezenet(tmp_path / "weights.npz", 3)


def test_the_network_keeps_its_best_epoch(training_example, network, labelled, monkeypatch):
    monkeypatch.setattr(training_example, "EPOCHS", 3)
    # So large a rate that later epochs are worse than the start.
    monkeypatch.setattr(training_example, "RATES", (3e-2, 3e-2))
    history = training_example.fine_tune(network, labelled, labelled)
    losses = [entry["loss"] for entry in history]
    found = functional.nll_loss(training_example.probabilities(network, labelled[0]).log(), labelled[1])
    assert losses[-1] > min(losses)
    assert float(found) == pytest.approx(min(losses), rel=0.02, abs=1e-3)


def test_frozen_layers_stay_as_they_were(training_example, network, labelled, monkeypatch):
    monkeypatch.setattr(training_example, "EPOCHS", 1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    training_example.fine_tune(network, labelled, labelled)
    kept = [f"features.{n}." for n in range(training_example.FROZEN)]
    same = [
        torch.equal(before[name], value) for name, value in network.state_dict().items() if name.startswith(tuple(kept))
    ]
    assert same
    assert all(same)


def test_the_first_classifier_separates_what_can_be_separated(training_example):
    features = torch.randn(60, 8, 4, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(60) % 3
    features[range(60), labels] += 3
    features += torch.linspace(-20, 20, 8).reshape(1, -1, 1, 1)
    layer = nn.Conv2d(8, 3, 1)
    training_example._start_classifier(layer, features, labels)
    with torch.no_grad():
        places = layer(features)
    assert (places.mean(dim=(2, 3)).argmax(dim=1) == labels).all()
    assert (places > 0).all(), "no class may start behind a closed ReLU"


def test_augmented_pictures_keep_their_black(training_example):
    pictures = torch.zeros(16, 3, 32, 32)
    pictures[:, :, 12:20, 12:20] = 1
    changed = training_example.augmented(pictures - 2, torch.Generator().manual_seed(0))
    assert torch.allclose(changed.amin(dim=(1, 2, 3)), torch.tensor(-2.0), atol=1e-5)
    assert not torch.allclose(changed[0], changed[1])


def test_augmented_pictures_come_from_the_seed(training_example):
    pictures = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    first, second = (training_example.augmented(pictures, torch.Generator().manual_seed(5)) for _ in range(2))
    assert torch.equal(first, second)
