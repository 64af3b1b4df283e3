"""Words for a condition: templates of fragments, of which those that name an attribute not carried are left out."""

from __future__ import annotations

import string
from collections.abc import Mapping, Sequence
from dataclasses import fields

from understudy.attributes.bins import N_CATEGORIES
from understudy.errors import InvalidInputError
from understudy.types import Attributes

WORDS: Mapping[str, tuple[str, ...]] = {
    "skin_tone": ("very light", "light", "medium", "tan", "brown", "dark"),
    "head_pose": (
        "in profile, facing left",
        "in three-quarter view, facing left",
        "facing the camera",
        "in three-quarter view, facing right",
        "in profile, facing right",
    ),
    "age_group": ("child", "young adult", "adult", "middle-aged adult", "elderly adult"),
    "expression": ("neutral expression", "gentle smile, mouth closed", "smiling, showing teeth", ""),
    "perceived_gender_expression": ("masculine", "androgynous", "feminine"),
    "glasses": ("", "wearing glasses"),
    "beard": ("", "with a beard"),
}
"""A word or a few for every bin of every attribute; "" says nothing. The subject's right is the picture's left."""


class PromptTemplate:
    """Prompts made of fragments.

    Parameters
    ----------
    fragments : sequence of str
        Joined with commas. ``{skin_tone}`` and the like stand for the words of that attribute; a fragment that names
        one which is not carried, or which has no word for its bin, is left out.
    negative : str
        What the picture should not show; the same for everybody.
    words : mapping, optional
        Words in place of ``WORDS``, for whole attributes: one for every bin.

    Raises
    ------
    InvalidInputError
        A fragment names something else, or an attribute has too few or too many words.
    """

    def __init__(
        self, fragments: Sequence[str], negative: str = "", words: Mapping[str, Sequence[str]] | None = None
    ) -> None:
        self.negative = negative
        self.words = {**WORDS, **{name: tuple(given) for name, given in (words or {}).items()}}
        for name, given in self.words.items():
            if len(given) != N_CATEGORIES.get(name, -1):
                expected = N_CATEGORIES.get(name)
                known = f"needs {expected} words" if expected else f"is no attribute: choose from {list(N_CATEGORIES)}"
                raise InvalidInputError(f"words.{name} {known}, got {list(given)}")
        self._fragments = tuple((fragment, _names_in(fragment)) for fragment in fragments)

    def __call__(self, attributes: Attributes) -> str:
        """The prompt for one person."""
        told = {field.name: self._word(field.name, getattr(attributes, field.name)) for field in fields(attributes)}
        return ", ".join(
            fragment.format(**told) for fragment, names in self._fragments if all(told[name] for name in names)
        )

    def _word(self, name: str, value: int | None) -> str:
        return "" if value is None else self.words[name][value]


def _names_in(fragment: str) -> tuple[str, ...]:
    """Attributes that a fragment names."""
    try:
        names = tuple(name for _, name, _, _ in string.Formatter().parse(fragment) if name is not None)
    except ValueError as error:
        raise InvalidInputError(f"the fragment {fragment!r} cannot be read: {error}") from error
    unknown = sorted(set(names) - set(WORDS))
    if unknown:
        raise InvalidInputError(f"the fragment {fragment!r} names {unknown[0]!r}: choose from {list(WORDS)}")
    return names
