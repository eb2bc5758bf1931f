"""A Keras model as a torch network: its graph read from its own description, layer by layer, under its own names."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from voxplain.score.keras_layers import translated_layer
from voxplain.score.keras_parts import JOINS, Joined, WithNumber
from voxplain.score.keras_place import NotTranslated, Place

Key = tuple[str, int, int]
"""A Keras tensor: the layer that made it, in which of its calls, and as which of its outputs."""

NUMBERED = ("Add", "Subtract", "Multiply")
"""Operations of `keras.ops` that may take a number beside a tensor."""


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer, as the description has it."""

    name: str
    number: int
    keys: tuple[Key, ...]
    shapes: tuple[tuple[int | None, ...], ...]
    arguments: tuple[Any, ...]
    """Positional arguments; numbers stand among the tensors of an operation."""


@dataclass(frozen=True)
class Step:
    """One call of one layer."""

    module: str
    """Name of the module in the network."""
    inputs: tuple[int, ...]
    """Which results it takes; 0 is the image."""
    output: int
    """Which result it makes."""
    layer: Any = field(compare=False, repr=False)
    """The Keras layer behind it, None for an operation."""


class TranslatedNetwork(nn.Module):
    """The layers of a Keras model as torch modules, channels first, called in the order of the model's graph."""

    def __init__(self, layers: Mapping[str, nn.Module], steps: Sequence[Step], answer: Any) -> None:
        super().__init__()
        # Nothing else is public here: each layer is an attribute under its own name.
        self._calls = [(step.module, step.inputs, step.output) for step in steps]
        self._answer = answer
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> object:
        """Outputs for a batch (batch, channel, *space), structured as the model's; maps are channels first."""
        values: dict[int, Tensor] = {0: x}
        for name, inputs, output in self._calls:
            values[output] = self.get_submodule(name)(*(values[number] for number in inputs))
        return _looked_up(self._answer, values)


def _looked_up(answer: Any, values: dict[int, Tensor]) -> object:
    if isinstance(answer, int):
        return values[answer]
    if isinstance(answer, dict):
        return {key: _looked_up(inner, values) for key, inner in answer.items()}
    return [_looked_up(inner, values) for inner in answer]


class Translation:
    """The making of one network: the steps so far, and the modules of the layers in them."""

    def __init__(self, rank: int, *, last: bool) -> None:
        self.rank, self.last = rank, last
        self.steps: list[Step] = []
        self.modules: dict[str, nn.Module] = {}
        self.names: dict[int, str] = {}
        """Module name of each Keras layer, by its identity: a layer called twice is one module."""

    def network(self, model: Any) -> TranslatedNetwork:
        """The network of a whole model; raises `NotTranslated` for a layer without a translation."""
        answer = self._run(model, [0])
        return TranslatedNetwork(self.modules, self.steps, answer)

    def _run(self, model: Any, inputs: list[int]) -> Any:
        """Add the steps of a model (or of one nested in it) for these results, and give its answer's structure."""
        graph = _functional(model)
        config, layers = graph.get_config(), {layer.name: layer for layer in graph.operations}
        known: dict[Key, int] = dict(zip(_keys(config["input_layers"]), inputs, strict=True))
        waiting = list(_calls(config))
        while waiting:
            ready = [call for call in waiting if all(key in known for key in call.keys)]
            if not ready:
                raise NotTranslated(f"{waiting[0].name!r} waits for what no layer makes")
            for call in ready:
                known |= self._call(layers[call.name], call, [known[key] for key in call.keys])
            waiting = [call for call in waiting if call not in ready]
        return _structured(config["output_layers"], known)

    def _call(self, layer: Any, call: Call, inputs: list[int]) -> dict[Key, int]:
        """Add one call of a layer; the Keras tensors it makes and their results."""
        if hasattr(layer, "layers"):
            answer = self._run(layer, inputs)
            results = answer if isinstance(answer, list) else [answer]
            if not all(isinstance(result, int) for result in results):
                raise NotTranslated(f"{call.name!r} answers in a table of names")
            return {(call.name, call.number, place): result for place, result in enumerate(results)}
        output = len(self.steps) + 1
        behind = layer if isinstance(layer, nn.Module) else None
        self.steps.append(Step(self._module(layer, call), tuple(inputs), output, behind))
        return {(call.name, call.number, 0): output}

    def _module(self, layer: Any, call: Call) -> str:
        """Name of the layer's module, made at its first call."""
        if id(layer) not in self.names:
            place = Place(self.rank, self.last, call.shapes)
            try:
                module = _operation(layer, call) or translated_layer(layer, place)
            except NotTranslated as error:
                raise NotTranslated(f"{call.name!r} {error}") from error
            name = free_name(call.name, lambda name: name in self.modules or hasattr(nn.Module, name))
            self.names[id(layer)] = name
            self.modules[name] = module
        return self.names[id(layer)]


