"""The notebooks run from start to end, at small sizes, and are kept without what they print."""

from pathlib import Path

import pytest

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

EXAMPLES = Path(__file__).parents[2] / "examples"

SMALL = {
    "pumpkins": {"n_samples": 100, "epochs": 1, "plot_n_heatmaps": 2},
    "chest_views": {"n": 10, "epochs": 1, "samples": 30, "features": 9, "pictures": 2},
    "gliomas": {"phantoms": 6, "epochs": 1, "most_slices": 1, "most_volumes": 1},
    "muscles": {"networks": ("small_cnn",), "tiles": 40, "folds": 2, "epochs": 1, "explained": 1, "evaluations": 20},
    "tumour_types": {
        "backbones": ("resnet18",),
        "images": 45,
        "epochs": 1,
        "compared_epochs": (1, 1),
        "explained": 1,
        "lime_samples": 20,
        "shap_evaluations": 20,
    },
}
"""Name -> options in place of the notebook's own."""

TIMEOUT_SECONDS = 280


def book(name: str):
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)


def test_every_notebook_is_run_here():
    assert {path.stem for path in EXAMPLES.glob("*.ipynb")} == set(SMALL)


@pytest.mark.parametrize("name", SMALL)
def test_notebooks_are_kept_without_what_they_print(name):
    cells = [cell for cell in book(name).cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    (options,) = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    assert "options = {}" in options.source


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_a_notebook_runs_from_start_to_end_and_shows_pictures(name, tmp_path):
    found = book(name)
    for cell in found.cells:
        if "parameters" in cell.metadata.get("tags", []):
            cell.source = f"options = {SMALL[name]!r}"
    client = nbclient.NotebookClient(
        found, timeout=TIMEOUT_SECONDS, resources={"metadata": {"path": str(tmp_path)}}, kernel_name="python3"
    )
    client.execute()
    outputs = [output for cell in found.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 2
