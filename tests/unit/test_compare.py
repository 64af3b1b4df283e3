from __future__ import annotations

import csv
import io
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import yaml

from understudy.cli import audit
from understudy.cli.main import main
from understudy.compare.board import MEASURES, Cell, Entry, as_csv, cells_of, mean_cell, pareto_front, ranked
from understudy.compare.page import page
from understudy.compare.plot import pareto_plot
from understudy.config.runs import find_runs
from understudy.errors import ConfigError

BY_KEY = {measure.key: measure for measure in MEASURES}


def row(metric: str, value: float | None, attribute: str = "", **more: object) -> dict[str, object]:
    given = {"metric": metric, "attribute": attribute, "group": "overall", "n": 40, "status": "ok", "value": value}
    return {**given, "ci_low": None, "ci_high": None, "null_value": None, **more}


FIGURES = [
    row("rank1_rate", 0.02, "dlib", ci_low=0.0, ci_high=0.05),
    row("rank1_rate", 0.06, "facenet+ridge", ci_low=0.01, ci_high=0.1, status="selected"),
    row("rank1_rate", 0.9, "dlib", group="skin_tone=dark"),
    row("residual_share", 0.01),
    row("residual_share", 0.5, "unchanged"),
    row("total_variation", 0.2, "age_group", null_value=0.15),
    row("total_variation", 0.14, "expression", null_value=0.02),
    row("total_variation", None, "beard"),
    row("beautification_drift", -0.2, "index"),
    row("beautification_drift", 5.0, "sharpness"),
    row("keypoint_nme", 0.09),
    row("average_precision", 0.99, "centerface"),
    row("average_precision", 0.95, "yunet"),
]


def entry(name: str, privacy: float | None, drift: float | None = 0.1, utility: float = 0.9) -> Entry:
    return Entry(name, {"privacy": Cell(privacy), "drift": Cell(drift), "utility": Cell(utility)}, 5)


def test_each_column_is_the_figure_that_it_says() -> None:
    cells = cells_of(FIGURES, [1.0, 3.0])
    assert (cells["privacy"].value, cells["privacy"].of, cells["privacy"].note) == (0.06, "facenet+ridge", "selected")
    assert cells["residual"].value == 0.01
    assert cells["drift"].value == pytest.approx(0.12)  # 0.14 less 0.02, over 0.2 less 0.15
    assert cells["drift"].of == "expression"
    assert cells["beautification"].value == -0.2
    assert (cells["utility"].value, cells["utility"].of) == (0.95, "yunet")
    assert cells["seconds"].value == 2.0


def test_a_drift_that_is_its_floor_but_for_rounding_is_none() -> None:
    cells = cells_of([row("total_variation", 0.1 + 0.2, "beard", null_value=0.3)], [])
    assert cells["drift"].value == 0.0


def test_the_page_says_of_how_many_each_figure_is() -> None:
    told = page([Entry("a", cells_of(FIGURES, [1.0, 3.0]), 2)], "sweep", "0")
    assert "0.010 to 0.100, n = 40" in told
    assert "<span class='ci'>n = 40</span>" in told


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    cell = mean_cell([1.0, 2.0, 3.0, 4.0])  # sd 1.290994, over 2
    assert cell.value == 2.5
    assert cell.ci_high == pytest.approx(2.5 + 1.959964 * 1.290994 / 2, abs=1e-6)
    assert mean_cell([2.0]) == Cell(2.0, n=1)
    assert mean_cell([]).value is None


def test_what_was_not_measured_is_empty_and_not_zero() -> None:
    cells = cells_of([], [])
    assert all(cell.value is None and cell.text() == "-" for cell in cells.values())


def test_the_order_is_privacy_then_drift_then_utility_and_the_unaudited_come_last() -> None:
    entries = [
        entry("e", None, None),
        entry("a", 0.2),
        entry("b", 0.1, 0.3),
        entry("c", 0.1, 0.2),
        entry("d", 0.1, 0.2, 0.95),
    ]
    assert [e.name for e in ranked(entries)] == ["d", "c", "b", "a", "e"]


def test_the_front_holds_what_nobody_beats_in_both() -> None:
    points = {"a": (0.0, 3.0), "b": (1.0, 1.0), "c": (1.0, 2.0), "d": (3.0, 0.0), "e": (3.0, 0.0), "f": (2.0, 2.0)}
    assert pareto_front(points) == ["a", "b", "d", "e"]


def test_the_csv_reads_back_with_value_interval_n_and_note() -> None:
    written = as_csv([Entry("a,b", cells_of(FIGURES, [1.0]), 1)])
    (read,) = csv.DictReader(io.StringIO(written))
    assert read["run"] == "a,b"
    assert (float(read["privacy"]), float(read["privacy_ci_high"]), read["privacy_note"]) == (0.06, 0.1, "selected")
    assert (read["residual_n"], read["residual_ci_low"], read["why_not_audited"]) == ("40", "", "")


