import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.score.payloads import Payload, batch, checkpoint, pickled, small_network
from voxplain.errors import FileError, InputError, TrustError
from voxplain.score.weights import load_weights, read_weights


def state(seed=5):
    return small_network(seed=seed).state_dict()


def write_npz(path, weights):
    np.savez(path, **{name: tensor.numpy() for name, tensor in weights.items()})


WRITERS = {
    "w.safetensors": lambda path, weights: save_file(weights, path),
    "w.npz": write_npz,
    "w.pt": lambda path, weights: torch.save(weights, path),
    "w.pth": lambda path, weights: torch.save(weights, path, _use_new_zipfile_serialization=False),
    "w.ckpt": lambda path, weights: torch.save({"state_dict": weights, "epoch": 3}, path),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_network_with_loaded_weights_answers_exactly_as_the_original(tmp_path, name):
    original, network, x = small_network(seed=5), small_network(seed=6), batch(2, 1, 8, 8)
    WRITERS[name](tmp_path / name, original.state_dict())
    load_weights(network, tmp_path / name)
    assert torch.equal(network(x), original(x))
    assert not torch.equal(small_network(seed=6)(x), original(x))


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model", "net"])
def test_a_wrapping_dictionary_is_opened_with_a_notice(tmp_path, key):
    torch.save({"epoch": 7, key: state(), "optimizer": {"lr": 0.1}}, tmp_path / "w.pt")
    notices = load_weights(small_network(), tmp_path / "w.pt")
    assert notices == (f"the weights were taken from the entry {key!r} of {str(tmp_path / 'w.pt')!r}",)


@pytest.mark.parametrize("prefix", ["module.", "model.", "net.", "_orig_mod."])
def test_a_wrappers_prefix_is_taken_off_with_a_notice(tmp_path, prefix):
    original, network, x = small_network(seed=5), small_network(seed=6), batch(2, 1, 8, 8)
    torch.save({prefix + name: tensor for name, tensor in original.state_dict().items()}, tmp_path / "w.pt")
    notices = load_weights(network, tmp_path / "w.pt")
    assert torch.equal(network(x), original(x))
    assert notices == (f"the prefix {prefix!r} was taken off the names of the weights",)


def test_two_prefixes_are_taken_off_one_after_the_other(tmp_path):
    torch.save({f"model.module.{name}": tensor for name, tensor in state().items()}, tmp_path / "w.pt")
    assert len(load_weights(small_network(), tmp_path / "w.pt")) == 2


def test_a_prefix_that_belongs_to_the_network_stays(tmp_path):
    network = torch.nn.ModuleDict({"model": small_network()})
    torch.save(network.state_dict(), tmp_path / "w.pt")
    assert load_weights(network, tmp_path / "w.pt") == ()


def test_missing_unexpected_and_reshaped_names_are_listed(tmp_path):
    weights = state()
    weights["other.weight"] = weights.pop("conv.weight")
    weights["fc.weight"] = torch.zeros(7, 4)
    torch.save(weights, tmp_path / "w.pt")
    with pytest.raises(InputError) as caught:
        load_weights(small_network(), tmp_path / "w.pt")
    assert str(caught.value) == (
        f"weights {str(tmp_path / 'w.pt')!r} do not fit the model: 1 missing (conv.weight); "
        "1 unexpected (other.weight); 1 of another shape (fc.weight (7, 4) for (3, 4))"
    )


def test_long_lists_of_names_are_shortened(tmp_path):
    weights = state() | {f"extra.{number}": torch.zeros(1) for number in range(50)}
    torch.save(weights, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"50 unexpected \(extra.0, extra.1, extra.2, extra.3 and 46 more\)$"):
        load_weights(small_network(), tmp_path / "w.pt")


def test_a_network_that_does_not_fit_keeps_its_own_weights(tmp_path):
    weights = state()
    del weights["fc.bias"]
    torch.save(weights, tmp_path / "w.pt")
    network = small_network()
    with pytest.raises(InputError, match=r"1 missing"):
        load_weights(network, tmp_path / "w.pt")
    assert all(torch.equal(tensor, small_network().state_dict()[name]) for name, tensor in network.state_dict().items())


def test_batch_counters_of_norms_may_be_missing(tmp_path):
    weights = state()
    del weights["norm.num_batches_tracked"]
    save_file(weights, tmp_path / "w.safetensors")
    assert load_weights(small_network(), tmp_path / "w.safetensors") == ()


def test_no_common_name_at_all_shows_names_of_both_sides(tmp_path):
    torch.save({"a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(
        InputError, match=r"share no name with the model: the file has a, b, the model wants conv.weight"
    ):
        load_weights(small_network(), tmp_path / "w.pt")


def test_names_that_fit_nowhere_are_shown_as_the_file_has_them(tmp_path):
    torch.save({"model.a": torch.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"the file has model\.a, "):
        load_weights(small_network(), tmp_path / "w.pt")


def test_weights_that_are_not_finite_are_refused(tmp_path):
    weights = state()
    weights["fc.bias"][1] = float("nan")
    torch.save(weights, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"must be finite, got NaN or infinity in fc.bias$"):
        load_weights(small_network(), tmp_path / "w.pt")


def test_half_precision_weights_enter_a_float32_network(tmp_path):
    network = small_network()
    save_file({name: tensor.half() for name, tensor in state().items()}, tmp_path / "w.safetensors")
    load_weights(network, tmp_path / "w.safetensors")
    assert network.conv.weight.dtype == torch.float32


@pytest.mark.parametrize("name", ["w.pt", "w.pth"])
def test_a_pickled_checkpoint_is_refused_and_nothing_of_it_runs(tmp_path, name):
    path = checkpoint(tmp_path / name, tmp_path / "ran")
    with pytest.raises(
        TrustError, match=r"is a pickled checkpoint and would run its own code when loaded; add --trust "
    ):
        load_weights(small_network(), path)
    assert not (tmp_path / "ran").exists()


def test_a_plain_pickle_is_refused_and_does_not_run(tmp_path):
    (tmp_path / "w.pt").write_bytes(pickled(tmp_path / "ran"))
    with pytest.raises(TrustError):
        load_weights(small_network(), tmp_path / "w.pt")
    assert not (tmp_path / "ran").exists()


def test_trust_in_another_file_does_not_help(tmp_path):
    path = checkpoint(tmp_path / "w.pt", tmp_path / "ran")
    with pytest.raises(TrustError):
        read_weights(path, ["w.pt", str(tmp_path)])
    assert not (tmp_path / "ran").exists()


def test_a_pickled_checkpoint_loads_when_trusted_by_name(tmp_path):
    path = tmp_path / "w.pt"
    torch.save({"state_dict": state(), "by": Payload(tmp_path / "ran")}, path)
    load_weights(small_network(), path, [str(path)])
    assert (tmp_path / "ran").exists()  # which also shows that the payload of the tests above is a live one


def test_an_object_array_in_npz_is_never_unpickled(tmp_path):
    np.savez(tmp_path / "w.npz", weight=np.array([Payload(tmp_path / "ran")], dtype=object))
    with pytest.raises(FileError, match=r"cannot be read"):
        load_weights(small_network(), tmp_path / "w.npz")
    assert not (tmp_path / "ran").exists()


def test_a_scripted_program_is_not_a_file_of_weights(tmp_path):
    torch.jit.script(small_network()).save(str(tmp_path / "w.pt"))
    with pytest.raises(InputError, match=r"is a TorchScript program, not a checkpoint"):
        load_weights(small_network(), tmp_path / "w.pt")


@pytest.mark.parametrize("name", WRITERS)
def test_a_truncated_file_gives_one_sentence(tmp_path, name):
    WRITERS[name](tmp_path / name, state())
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(FileError, match=r"may be truncated or damaged") as caught:
        load_weights(small_network(), tmp_path / name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.pt"])
def test_a_text_file_gives_one_sentence(tmp_path, name):
    (tmp_path / name).write_text("this is a letter, not a file of weights")
    with pytest.raises(FileError):
        load_weights(small_network(), tmp_path / name)


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.pt"])
def test_an_empty_file_is_called_empty(tmp_path, name):
    (tmp_path / name).touch()
    with pytest.raises(FileError, match=r"is empty$"):
        load_weights(small_network(), tmp_path / name)


def test_a_missing_file_is_called_missing(tmp_path):
    with pytest.raises(FileError, match=r"does not exist$"):
        load_weights(small_network(), tmp_path / "w.pt")


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(FileError, match=r"must be a file, got a folder$"):
        load_weights(small_network(), tmp_path)


def test_an_unknown_ending_names_the_known_ones(tmp_path):
    (tmp_path / "w.txt").write_text("x")
    with pytest.raises(FileError, match=r"must end in one of \.safetensors, \.npz, \.pt"):
        load_weights(small_network(), tmp_path / "w.txt")


def test_a_file_without_tensors_says_what_it_holds(tmp_path):
    torch.save([1, 2, 3], tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"must hold tensors by name, got list$"):
        load_weights(small_network(), tmp_path / "w.pt")
