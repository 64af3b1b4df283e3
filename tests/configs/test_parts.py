"""What a config may build: understudy's own classes, with arguments that they take."""

from __future__ import annotations

import pytest

from understudy.attributes.policy import AttributePolicy
from understudy.config.parts import PartBuilder, find_target
from understudy.errors import ConfigError

POLICY = "understudy.attributes.policy.AttributePolicy"


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.eval",
        "torch.load",
        "understudy",
        "understudy_evil.run",
        "understudy.weights.shutil.rmtree",  # through a module that understudy imports
        "understudy.weights.os",
        "understudy.weights.urllib.request.urlopen",
        "understudy.types.np.load",
        "understudy.types.ERASED",
        "understudy.nothing.Here",
        "understudy.types.Nothing",
    ],
)
def test_a_target_outside_understudy_is_refused_before_anything_is_built(target: str) -> None:
    with pytest.raises(ConfigError, match=r"detector\._target_ is"):
        PartBuilder()({"_target_": target}, "detector")


def test_a_target_hidden_deep_inside_another_is_refused_too() -> None:
    node = {"_target_": POLICY, "keep": [{"_target_": "os.getcwd"}]}
    with pytest.raises(ConfigError, match=r"attributes\.keep\[0\]\._target_ is 'os.getcwd'"):
        PartBuilder()(node, "attributes")


def test_a_target_of_our_own_is_found() -> None:
    assert find_target(POLICY, "attributes") is AttributePolicy


def test_arguments_are_handed_over() -> None:
    policy = PartBuilder()({"_target_": POLICY, "keep": ["head_pose"], "keypoints": False}, "attributes")
    assert policy.keep == ("head_pose",)
    assert policy.keypoints is False


def test_an_argument_that_is_not_known_is_named_with_those_that_are() -> None:
    with pytest.raises(ConfigError, match="attributes has no setting called 'kep': it takes keep, keypoints"):
        PartBuilder()({"_target_": POLICY, "kep": []}, "attributes")


def test_an_argument_that_must_be_given_is_asked_for() -> None:
    with pytest.raises(ConfigError, match=r"residual\.detector must be given"):
        PartBuilder()({"_target_": "understudy.residual.ResidualScan"}, "residual")


@pytest.mark.parametrize(
    ("key", "text", "message"),
    [
        ("n_threads", "many", r"^attributes\.n_threads must be a whole number, got 'many'$"),
        ("min_probability", "half", r"^attributes\.min_probability must be a number, got 'half'$"),
        ("keypoints", "no way", r"^attributes\.keypoints must be true or false, got 'no way'$"),
        ("keep", "head_pose", r"^attributes\.keep takes a list, in brackets: attributes\.keep=\[head_pose\]$"),
    ],
)
def test_a_word_where_something_else_is_wanted_is_refused_by_its_name(key: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        PartBuilder()({"_target_": POLICY, key: text}, "attributes")


def test_a_null_target_builds_nothing() -> None:
    assert PartBuilder()({"_target_": None}, "guard") is None


def test_equal_nodes_share_one_object_and_different_ones_do_not() -> None:
    build = PartBuilder()
    node = {"_target_": POLICY, "keep": []}
    assert build(dict(node), "a") is build(dict(node), "b")
    assert build(node, "a") is not build({**node, "keypoints": False}, "c")


def test_a_value_that_the_constructor_refuses_is_told_with_its_place() -> None:
    with pytest.raises(ConfigError, match=r"attributes\.keep names \['iris'\]"):
        PartBuilder()({"_target_": POLICY, "keep": ["iris"]}, "attributes")


@pytest.mark.parametrize("key", ["_partial_", "_args_", "_recursive_"])
def test_hydras_other_ways_to_build_are_refused(key: str) -> None:
    with pytest.raises(ConfigError, match=f"attributes has no setting called '{key}'"):
        PartBuilder()({"_target_": POLICY, key: True}, "attributes")
