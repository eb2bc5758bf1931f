"""Checks the sizes the house style sets: lines of a module and of a function, and floors that hold modules only."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES = 300
FUNCTION_LINES = 25
"""Lines of code; docstring, comments and blank lines are free."""


def main(root: Path) -> int:
    """Print what is too large under `root`; the exit code."""
    found = [*nested_packages(root)]
    for path in sorted(root.rglob("*.py")):
        found += module_complaints(path)
    print("\n".join(found) if found else f"sizes: {root.name} is fine")
    return 1 if found else 0


def nested_packages(root: Path) -> Iterator[str]:
    """A sentence for each package inside the package of a floor."""
    for init in sorted(root.rglob("__init__.py")):
        if len(init.relative_to(root).parts) > 2:
            yield f"{init.parent}: a floor's package must hold modules only, got a package inside it"


def module_complaints(path: Path) -> Iterator[str]:
    """A sentence for the module's own length and for each function that is too long."""
    text = path.read_text(encoding="utf-8")
    lines = text.splitlines()
    if len(lines) > MODULE_LINES:
        yield f"{path}: a module must have at most {MODULE_LINES} lines, got {len(lines)}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count = code_lines(node, lines)
            if count > FUNCTION_LINES:
                place = f"{path}:{node.lineno}"
                yield f"{place}: {node.name} must have at most {FUNCTION_LINES} lines of code, got {count}"


def code_lines(function: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> int:
    """Lines of the body that are neither docstring nor comment nor blank; the signature is free too."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    if not body:
        return 0
    span = lines[body[0].lineno - 1 : function.end_lineno]
    return sum(1 for line in span if line.strip() and not line.strip().startswith("#"))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[1] / "src" / "voxplain"))
