"""The command line's arguments reach the settings as they were typed, and mistakes are named in plain words."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from understudy.config.build import choose_keypoints, choose_residual
from understudy.config.compose import compose_config, quote, read_flags
from understudy.config.locations import configs_folder
from understudy.config.read import read, read_anonymize
from understudy.config.schema import Detect
from understudy.errors import ConfigError

NASTY = [
    "a b",
    " leading and trailing ",
    "a,b;c",
    "a=b=c",
    "(x)[1,2]{a:b}",
    "it's",
    'say "hi"',
    "'quoted'",
    "'''",
    "back\\slash",
    "ends in \\",
    "\\'",
    "a\\\\'b\\",
    "${x}",
    "\\${x}",
    "\\\\${oc.env:HOME}\\",
    "unbalanced ${",
    "'${x}'",
    "$HOME",
    "-leading-dash",
    "--cfg",
    "ünï/日本/😀",
    "new\nline\tand tab",
    "123",
    "1e3",
    "null.jpg",
    "true",
    "a:b",
    "#hash",
    "*?[a].jp*g",
    "~tilde",
    "!&;|<>`",
    os.fsdecode(b"no utf-8 \xff.jpg"),
]


@pytest.mark.parametrize("name", NASTY)
def test_a_nasty_path_comes_through_unchanged(name: str) -> None:
    config = compose_config("detect", [f"input={name}", f"output={name}.jsonl"])
    settings = read(config, Detect, "detect")
    assert settings.input == name
    assert settings.output == f"{name}.jsonl"


def test_the_folder_of_the_null_edit_may_be_called_null(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folders = ["before=a", "after=b", "output=c"]
    assert compose_config("audit", [*folders, "null=null"]).null == "null"
    assert compose_config("audit", [*folders, "null="]).null is None
    assert compose_config("audit", folders).null is None


def test_null_means_no_file_unless_a_file_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert compose_config("compare", ["runs=a", "output=b", "before=null"]).before is None
    (tmp_path / "null").mkdir()
    assert compose_config("compare", ["runs=a", "output=b", "before=null"]).before == "null"
    assert compose_config("compare", ["runs=a", "output=b", "before="]).before is None


def test_a_path_may_be_given_with_pluses_as_in_hydra() -> None:
    assert read(compose_config("detect", ["++input=a,b", "output=o"]), Detect, "detect").input == "a,b"


def test_a_path_of_question_marks_is_a_glob_and_not_a_missing_value() -> None:
    assert read(compose_config("detect", ["input=???", "output=o"]), Detect, "detect").input == "./???"


@pytest.mark.parametrize("key", ["input", "output"])
def test_an_empty_path_is_refused_and_not_taken_for_the_folder_one_is_in(key: str) -> None:
    paths = {"input": "a", "output": "b", key: ""}
    with pytest.raises(ConfigError, match=f"^{key}= is empty: give a path"):
        compose_config("anonymize", [f"{name}={path}" for name, path in paths.items()])


def test_a_leading_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.chdir(tmp_path)
    assert (
        read(compose_config("detect", ["input=~/pictures", "output=o"]), Detect, "detect").input == "/home/ada/pictures"
    )


def test_a_folder_that_is_really_called_tilde_is_taken_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "~").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read(compose_config("detect", ["input=~/x", "output=o"]), Detect, "detect").input == "~/x"


def test_boxes_can_be_switched_off_again() -> None:
    config = compose_config("anonymize", ["input=a", "output=b", "boxes=x.jsonl", "boxes=null"])
    assert read_anonymize(config).boxes is None


def test_quoting_escapes_only_what_must_be() -> None:
    assert quote("plain") == "'plain'"
    assert quote("it's") == "'it\\'s'"
    assert quote("a\\b") == "'a\\b'"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["inptu=a"], "no setting is called 'inptu': did you mean 'input'?"),
        (["detector=centrface"], "detector=centrface is not known: choose from"),
        (["max_pixels=many"], "max_pixels: Value 'many' of type 'str' could not be converted to Integer"),
        (["runtime.providers=cuda"], "runtime.providers takes a list, in brackets: runtime.providers=[...]"),
        (["runtime.threads=2"], "no setting is called 'runtime.threads': did you mean 'runtime.n_threads'?"),
        (["detector.passes[0].threshold=0.1"], "'detector.passes[0].threshold=0.1' cannot be read: an entry of a list"),
        (["detector.foo=2"], "no setting is called 'detector.foo'; `understudy detect --cfg job` prints them all"),
        (["detector.threshold={"], "no viable alternative at input '{'"),
    ],
)
def test_a_mistake_is_named_in_one_line(overrides: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose_config("detect", ["input=a", "output=b", *overrides])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_asked_for_in_words() -> None:
    with pytest.raises(ConfigError, match=r"anonymize needs input=PATH .* and output=PATH"):
        read_anonymize(compose_config("anonymize", []))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("resume=maybe", "resume must be one of continue, restart, got 'maybe'"),
        ("boxes_mode=merge", "boxes_mode must be one of replace, add, got 'merge'"),
        ("boxes_frame=rotated", "boxes_frame must be one of upright, raw, got 'rotated'"),
        ("seed=-1", "seed must be 0 or more, got -1"),
        ("n_attempts=0", "n_attempts must be 1 or more, got 0"),
        ("max_pixels=0", "max_pixels must be 1 or more, got 0"),
        ("context=0.5", "context must be 1 or more, got 0.5"),
    ],
)
def test_a_value_out_of_range_is_refused_with_what_it_may_be(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_anonymize(compose_config("anonymize", ["input=a", "output=b", override]))
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-m", "seed=1,2"], "sweeps"),
        (["--cfg", "hydra"], "takes the word 'job'"),
        (["--verbose"], "no option is called '--verbose'"),
        (["photos"], "write key=value, such as input=photos"),
    ],
)
def test_a_flag_that_is_not_known_is_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_flags(arguments)


def test_flags_and_overrides_are_told_apart() -> None:
    flags = read_flags(["input=--cfg", "--cfg", "job", "--config-dir=mine", "~boxes"])
    assert flags.overrides == ("input=--cfg", "~boxes")
    assert flags.print_config
    assert flags.config_folder == "mine"


def test_a_folder_of_the_users_adds_files_to_a_group(tmp_path: Path) -> None:
    folder = tmp_path / "my, configs"
    (folder / "attributes").mkdir(parents=True)
    text = (configs_folder() / "attributes" / "nothing.yaml").read_text()
    (folder / "attributes" / "mine.yaml").write_text(text.replace("keep: []", "keep: [head_pose]"))
    config = compose_config("anonymize", ["input=a", "output=b", "attributes=mine"], str(folder))
    assert read_anonymize(config).attributes["keep"] == ["head_pose"]


def test_a_folder_of_the_users_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must name a folder"):
        compose_config("anonymize", [], str(tmp_path / "absent"))


def test_the_residual_detector_that_the_user_chose_stays() -> None:
    assert choose_residual(["residual=none", "detector=yunet"]) == ["residual=none", "detector=yunet"]


def test_the_residual_detector_follows_from_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.config.build.is_here", lambda name: name != "mtcnn_onet")
    assert choose_residual([]) == ["residual=dlib_hog"]
    monkeypatch.setattr("understudy.config.build.is_here", lambda name: True)
    assert choose_residual([]) == ["detector.keypoints.onet=true", "residual=mtcnn"]
    assert choose_residual(["detector=mtcnn"]) == ["detector=mtcnn", "residual=dlib_hog"]


@pytest.mark.parametrize("detector", [[], ["detector=default"], ["detector=thorough"]])
def test_mtcnn_s_last_network_reads_keypoints_where_its_weights_are(
    detector: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("understudy.config.build.is_here", lambda name: True)
    chosen = choose_keypoints(detector)
    assert chosen == [*detector, "detector.keypoints.onet=true"]
    assert compose_config("detect", ["input=a", "output=b", *chosen]).detector.keypoints.onet is True
    monkeypatch.setattr("understudy.config.build.is_here", lambda name: name != "mtcnn_onet")
    assert choose_keypoints(detector) == detector


@pytest.mark.parametrize(
    "told",
    [
        "detector=yunet",
        "detector=mine",
        "detector.keypoints.onet=false",
        "detector.keypoints=null",
        "~detector.keypoints",
    ],
)
def test_what_the_user_says_about_detector_or_keypoints_stays(told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("understudy.config.build.is_here", lambda name: True)
    assert choose_keypoints([told]) == [told]


def test_several_values_without_a_sweep_are_told_what_makes_one() -> None:
    with pytest.raises(ConfigError, match=r"^generator names several values, fill,blur: -m runs each of them"):
        compose_config("anonymize", ["input=a", "output=b", "generator=fill,blur"])
    with pytest.raises(ConfigError, match=r"^detector names several values, a,b: detector=\[a,b\] is a list"):
        compose_config("detect", ["input=a", "output=b", "detector=a,b"])
