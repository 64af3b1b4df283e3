"""Figures of the embedded generator's bench."""

from __future__ import annotations

import runpy
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from understudy.audit.estimators import Reading
from understudy.cli.main import main

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


def test_the_kappa_of_expressions_is_not_that_of_gender_expressions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both names end alike, and the readings come in any order."""
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    codes_of = runpy.run_path(str(SCRIPTS / "generator_figures.py"))["codes_of"]
    readings = {
        "perceived_gender_expression": Reading.codes("perceived_gender_expression", ("a", "b"), [1, 1]),
        "expression": Reading.codes("expression", ("a", "b"), [0, 1]),
        "perceived_age": Reading.numbers("perceived_age", "years", [12.0, 61.0]),
    }
    collection = SimpleNamespace(readings=readings, paths=["x", "y"])
    np.testing.assert_array_equal(codes_of("expression", collection), [0, 1])
    np.testing.assert_array_equal(codes_of("age_group", collection), [0, 4])
    np.testing.assert_array_equal(codes_of("glasses", collection), [-1, -1])


def test_who_knows_the_kept_bins_guesses_within_a_cell_and_no_further(monkeypatch: pytest.MonkeyPatch) -> None:
    """Six probes lie at their own faces: alone in a cell each is right, in two cells of three one in three is."""
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    shuffled = runpy.run_path(str(SCRIPTS / "generator_figures.py"))["shuffled_within_bins"]
    faces = SimpleNamespace(embedding=np.eye(6))
    assert shuffled(faces, faces, np.arange(6)[:, None]).startswith("1.0000 ")
    told = shuffled(faces, faces, np.array([[0], [1], [0], [1], [0], [1]]))
    assert abs(float(told.split()[0]) - 1 / 3) < 0.03
    assert told.endswith("2 cells")


@pytest.mark.weights("centerface")
@pytest.mark.parametrize(("generator", "filled"), [("fill", True), ("null_edit", False)])
def test_a_filled_face_counts_as_a_failure_and_a_filled_neighbour_does_not(
    generator: str, filled: bool, tmp_path: Path, portrait_paths: tuple[Path, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a run's own table: the bench once looked for another word than the table's, and never found a fill."""
    monkeypatch.setattr(sys, "path", [str(SCRIPTS), *sys.path])
    bench = runpy.run_path(str(SCRIPTS / "generator_faces.py"))
    (tmp_path / "in").mkdir()
    shutil.copyfile(portrait_paths[0], tmp_path / "in" / portrait_paths[0].name)
    run = ["anonymize", f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}", f"generator={generator}"]
    assert main([*run, "detector=centerface", "guard=none", "residual=none", "runner.n_workers=1"]) == 0
    found = bench["regions"](tmp_path / "out")[portrait_paths[0].name]
    x0, y0, x1, y1 = found[0][0]
    face = np.array([0.8 * x0 + 0.2 * x1, 0.8 * y0 + 0.2 * y1, 0.2 * x0 + 0.8 * x1, 0.2 * y0 + 0.8 * y1])
    assert bench["is_filled"](face, found) is filled
    assert not bench["is_filled"](face + 4 * (x1 - x0), found)
    within = (np.array([x0 - 50, y0 - 50, x1 + 50, y1 + 50]), not filled)
    assert bench["is_filled"](face, [within, *found]) is filled
