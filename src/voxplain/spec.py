"""One schema, four doors: frozen dataclasses of options, and the string grammar `name(option=value)` that builds them.

A spec is read by syntax tree: literals, names of the same table and nested specs, never evaluated code.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from itertools import pairwise
from numbers import Integral, Real
from types import UnionType
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints

from voxplain.errors import KindError, OptionError, unknown

LARGEST = sys.float_info.max
"""The largest finite number; larger whole numbers would not survive as floats."""


@dataclass(frozen=True)
class Spec:
    """A parsed `name(option=value)`: nothing is looked up or built yet."""

    name: str
    arguments: tuple[Any, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


class Options:
    """Base of every frozen dataclass of options: unknown and ill-typed options are told the same way at every door."""

    name: ClassVar[str]

    def __new__(cls, *arguments: Any, **options: Any) -> Self:
        """Refuse unknown and misplaced options in our own words before the dataclass sees them."""
        known = [spec for spec in fields(cls) if spec.init]  # type: ignore[arg-type]
        places = [spec.name for spec in known if not spec.kw_only]
        for key in options:
            if key not in [spec.name for spec in known]:
                raise OptionError(f"{cls.name}: {unknown('option', key, [spec.name for spec in known])}")
            if key in places[: len(arguments)]:
                raise OptionError(f"{cls.name}: {key} must be given once, got {arguments[places.index(key)]!r} as well")
        if len(arguments) > len(places):
            raise OptionError(f"{cls.name}: options must be named (option=value), got {arguments[len(places)]!r} alone")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        check_types(self)
        self._check()

    def _check(self) -> None:
        """Range checks of the subclass, raising `OptionError`."""

    def _require(self, holds: bool, option: str, constraint: str) -> None:
        """Raise in the house grammar unless `holds`: 'occlusion: window must be at least 1, got 0'."""
        if not holds:
            raise OptionError(f"{self.name}: {option} must be {constraint}, got {getattr(self, option)!r}")

    def __str__(self) -> str:
        return text(self)


def parse(source: str, what: str = "spec") -> Spec:
    """Read `name` or `name(argument, option=value)`; nested calls become `Spec`, everything else must be a literal."""
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise OptionError(f"{what} {source!r} must read like name(option=value)") from error
    if isinstance(tree, ast.Name):
        return Spec(tree.id)
    if isinstance(tree, ast.Call):
        return _call(tree, source, what)
    raise OptionError(f"{what} {source!r} must read like name(option=value)")


def _call(tree: ast.Call, source: str, what: str) -> Spec:
    if not isinstance(tree.func, ast.Name) or any(keyword.arg is None for keyword in tree.keywords):
        raise OptionError(f"{what} {source!r} must read like name(option=value)")
    arguments = tuple(_value(node, source, what) for node in tree.args)
    options: dict[str, Any] = {}
    for keyword in tree.keywords:
        if keyword.arg in options:
            raise OptionError(f"{what} {source!r} must give {keyword.arg} once")
        options[str(keyword.arg)] = _value(keyword.value, source, what)
    return Spec(tree.func.id, arguments, options)


def _value(node: ast.expr, source: str, what: str) -> Any:
    if isinstance(node, ast.Call):
        return _call(node, source, what)
    if isinstance(node, ast.List | ast.Tuple):
        return tuple(_value(item, source, what) for item in node.elts)
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError) as error:  # a TypeError for a list as the key of a dictionary
        raise OptionError(f"{what} {source!r} may hold literal values only, got {ast.unparse(node)!r}") from error


def build(source: "str | Spec | Options | Mapping[str, Any]", table: Mapping[str, type], kind: str) -> Any:
    """The object a string, spec or TOML table (`{name = ..., option = value}`) stands for, from `table` of classes.

    Raises `OptionError` for what cannot be read or built, `KindError` for an object of another kind.
    """
    if isinstance(source, Options) and _family(type(source)) in map(_family, table.values()):
        return source
    if isinstance(source, Mapping):
        rest = {str(key): value for key, value in source.items() if key != "name"}
        source = Spec(str(source.get("name", "")), (), rest)
    spec = parse(source, kind) if isinstance(source, str) else source
    if not isinstance(spec, Spec):
        raise KindError(f"{kind} must be a {kind} or read like name(option=value), got {source!s}")
    if spec.name not in table:
        raise unknown(kind, spec.name, table)
    hints = get_type_hints(table[spec.name])
    arguments = (_nested(value, None, table, kind) for value in spec.arguments)
    options = {key: _nested(value, hints.get(key), table, kind) for key, value in spec.options.items()}
    try:
        return table[spec.name](*arguments, **options)
    except TypeError as error:
        raise OptionError(f"{spec.name}: {str(error).split('__init__() ')[-1]}") from error


def _family(cls: type) -> type:
    """The class of options that all of one kind (methods, targets ...) descend from."""
    return next((base for base in reversed(cls.__mro__) if issubclass(base, Options) and base is not Options), cls)


def _nested(value: Any, hint: Any, table: Mapping[str, type], kind: str) -> Any:
    if isinstance(value, Spec | Mapping) or (isinstance(value, str) and _takes_options(hint)):
        return build(value, table, kind)
    if isinstance(value, list | tuple):
        return tuple(_nested(item, hint, table, kind) for item in value)
    return value


def _takes_options(hint: Any) -> bool:
    """True for the annotation of a field that holds other options, so that text in it is a spec."""
    return any(map(_takes_options, get_args(hint))) or (isinstance(hint, type) and issubclass(hint, Options))


def check_types(options: Any) -> None:
    """Raise unless every field of a dataclass holds what its annotation says; whole numbers pass for floats.

    Lists become tuples, and the numbers and texts of NumPy plain ones.
    """
    hints = get_type_hints(type(options))
    for spec in fields(options):
        value = _plain(getattr(options, spec.name))
        object.__setattr__(options, spec.name, value)
        if not _fits(value, hints[spec.name]):
            raise OptionError(f"{options.name}: {spec.name} must be {describe(hints[spec.name])}, got {value!r}")


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(map(_plain, value))
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool) or not isinstance(value, Real):
        return value
    return int(value) if isinstance(value, Integral) else float(value)


def _fits(value: Any, hint: Any) -> bool:
    origin, inside = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, UnionType):
        return any(_fits(value, option) for option in inside)
    if origin is Literal:
        return value in inside and not isinstance(value, bool)
    if origin is tuple:
        return isinstance(value, tuple) and _all_fit(value, inside)
    if hint in (int, float):
        number = isinstance(value, int) or (hint is float and isinstance(value, float))
        return number and not isinstance(value, bool) and (hint is int or abs(value) <= LARGEST)
    return isinstance(value, origin or hint)


def _all_fit(values: tuple[Any, ...], inside: tuple[Any, ...]) -> bool:
    if len(inside) == 2 and inside[1] is Ellipsis:
        return all(_fits(item, inside[0]) for item in values)
    return len(values) == len(inside) and all(map(_fits, values, inside))


def describe(hint: Any) -> str:
    """An annotation in a user's words, such as 'a whole number or nothing'."""
    origin, inside = get_origin(hint), get_args(hint)
    plain = {int: "a whole number", float: "a finite number", str: "text", bool: "true or false", type(None): "nothing"}
    if hint in plain:
        return plain[hint]
    if origin in (Union, UnionType):
        return " or ".join(describe(option) for option in inside)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, inside))
    if origin is tuple and len(inside) == 2 and inside[1] is Ellipsis:
        return f"a list, each {describe(inside[0])}"
    if origin is tuple:
        return f"{len(inside)} values ({', '.join(describe(item) for item in inside)})"
    return str(getattr(hint, "__name__", hint)).lower()


