"""Real renders, in the render environment: the same seed gives the same picture, and a stopped run goes on."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from understudy.errors import InvalidInputError
from understudy.people.output import LABELS, read_rows
from understudy.people.persona import sample_persona
from understudy.people.render import Settings, aged, main, named_ages, named_heads, parse_arguments, variant

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = Path(os.environ.get("UNDERSTUDY_RENDER", ROOT / ".venv-render"))
VARIED = ("age", "expression", "hair", "beard", "worn", "lipstick", "eye_shadow")
BODY = Path(os.environ.get("UNDERSTUDY_BODY", ENVIRONMENT / "body.npz"))


def test_the_command_line_asks_for_what_the_settings_are_by_default() -> None:
    args, settings = parse_arguments(["out"]), Settings()
    assert (args.seed, args.size, args.samples) == (settings.seed, settings.size_px, settings.samples)
    assert (args.views, args.mixes) == (settings.n_views, settings.n_mixes)
    assert args.portrait_light is settings.portrait_light is False
    assert parse_arguments(["out", "--portrait-light"]).portrait_light


def test_an_older_head_is_the_same_head_in_all_but_its_age() -> None:
    head = sample_persona(0, 3)
    assert aged(head, 0) == head
    assert aged(head, 5) == replace(head, age=head.age + 5)


def test_a_head_older_than_the_body_model_reaches_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="spans 3 to 90"):
        aged(replace(sample_persona(0, 3), age=87.0), 5)


def test_heads_and_views_are_taken_by_number() -> None:
    assert named_heads("3,17:0, 17:2", n_views=4) == {3: [], 17: [0, 2]}
    assert named_heads("", n_views=4) == {}


@pytest.mark.parametrize("heads", ["three", "3:x", "3:4", "-1"])
def test_a_wrong_list_of_heads_is_refused_with_the_word_that_is_wrong(heads: str) -> None:
    with pytest.raises(SystemExit, match=f"got {heads!r}"):
        main(["out", "--heads", heads])


def test_a_variant_changes_what_it_names_and_nothing_else() -> None:
    """One head smiling, bare and of an age between 16 and 48: index, skin tone, gender and shape are as dealt."""
    dealt = sample_persona(0, 20004)
    made = variant(dealt, Settings(bare=True, expression="broad_smile", ages=(16, 48)))
    assert (made.expression, made.hair, made.beard, made.worn) == ("broad_smile", "shaven", "none", "none")
    assert 16 <= made.age <= 48
    assert replace(made, **{name: getattr(dealt, name) for name in VARIED}) == dealt
    assert variant(dealt, Settings()) == dealt


def test_ages_dealt_anew_are_flat_between_the_limits() -> None:
    """Of each twenty heads in a row one lies in each twentieth of the span."""
    ages = [variant(sample_persona(0, index), Settings(ages=(20, 40))).age for index in range(20)]
    assert sorted(int(age - 20) for age in ages) == list(range(20))


@pytest.mark.parametrize("text", ["16", "48-16", "2-30", "30-99", "a-b", "16-20-30"])
def test_ages_that_cannot_be_are_refused(text: str) -> None:
    """The message repeats what was given."""
    with pytest.raises(InvalidInputError, match=text):
        named_ages(text)
    assert named_ages("16-48") == (16, 48)
    assert named_ages(None) is None


def render(folder: Path, count: int) -> None:
    command = [
        str(ENVIRONMENT / "bin" / "python"), "-m", "understudy.people.render", str(folder), "--body", str(BODY),
        "--first", "3", "--count", str(count), "--size", "64", "--samples", "2", "--views", "1", "--mixes", "2",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, env=environment, capture_output=True)


@pytest.mark.slow
@pytest.mark.skipif(not BODY.exists(), reason=f"no render environment at {ENVIRONMENT}: 'make render' sets it up")
def test_the_same_seed_gives_the_same_pictures_and_a_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    render(tmp_path / "a", 2)
    render(tmp_path / "b", 1)
    kept = (tmp_path / "b" / "0000" / "000003_0_0.png").stat().st_mtime_ns
    render(tmp_path / "b", 2)
    rows = {name: read_rows(tmp_path / name / LABELS) for name in "ab"}
    assert rows["a"] == rows["b"]
    assert {row["index"] for row in rows["a"]} == {3, 4}
    for row in rows["a"]:
        for kind in ("file", "foreground", "masks", "linear"):
            assert (tmp_path / "a" / row[kind]).read_bytes() == (tmp_path / "b" / row[kind]).read_bytes()
    assert (tmp_path / "b" / "0000" / "000003_0_0.png").stat().st_mtime_ns == kept
