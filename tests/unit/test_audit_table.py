"""The long table keeps its figures through JSON and Parquet, and notices when they were changed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from understudy.audit.table import COLUMNS, AuditTable, Row, Status, group_name
from understudy.errors import InvalidInputError

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "audit-statistics.md"


def table() -> AuditTable:
    return AuditTable(
        [
            Row(
                "rank1_rate",
                251,
                0.1 + 0.2,
                attribute="dlib",
                unit="share",
                ci_low=0.25,
                ci_high=0.35,
                null_value=0.004,
            ),
            Row("ita_drift", 3, float("nan"), group=group_name("skin_tone", "dark"), status=Status.TOO_FEW),
            Row("js_distance", 9, 1e-17, attribute="âge", p_adjusted=0.5, n_missing=2),
        ]
    )


def test_the_frame_has_the_documented_columns_in_order_and_their_kinds() -> None:
    frame = table().frame()
    assert list(frame.columns) == list(COLUMNS)
    assert frame["n"].dtype == np.int64
    assert frame["value"].dtype == np.float64
    assert frame["status"].tolist() == ["ok", "too_few", "ok"]


def test_json_gives_back_every_bit() -> None:
    again = AuditTable.from_json(table().to_json())
    assert again == table()
    assert again.rows[0].value == 0.1 + 0.2
    assert np.isnan(again.rows[1].value)


def test_json_is_strict_and_holds_null_for_what_was_not_measured() -> None:
    document = json.loads(table().to_json(), parse_constant=lambda name: pytest.fail(name))
    assert document["figures"][1]["value"] is None


def test_parquet_gives_back_every_bit(tmp_path: Path) -> None:
    table().to_parquet(tmp_path / "figures.parquet")
    again = AuditTable.from_parquet(tmp_path / "figures.parquet")
    assert again == table()
    assert again.rows[1].status is Status.TOO_FEW


def test_parquet_is_read_by_pandas_alone(tmp_path: Path) -> None:
    table().to_parquet(tmp_path / "figures.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "figures.parquet"), table().frame())


def test_the_frame_gives_back_the_table() -> None:
    assert AuditTable.from_frame(table().frame()) == table()


def test_an_empty_table_survives_both_files(tmp_path: Path) -> None:
    empty = AuditTable([])
    empty.to_parquet(tmp_path / "e.parquet")
    assert AuditTable.from_parquet(tmp_path / "e.parquet") == empty == AuditTable.from_json(empty.to_json())


def test_a_changed_figure_is_noticed() -> None:
    forged = table().to_json().replace('"value": 0.30000000000000004', '"value": 0.01')
    assert forged != table().to_json()
    with pytest.raises(InvalidInputError, match="figures were changed"):
        AuditTable.from_json(forged)


@pytest.mark.parametrize("text", ["{", "[]", '{"schema_version": 2, "figures": []}'])
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError):
        AuditTable.from_json(text)


def test_another_tools_parquet_is_refused(tmp_path: Path) -> None:
    table().frame().to_parquet(tmp_path / "other.parquet")
    with pytest.raises(InvalidInputError, match="schema_version"):
        AuditTable.from_parquet(tmp_path / "other.parquet")


def test_a_row_is_found_by_its_name() -> None:
    found = table().get("rank1_rate", "dlib")
    assert found is not None
    assert found.n == 251
    assert table().get("rank1_rate") is None


def test_two_rows_of_one_name_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="two rows"):
        AuditTable([Row("a", 1, 0.0), Row("a", 2, 0.0)])


@pytest.mark.parametrize(
    "bad",
    [
        {"value": float("inf")},
        {"ci_low": 0.5, "ci_high": 0.4},
        {"p_adjusted": 1.5},
        {"n": -1},
        {"metric": ""},
    ],
)
def test_a_row_that_cannot_be_true_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        Row(**{"metric": "a", "n": 1, "value": 0.0, **bad})  # type: ignore[arg-type]


def test_the_guide_documents_every_column_and_every_status() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    assert [name for name in COLUMNS if f"| `{name}` |" not in text] == []
    assert [str(s) for s in Status if f"`{s}`" not in text] == []
