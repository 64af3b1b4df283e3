"""Who is rendered: dealt by index, spread over tone, age, gender and pose, the same in every process."""

from dataclasses import replace

import numpy as np
import pytest

from understudy.errors import InvalidInputError
from understudy.people.eyes import BROWN_FROM, IRISES, iris_shares
from understudy.people.haircolor import hair_color
from understudy.people.persona import (
    EXPRESSION_CLASS,
    SHAVEN,
    age_group,
    bare,
    gender_expression,
    generator,
    sample_persona,
    sample_view,
    swept_view,
)


def test_every_ten_heads_hold_each_monk_step_once() -> None:
    for block in range(5):
        assert sorted(sample_persona(3, 10 * block + k).monk_step for k in range(10)) == list(range(1, 11))


def test_melanin_lies_in_its_monk_step() -> None:
    for index in range(40):
        persona = sample_persona(0, index)
        assert persona.monk_step - 1 < 10 * persona.melanin < persona.monk_step


@pytest.mark.parametrize("n", [40, 100, 500])
def test_any_prefix_is_flat_in_age_and_gender(n: int) -> None:
    personas = [sample_persona(1, index) for index in range(n)]
    for values, low, high in (([p.age for p in personas], 3, 90), ([p.gender for p in personas], 0, 1)):
        counts = np.histogram(values, 4, (low, high))[0]
        assert counts.sum() == n
        assert np.abs(counts - n / 4).max() <= 3


def test_age_gender_and_tone_are_dealt_apart() -> None:
    table = np.array([(p.age, p.gender, p.melanin) for p in (sample_persona(0, i) for i in range(400))])
    assert np.abs(np.corrcoef(table.T)[np.triu_indices(3, 1)]).max() < 0.15


def test_views_turn_to_both_sides_up_to_a_profile_and_half_of_them_lie_within_30_degrees() -> None:
    yaw = np.array([sample_view(0, index, k, 4).yaw_deg for index in range(100) for k in range(4)])
    assert yaw.min() < -85
    assert yaw.max() > 85
    assert abs(np.mean(yaw > 0) - 0.5) < 0.02
    assert 0.44 < np.mean(np.abs(yaw) < 30) < 0.56


def test_a_head_is_the_same_whatever_was_dealt_before_and_another_seed_gives_another_head() -> None:
    first = sample_persona(5, 17)
    [sample_persona(5, index) for index in range(17)]
    assert sample_persona(5, 17) == first
    assert sample_view(5, 17, 2, 4) == sample_view(5, 17, 2, 4)
    assert sample_persona(6, 17) != first


def test_streams_of_different_parts_do_not_repeat_each_other() -> None:
    assert generator(1, 2, 3).random() == generator(1, 2, 3).random()
    assert len({generator(1, part, 3).random() for part in range(20)}) == 20


def test_children_have_no_beard_no_bald_head_and_no_lipstick() -> None:
    children = [p for p in (sample_persona(2, i) for i in range(600)) if p.age < 14]
    assert len(children) > 50
    assert all(p.beard == "none" and p.hair not in ("bald", "receding") and not p.lipstick for p in children)


def test_a_face_is_plain_where_nothing_on_it_is_anybody_s_own() -> None:
    for persona in (sample_persona(4, i) for i in range(200)):
        marked = persona.beard != "none" or persona.lipstick or persona.eye_shadow
        assert persona.plain == (not marked and persona.worn in ("none", "cap"))


def test_classes_of_age_gender_expression_and_expression() -> None:
    assert [age_group(a) for a in (3, 12.9, 13, 29, 30, 45, 60, 90)] == [0, 0, 1, 1, 2, 3, 4, 4]
    assert [gender_expression(g) for g in (0, 0.34, 0.35, 0.65, 0.66, 1)] == [0, 0, 1, 1, 2, 2]
    assert [EXPRESSION_CLASS[e] for e in ("neutral", "smile", "broad_smile", "talk")] == [0, 1, 2, 3]


def test_a_negative_index_is_refused_with_its_value() -> None:
    with pytest.raises(InvalidInputError, match="-1"):
        sample_persona(0, -1)


def test_a_bare_head_keeps_its_shape_and_loses_what_is_its_own() -> None:
    """Hair, beard, make-up and what is worn go; age, tone, gender and expression stay."""
    persona = next(p for p in (sample_persona(0, i) for i in range(200)) if p.beard != "none" and p.worn != "none")
    shown = bare(persona)
    assert (shown.hair, shown.beard, shown.worn, shown.lipstick, shown.eye_shadow) == (
        SHAVEN,
        "none",
        "none",
        False,
        False,
    )
    assert (shown.age, shown.melanin, shown.gender, shown.expression) == (
        persona.age,
        persona.melanin,
        persona.gender,
        persona.expression,
    )
    assert shown.plain
    assert bare(persona, with_beard=True) == replace(shown, beard=persona.beard)


def test_the_yaw_of_views_ends_where_it_is_told_to() -> None:
    """With a limit of 40 degrees, 40 views reach past 35 and none passes 40."""
    yaw = [abs(sample_view(0, 1, k, 40, 40.0).yaw_deg) for k in range(40)]
    assert 35 < max(yaw) <= 40


def test_eyes_are_brown_where_skin_is_dark_whatever_the_hair() -> None:
    """Over half of the ramp no iris is lighter than the second brown; light ones come up on light skin."""
    light = set()
    for persona in (sample_persona(0, i) for i in range(200)):
        dealt = np.flatnonzero(iris_shares(persona, hair_color(persona, generator(0, 9, persona.index))))
        if persona.melanin > BROWN_FROM:
            assert IRISES[dealt].max() <= IRISES[:2].max()
        light.add(int(dealt.max()))
    assert len(IRISES) - 1 in light


def test_a_sweep_goes_from_the_front_to_one_side_in_order_and_repeats() -> None:
    """Six views to 60 degrees: rising, the first within 5 degrees of the front, the last beyond 40, none over 60."""
    for index in range(20):
        yaw = [swept_view(0, index, k, 6, 60.0).yaw_deg for k in range(6)]
        assert yaw == sorted(yaw)
        assert 0 <= yaw[0] < 6
        assert 45 < yaw[-1] <= 60
    assert swept_view(0, 3, 2, 6, 60.0) == swept_view(0, 3, 2, 6, 60.0)
