"""What holds for the project as a whole: a light start, small modules, a word at the top of each."""

import ast
import importlib.util
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "scipy", "matplotlib", "nibabel", "pydicom", "monai", "keras", "timm")
"""Packages that a start without work to do must leave alone."""


def last_line(source: str, repository: Path) -> str:
    """What a fresh interpreter prints last."""
    environment = {**os.environ, "PYTHONPATH": str(repository / "src")}
    done = subprocess.run([sys.executable, "-c", source], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def heavy_after(statement: str, repository: Path) -> str:
    """The heavy packages a fresh interpreter holds after a statement."""
    tell = f"print([name for name in {HEAVY!r} if name in sys.modules])"
    return last_line(f"import sys\n{statement}\n{tell}", repository)


def script(name: str, repository: Path):
    """A script of the repository as a module."""
    spec = importlib.util.spec_from_file_location(name, repository / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_importing_the_package_loads_nothing_heavy(repository):
    assert heavy_after("import voxplain", repository) == "[]"


def test_help_loads_nothing_heavy(repository):
    lines = (
        "from voxplain.cli.main import main",
        "sys.argv = ['voxplain', '--help']",
        "try:",
        "    sys.exit(main())",
        "except SystemExit as end:",
        "    assert not end.code",
    )
    assert heavy_after("\n".join(lines), repository) == "[]"


def test_modules_and_functions_keep_their_size(repository, capsys):
    code = script("check_sizes", repository).main(repository / "src" / "voxplain")
    assert code == 0, capsys.readouterr().out


def test_the_size_check_sees_what_is_too_large(repository, tmp_path, capsys):
    check_sizes = script("check_sizes", repository)
    inner = tmp_path / "floor" / "inner"
    inner.mkdir(parents=True)
    (inner / "__init__.py").write_text('"""Too deep."""\n' + "x = 1\n" * check_sizes.MODULE_LINES, encoding="utf-8")
    body = "    x = 1\n" * (check_sizes.FUNCTION_LINES + 1)
    (tmp_path / "long.py").write_text(f'def long():\n    """Says much."""\n    # why\n\n{body}', encoding="utf-8")
    assert check_sizes.main(tmp_path) == 1
    said = capsys.readouterr().out
    assert "got a package inside it" in said
    assert "at most 300 lines, got 301" in said
    assert "long must have at most 25 lines of code, got 26" in said


def test_a_function_of_just_the_right_size_passes(repository, tmp_path):
    check_sizes = script("check_sizes", repository)
    body = "    x = 1\n" * check_sizes.FUNCTION_LINES
    (tmp_path / "fits.py").write_text(f'def fits():\n    """Says much."""\n    # why\n\n{body}', encoding="utf-8")
    assert check_sizes.main(tmp_path) == 0


def test_every_module_says_what_it_is(repository):
    folders = ("src", "scripts", "bench")
    modules = [path for folder in folders for path in sorted((repository / folder).rglob("*.py"))]
    silent = [str(path) for path in modules if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))]
    assert modules
    assert silent == []


def test_every_change_has_a_fragment_that_can_be_joined(repository):
    assert script("changelog", repository).complaints() == []


def test_a_fragment_with_an_unknown_kind_is_told(repository, tmp_path, monkeypatch):
    changelog = script("changelog", repository)
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "changelog.d" / "new.better.md").write_text("All is well.\n", encoding="utf-8")
    monkeypatch.setattr(changelog, "ROOT", tmp_path)
    assert "must be named" in changelog.complaints()[0]


def test_a_release_moves_the_fragments_into_the_changelog(repository, tmp_path, monkeypatch):
    changelog = script("changelog", repository)
    (tmp_path / "changelog.d").mkdir()
    (tmp_path / "changelog.d" / "door.added.md").write_text("A door\nopens.\n", encoding="utf-8")
    (tmp_path / "CHANGELOG.md").write_text(
        f"# Changelog\n\n{changelog.MARK}\n## 0.0.1 (2000-01-01)\n", encoding="utf-8"
    )
    monkeypatch.setattr(changelog, "ROOT", tmp_path)
    monkeypatch.setattr(changelog, "CHANGELOG", tmp_path / "CHANGELOG.md")
    changelog.release("0.1.0", "2001-02-03")
    text = (tmp_path / "CHANGELOG.md").read_text(encoding="utf-8")
    assert text.index("## 0.1.0 (2001-02-03)") < text.index("- A door opens.") < text.index("## 0.0.1")
    assert list((tmp_path / "changelog.d").iterdir()) == []


def test_the_constraints_pin_versions_and_name_no_index(repository):
    lines = (repository / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    assert [line for line in pins if "==" not in line or "://" in line or line.startswith("-")] == []


def test_the_citation_names_this_version(repository):
    import voxplain

    assert f"version: {voxplain.__version__}\n" in (repository / "CITATION.cff").read_text(encoding="utf-8")


def test_no_gpl_decoder_is_pinned(repository):
    assert "pylibjpeg-libjpeg" not in (repository / "constraints.txt").read_text(encoding="utf-8").lower()


def test_a_test_cannot_reach_another_machine():
    with socket.socket() as door, pytest.raises(RuntimeError, match="must not use the network"):
        door.connect(("192.0.2.1", 80))


def test_public_names_stay_what_they_are_after_everything_is_imported(repository):
    lines = (
        "import voxplain as vx",
        "first = {name: getattr(vx, name) for name in vx.__all__}",
        "changed = [name for name in vx.__all__ if getattr(vx, name) is not first[name] or not hasattr(vx, name)]",
        "print(changed)",
    )
    assert last_line("\n".join(lines), repository) == "[]"
