"""What a `.pt2` archive could run while torch loads it, found by reading and without running any of it.

torch.export.load unpickles several kinds of members, evaluates size expressions, resolves operators by attribute access
and turns names of the graph into Python source. Each of these is held here against what torch.export.save writes for a
plain network; whatever else there is becomes a reason to ask for trust.
"""

import ast
import io
import json
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch._C import PyTorchFileReader

MEMBERS = re.compile(
    r"models/[^/]+\.json|data/(weights|constants)/[^/]+_config\.json|data/weights/weight_\d+|data/constants/tensor_\d+"
    r"|data/(weights|constants|sample_inputs)/[^/]+\.pt|archive_(format|version)|version|byteorder|\.data/.+|extra/.+"
)
"""Members of an archive that hold numbers or JSON; the `.pt` ones are read without pickle first."""

NAMESPACES = ("aten", "prims", "torchvision")
FILE_OPERATORS = ("from_file", "save")
"""Operators of aten that open files."""
BITWISE = re.compile(r"__i?(and|or|xor|lshift|rshift)__")
"""Operators of aten that begin with two underscores."""
HIGHER_ORDER = ("wrap_with_autocast", "wrap_with_set_grad_enabled", "cond", "while_loop", "scan", "map_impl")
ARITHMETIC = re.compile(
    "add|sub|mul|truediv|floordiv|mod|neg|pos|abs|pow|lshift|rshift|eq|ne|lt|le|gt|ge|and_|or_|xor|not_|getitem"
)
"""What may be taken from Python's operator module: nothing that calls or looks up attributes."""

EXPRESSIONS = re.compile(
    "Symbol|Integer|Float|Rational|Add|Mul|Pow|Min|Max|Abs|Eq|Ne|Lt|Le|Gt|Ge|Equality|Unequality|StrictLessThan|LessThan"
    "|GreaterThan|StrictGreaterThan|And|Or|Not|Piecewise|floor|ceiling|sqrt|FloorDiv|ModularIndexing|Where|PythonMod|Mod"
    "|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift|PowByNatural|FloatPow|FloatTrueDiv|IntTrueDiv|TruncToFloat"
    "|TruncToInt|RoundToInt|RoundDecimal|ToFloat|Identity|IsNonOverlappingAndDenseIndicator"
)
"""Functions in the text of a symbolic size."""
SYMBOL = re.compile(r"[a-z]{1,2}\d+")

EXPRESSION_PARTS = (
    ast.Expression, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Constant, ast.BinOp, ast.UnaryOp, ast.Compare,
    ast.operator, ast.unaryop, ast.cmpop,
)  # fmt: skip