def test_the_plot_puts_each_figure_in_its_place_and_names_the_front() -> None:
    entries = [entry("best", 0.0, 0.1), entry("middle", 0.1, 0.2), entry("worst", 0.2, 0.3), entry("absent", None)]
    svg = pareto_plot(entries, BY_KEY["privacy"], BY_KEY["drift"], "p")
    tree = ET.fromstring(svg)
    assert tree.attrib["role"] == "img"
    circles = [(float(c.attrib["cx"]), float(c.attrib["cy"]), c.attrib["class"]) for c in tree.iter("circle")]
    assert len(circles) == 3
    assert circles[0][0] < circles[1][0] < circles[2][0]
    assert circles[0][1] > circles[1][1] > circles[2][1]  # less drift is lower
    assert circles[1][0] == pytest.approx((circles[0][0] + circles[2][0]) / 2, abs=0.1)
    assert [c[2] for c in circles] == ["on", "off", "off"]
    (told,) = (d.text for d in tree.iter("desc"))
    assert told is not None
    assert "front: 1 best." in told


def test_one_run_is_no_plot() -> None:
    assert "Fewer than two" in pareto_plot([entry("a", 0.1)], BY_KEY["privacy"], BY_KEY["drift"], "p")


def test_the_page_needs_nothing_else_and_escapes_names() -> None:
    entries = [
        Entry("<b>&'x", cells_of(FIGURES, [1.0, 2.0]), 2),
        entry("other", 0.5),
        Entry("gone", {}, 0, "no <audit>"),
    ]
    text = page(entries, "sweep", "0.1")
    assert "<b>" not in text
    assert "&lt;b&gt;&amp;&#x27;x" in text
    assert not re.search(r"(?:src|href)=|@import|url\(", text)
    assert "no &lt;audit&gt;" in text
    assert text.count("<svg") == 2
    assert "0.060*" in text


# the command


def make_run(folder: Path, name: str, *, input_: Path, target: str = "understudy.generate.fill.FillGenerator") -> Path:
    run = folder / name
    (run / "images").mkdir(parents=True)
    (run / "run.yaml").write_text(yaml.safe_dump({"config": {"input": str(input_), "generator": {"_target_": target}}}))
    (run / "images.csv").write_text("image_id,status,seconds\na.jpg,done,1.5\nb.jpg,failed,\nc.jpg,done,2.5\n")
    return run


def write_audit(folder: Path, figures: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True)
    (folder / "audit.json").write_text(json.dumps({"table": figures}))


def test_the_command_reads_audits_and_tells_of_runs_without_one(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    runs = tmp_path / "runs"
    write_audit(make_run(runs, "generator=fill", input_=tmp_path) / "audit", FIGURES)
    make_run(runs, "generator=blur", input_=tmp_path)
    assert main(["compare", f"runs={runs}", f"output={tmp_path / 'board'}", "audit=read"]) == 3
    told = capsys.readouterr().out
    assert "not audited: generator=blur: generator=blur has no audit.json" in told
    rows = list(csv.DictReader(io.StringIO((tmp_path / "board" / "leaderboard.csv").read_text())))
    assert [(r["run"], r["pictures"], r["seconds"]) for r in rows] == [
        ("generator=fill", "2", "2.0"),
        ("generator=blur", "2", "2.0"),
    ]
    assert "generator=<wbr>fill" in (tmp_path / "board" / "leaderboard.html").read_text()


def test_missing_audits_are_made_against_the_null_edit_of_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, asked = tmp_path / "runs", []
    null = make_run(runs, "generator=null_edit", input_=tmp_path, target="understudy.generate.obscure.NullEdit")
    make_run(runs, "generator=fill", input_=tmp_path)

    def stand_in(arguments: list[str]) -> int:
        asked.append(list(arguments))
        (folder,) = (a.removeprefix("output=") for a in arguments if a.startswith("output="))
        write_audit(Path(folder), FIGURES)
        return 4  # a gate failed: no reason not to be on the board

    monkeypatch.setattr(audit, "run", stand_in)
    command = ["compare", f"runs={runs}", f"output={tmp_path / 'board'}", "audits=['n_boot=200']"]
    assert main(command) == 0
    assert len(asked) == 2
    of_fill = next(a for a in asked if any("generator=fill" in text for text in a))
    assert f"null={null / 'images'}" in of_fill
    assert "n_boot=200" in of_fill
    assert f"before={tmp_path}" in of_fill
    asked.clear()
    assert main(command) == 0
    assert asked == []


def test_a_run_whose_input_is_no_folder_asks_for_before(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make_run(tmp_path / "runs", "x", input_=tmp_path / "*.jpg")
    assert main(["compare", f"runs={tmp_path / 'runs'}", f"output={tmp_path / 'board'}"]) == 3
    assert "say before=FOLDER" in capsys.readouterr().out


def test_folders_that_are_no_runs_are_refused_and_parts_of_runs_are_passed_over(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is none"):
        find_runs(tmp_path / "absent")
    with pytest.raises(ConfigError, match=r"holds a run\.yaml"):
        find_runs(tmp_path)
    run = make_run(tmp_path, "a", input_=tmp_path)
    make_run(run / "shards", "1-of-2", input_=tmp_path)
    assert [r.name for r in find_runs(tmp_path)] == ["a"]


def test_a_wrong_word_for_audit_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["compare", f"runs={tmp_path}", f"output={tmp_path / 'o'}", "audit=always"]) == 1
    assert "audit must be one of missing, read, got 'always'" in capsys.readouterr().err