def text(options: Any, *, full: bool = False) -> str:
    """The spec string that builds `options` again; defaults are left out unless `full`."""
    shown = [f"{spec.name}={_literal(getattr(options, spec.name), full)}" for spec in _told(options, full)]
    return f"{options.name}({', '.join(shown)})" if shown else str(options.name)


def _told(options: Any, full: bool) -> Iterable[Field[Any]]:
    return [spec for spec in fields(options) if spec.init and (full or getattr(options, spec.name) != _default(spec))]


def _literal(value: Any, full: bool) -> str:
    if isinstance(value, Options):
        return repr(text(value, full=full))
    if isinstance(value, tuple):
        return "[" + ", ".join(_literal(item, full) for item in value) + "]"
    return repr(value)


def _default(spec: Field[Any]) -> Any:
    if spec.default is not MISSING:
        return spec.default
    return spec.default_factory() if spec.default_factory is not MISSING else MISSING


def table_of(options: Any) -> dict[str, Any]:
    """`options` as a TOML table with every default filled in; None is left out, as TOML has no word for it."""
    told = {spec.name: _tabled(getattr(options, spec.name)) for spec in fields(options) if spec.init}
    return {"name": options.name, **{key: value for key, value in told.items() if value is not None}}


def _tabled(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(map(_tabled, value))
    return text(value, full=True) if isinstance(value, Options) else value


def schema(cls: type) -> list[dict[str, Any]]:
    """Name, type in words, default and help line of every option of a class, for listings and forms."""
    hints = get_type_hints(cls)
    help_lines = field_help(cls)
    return [
        {
            "name": spec.name,
            "type": describe(hints[spec.name]),
            "default": None if _default(spec) is MISSING else _default(spec),
            "required": _default(spec) is MISSING,
            "help": help_lines.get(spec.name, ""),
        }
        for spec in fields(cls)
        if spec.init
    ]


def field_help(cls: type) -> dict[str, str]:
    """The docstring line under each field, read from the class's source (and its bases')."""
    found: dict[str, str] = {}
    for owner in reversed([base for base in cls.__mro__ if is_dataclass(base)]):
        try:
            source = inspect.getsource(owner)
        except (OSError, TypeError):  # a class typed into a console has no source
            continue
        lines = getattr(ast.parse(textwrap.dedent(source)).body[0], "body", [])
        for node, after in pairwise(lines):
            told = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if told and isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] = " ".join(str(after.value.value).split())
    return found