def _calls(config: dict[str, Any]) -> Iterator[Call]:
    for layer in config["layers"]:
        for number, node in enumerate(layer["inbound_nodes"]):
            found = list(_tensors([node["args"], node["kwargs"]]))
            keys = tuple(_key(one["keras_history"]) for one in found)
            yield Call(layer["name"], number, keys, tuple(tuple(one["shape"]) for one in found), tuple(node["args"]))


def _tensors(value: Any) -> Iterator[dict[str, Any]]:
    """The descriptions of the tensors among a call's arguments, in their order."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield value["config"]
    elif isinstance(value, dict | list | tuple):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _tensors(inner)


def _operation(layer: Any, call: Call) -> nn.Module | None:
    """The module of an operation of `keras.ops`, such as a sum written with a plus sign; None for a layer."""
    if isinstance(layer, nn.Module):
        return None
    kind = type(layer).__name__
    numbers = [value for value in call.arguments if isinstance(value, int | float)]
    if kind in JOINS and len(call.keys) == 2:
        if len({len(shape) for shape in call.shapes}) > 1:
            raise NotTranslated(f"is an operation {kind} of tensors with different axes")
        return Joined(kind)
    if kind in NUMBERED and len(call.keys) == len(numbers) == 1:
        return WithNumber(kind, numbers[0], first=isinstance(call.arguments[0], int | float))
    raise NotTranslated(f"is an operation {kind}")


def _functional(model: Any) -> Any:
    """The model as a graph with a description; a plain stack of layers is made one."""
    import keras

    if isinstance(model, keras.Sequential):
        return keras.Model(model.inputs[0], model.outputs[0])
    if not hasattr(model, "operations"):
        raise NotTranslated(f"{model.name!r} is a {type(model).__name__}, whose program is not a graph of layers")
    return model


def _keys(entries: Any) -> list[Key]:
    """The tensors of an entry: one [name, call, output], or a list or table of such."""
    if _is_key(entries):
        return [_key(entries)]
    return [key for inner in (entries.values() if isinstance(entries, dict) else entries) for key in _keys(inner)]


def _is_key(entry: Any) -> bool:
    return isinstance(entry, list | tuple) and len(entry) == 3 and isinstance(entry[0], str)


def _key(entry: Any) -> Key:
    return str(entry[0]), int(entry[1]), int(entry[2])


def _structured(entries: Any, known: dict[Key, int]) -> Any:
    if _is_key(entries):
        return known[_key(entries)]
    if isinstance(entries, dict):
        return {key: _structured(inner, known) for key, inner in entries.items()}
    return [_structured(inner, known) for inner in entries]


def free_name(name: str, taken: Callable[[str], bool]) -> str:
    """The layer's name as a module may carry it, numbered where it is taken."""
    plain = name.replace(".", "_")
    return next(one for one in (plain, *(f"{plain}_{number}" for number in range(2, 1000))) if not taken(one))
