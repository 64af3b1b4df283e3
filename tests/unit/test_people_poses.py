"""Poses of whole bodies: limbs point where the posture says."""

from dataclasses import replace

import numpy as np
import pytest

from understudy.people.fields import unit
from understudy.people.poses import ARMS, STANCES, Limb, bone_rotations, rotation_between, sample_pose
from understudy.people.render_body import facing, view_yaw_deg

SPINE = ("spine05", "spine04", "spine03", "spine02", "spine01")
NECK = ("neck01", "neck02", "neck03", "head")


def skeleton() -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """A stick figure with the model's names: arms half raised, legs straight down."""
    labels, parents, heads = ["root"], [-1], [(0.0, 0.0, 0.0)]

    def add(name: str, parent: str, place: tuple[float, float, float]) -> None:
        parents.append(labels.index(parent))
        labels.append(name)
        heads.append(place)

    for k, name in enumerate((*SPINE, *NECK)):
        add(name, labels[-1] if k else "root", (0, 0, 0.1 * (k + 1)))
    for side, sign in ((".L", 1.0), (".R", -1.0)):
        add("upperleg01" + side, "root", (0.1 * sign, 0, 0))
        add("lowerleg01" + side, "upperleg01" + side, (0.1 * sign, 0, -0.4))
        add("foot" + side, "lowerleg01" + side, (0.1 * sign, 0, -0.8))
        add("clavicle" + side, "spine01", (0.05 * sign, 0, 0.5))
        add("upperarm01" + side, "clavicle" + side, (0.2 * sign, 0, 0.5))
        add("lowerarm01" + side, "upperarm01" + side, (0.4 * sign, 0, 0.3))
        add("wrist" + side, "lowerarm01" + side, (0.6 * sign, 0, 0.1))
        for finger in "2345":
            before = "wrist" + side
            for joint in "123":
                name = f"finger{finger}-{joint}{side}"
                add(name, before, (0.65 * sign, -0.02 * int(finger), 0.1 - 0.03 * int(joint)))
                before = name
    return tuple(labels), np.array(parents), np.array(heads)


def test_the_smallest_rotation_takes_one_direction_to_the_other_and_keeps_their_normal() -> None:
    a, b = np.array([1.0, 0, 0]), np.array([0, 2.0, 0])
    turn = rotation_between(a, b)
    np.testing.assert_allclose(turn @ a, [0, 1, 0], atol=1e-12)
    np.testing.assert_allclose(turn @ [0, 0, 1], [0, 0, 1], atol=1e-12)
    np.testing.assert_array_equal(rotation_between(a, 3 * a), np.eye(3))


@pytest.mark.parametrize("stance", STANCES)
def test_limbs_point_where_the_posture_says_with_a_straight_trunk(stance: str) -> None:
    labels, parents, heads = skeleton()
    pose = replace(sample_pose(np.random.default_rng(3), stance), spine_deg=(0.0, 0.0, 0.0))  # type: ignore[arg-type]
    turns = bone_rotations(labels, parents, heads, pose)
    limbs: dict[tuple[str, str, str], Limb] = {
        ("upperleg01.L", "lowerleg01.L", "foot.L"): pose.left_leg,
        ("upperleg01.R", "lowerleg01.R", "foot.R"): pose.right_leg,
    }
    if pose.left_arm.upper[2] < -0.5:  # the collarbone does not rise
        limbs["upperarm01.L", "lowerarm01.L", "wrist.L"] = pose.left_arm
    for chain, limb in limbs.items():
        a, b, c = (labels.index(name) for name in chain)
        np.testing.assert_allclose(unit(turns[a] @ (heads[b] - heads[a])), limb.upper, atol=1e-9)
        np.testing.assert_allclose(unit(turns[b] @ (heads[c] - heads[b])), limb.lower, atol=1e-9)


def test_fingers_close_towards_the_middle_of_the_body_on_both_sides() -> None:
    labels, parents, heads = skeleton()
    pose = replace(sample_pose(np.random.default_rng(1), "stand"), spine_deg=(0.0, 0.0, 0.0), curl_deg=30.0)
    turns = bone_rotations(labels, parents, heads, pose)
    for side, sign in ((".L", 1.0), (".R", -1.0)):
        knuckle, wrist = labels.index("finger3-1" + side), labels.index("lowerarm01" + side)
        along = np.array([0, 0, -1.0])
        in_hand = turns[wrist].T @ turns[knuckle] @ along
        assert in_hand[0] * sign < -0.3


def test_the_same_numbers_give_the_same_posture_and_arms_that_need_each_other_come_in_pairs() -> None:
    poses = [sample_pose(np.random.default_rng(seed)) for seed in range(40)]
    again = sample_pose(np.random.default_rng(7))
    np.testing.assert_array_equal(poses[7].left_arm.upper, again.left_arm.upper)
    assert {pose.stance for pose in poses} == set(STANCES)
    for pose in poses:
        assert set(pose.arms) <= set(ARMS)
        assert ("crossed" in pose.arms) <= (pose.arms == ("crossed", "crossed"))


def test_most_views_are_from_the_front_and_any_twenty_in_a_row_hold_one_from_behind() -> None:
    seen = [facing(view_yaw_deg(0, number)) for number in range(200)]
    assert 0.5 < seen.count("front") / 200 < 0.66
    assert all("back" in seen[k : k + 20] for k in range(0, 200, 20))