TREES = ("builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
"""Containers whose description imports nothing."""

FREE_TEXT = ("stack_trace", "from_node", "custom", "as_string", "as_strings")
"""Keys whose text torch quotes or writes behind a comment sign: there, only a line break it does not expect escapes."""


def reasons(content: bytes) -> list[str]:
    """Why loading the archive could run code, in words; empty for a plain one.

    Read by torch's own archive reader, so that what is checked is what is loaded. Raises `RuntimeError` or `ValueError`
    for a damaged archive.
    """
    reader = PyTorchFileReader(io.BytesIO(content))
    names: list[str] = reader.get_all_records()
    if len({name.lower() for name in names}) < len(names):  # the reader ignores case: which one is meant is unclear
        return ["it holds two members of one name"]
    return [reason for name in names for reason in _member(name, partial(reader.get_record, name))]


def _member(name: str, read: Callable[[], bytes]) -> Iterator[str]:
    if not MEMBERS.fullmatch(name):
        yield f"the member {name!r} is not plain numbers"
    elif name.startswith("models/"):
        yield from program(json.loads(read()))
    elif name.endswith("_config.json"):
        yield from _payloads(json.loads(read()))
    elif name.startswith("data/") and name.endswith(".pt") and not _loads_without_pickle(read()):
        yield f"the member {name!r} is pickled"


def _payloads(document: Any) -> Iterator[str]:
    """Entries of a table of weights or constants that torch would unpickle."""
    for name, entry in document["config"].items():
        if entry.get("use_pickle") or not str(entry.get("path_name")).startswith(("weight_", "tensor_")):
            yield f"the entry {name!r} is pickled"


def _loads_without_pickle(content: bytes) -> bool:
    try:
        torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001 - torch answers any error here by unpickling for real
        return not content
    return True


def program(document: Any, key: str = "") -> Iterator[str]:
    """Strings of a serialized program that torch would evaluate, resolve or write into source code."""
    if isinstance(document, dict):
        for name, value in document.items():
            if not _is_quotable(str(name)):
                yield f"the name {name[:40]!r} is not one"
            yield from program(value, str(name))
    elif isinstance(document, list):
        for value in document:
            yield from program(value, key)
    elif isinstance(document, str) and not CHECKS.get(key, _is_quotable)(document):
        yield f"it holds {key} {document[:60]!r}"


def _is_operator(target: str) -> bool:
    """True for an operator on tensors or sizes that neither opens files nor runs what it is given."""
    if not target.isascii() or not all(part.isidentifier() for part in target.split(".")):
        return False
    match target.split("."):
        case ["_operator", name]:
            return bool(ARITHMETIC.fullmatch(name))
        case ["math", name]:
            return not name.startswith("_")
        case ["torch", name]:
            return name.startswith(("sym_", "_sym_"))
        case ["torch", "ops", "higher_order", name]:
            return name in HIGHER_ORDER
        case ["torch", "ops", namespace, name, *overload]:
            hidden = [part for part in (name, *overload) if part.startswith("__") and not BITWISE.fullmatch(part)]
            return namespace in NAMESPACES and name not in FILE_OPERATORS and len(overload) <= 1 and not hidden
    return False


def _is_expression(text: str) -> bool:
    """True for the text of a size such as `2*s0` or `Mul(Integer(2), Symbol('s0', positive=True))`."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return False
    return all(isinstance(node, EXPRESSION_PARTS) and _is_plain(node) for node in ast.walk(tree))


def _is_plain(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and bool(EXPRESSIONS.fullmatch(node.func.id))
    if isinstance(node, ast.Name):
        return any(known.fullmatch(node.id) for known in (EXPRESSIONS, SYMBOL)) or node.id in ("oo", "int_oo")
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return bool(SYMBOL.fullmatch(node.value))
    return not isinstance(node, ast.Constant) or isinstance(node.value, int | float)


def _is_output_tree(text: str) -> bool:
    """True for the description of nested tuples, lists and dicts, whose keys are plain."""
    return _is_tree(text, _is_quotable)


def _is_input_tree(text: str) -> bool:
    """As `_is_output_tree`, and every key can stand as the name of an argument."""
    return _is_tree(text, _is_name)


def _is_tree(text: str, is_key: Callable[[str], bool]) -> bool:
    try:
        return _is_branch(json.loads(text)[1], is_key)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return False


def _is_branch(tree: Any, is_key: Callable[[str], bool]) -> bool:
    keys = json.loads(tree["context"] or "null") or []
    plain = isinstance(keys, list) and all(isinstance(key, int) or is_key(key) for key in keys)
    children = tree["children_spec"]
    return plain and tree["type"] in (None, *TREES) and all(_is_branch(child, is_key) for child in children)


def _is_name(text: str) -> bool:
    return text == "" or (text.isascii() and text.isidentifier())


def _is_quotable(text: str) -> bool:
    """True for a text that cannot end the string or the line it is written into."""
    return isinstance(text, str) and not re.search(r'["\\\x00-\x1f]', text)


def _is_one_line(text: str) -> bool:
    return not re.search(r"[\x00-\x08\x0b-\x1f]", text)


CHECKS: dict[str, Callable[[str], bool]] = {
    "target": _is_operator,
    "as_operator": _is_operator,
    "expr_str": _is_expression,
    "in_spec": _is_input_tree,
    "out_spec": _is_output_tree,
    "name": _is_name,
    "as_name": _is_name,
    "forward_arg_names": _is_name,
    **dict.fromkeys(FREE_TEXT, _is_one_line),
}
"""The check of a string by the key it stands under; any other must be quotable."""
