"""Entities of a prompt, their colours and their relation, and the tokens that stand for them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from intaglio.models.library_logging import quiet_libraries
from intaglio.sampling.scenes.grammar import COLOURS, RELATIONS

COLOUR_WORDS = (*COLOURS, "orange", "pink", "brown", "white", "grey", "gray", "gold", "golden", "silver")
"""Adjectives that make the next word an entity."""
_NO_NOUNS = ("and", "or", "of", "on", "in", "with", "left", "right", "above", "below", *COLOUR_WORDS)
_PLACES = [relation for relation in RELATIONS if relation != "and"]

Span = tuple[int, int]
"""First letter of a word, and the one after its last."""


@dataclass(frozen=True)
class PromptEntity:
    """A noun of a prompt."""

    noun: Span
    colour: Span | None
    """Its adjective; None for a noun without one."""


@dataclass(frozen=True)
class Composition:
    """Entities of a prompt, in its order."""

    entities: tuple[PromptEntity, ...]
    relation: str | None
    """`left of`, `right of`, `above` or `below`, of the first of two entities to the second; None for none."""


def composition_of(prompt: str, nouns: Sequence[str] = ()) -> Composition:
    """The entities of a prompt.

    Without `nouns`, the word after a colour's is one; with `nouns`, these words are, each with a colour's that stands
    before it or before the word before it.
    """
    colour = rf"\b({'|'.join(COLOUR_WORDS)})"
    if nouns:
        named = "|".join(re.escape(noun) for noun in sorted(nouns, key=len, reverse=True))
        pattern = rf"(?:{colour}\s+(?:\w+\s+)??)?\b({named})\b"
    else:
        pattern = rf"{colour}\s+(?!(?:{'|'.join(_NO_NOUNS)})\b)(\w+)"
    found = list(re.finditer(pattern, prompt, re.IGNORECASE))
    entities = tuple(PromptEntity(one.span(2), one.span(1) if one.group(1) else None) for one in found)
    return Composition(entities, _relation(prompt[found[0].end() : found[1].start()]) if len(found) == 2 else None)


def _relation(between: str) -> str | None:
    words = " ".join(between.lower().split())
    return next((one for one in _PLACES if re.search(rf"\b{one}\b", words)), None)


@dataclass(frozen=True)
class EntityTokens:
    """Places of an entity's tokens among those of its prompt, counted without the start token."""

    noun: tuple[int, ...]
    colour: tuple[int, ...]
    """Empty for an entity without one."""


@dataclass(frozen=True)
class ComposedTokens:
    """A prompt's tokens between start and end, and which of them are its entities'."""

    count: int
    entities: tuple[EntityTokens, ...]
    """Those that are read whole: a text encoder cuts long prompts."""
    relation: str | None

    @property
    def has_loss(self) -> bool:
        """Whether there is anything to hold apart or to bind: two entities, or one with a colour."""
        return len(self.entities) > 1 or any(one.colour for one in self.entities)


def composed_tokens(tokenizer: Any, prompt: str, nouns: Sequence[str] = ()) -> ComposedTokens:
    """The tokens of a prompt's entities, by a tokenizer that adds a start and an end token."""
    found = composition_of(prompt, nouns)

    def before(letters: int) -> int:
        with quiet_libraries():
            return len(tokenizer(prompt[:letters]).input_ids) - 2

    def places(span: Span | None) -> tuple[int, ...]:
        return () if span is None else tuple(range(before(span[0]), before(span[1])))

    count = min(before(len(prompt)), tokenizer.model_max_length - 2)
    entities = [EntityTokens(places(one.noun), places(one.colour)) for one in found.entities]
    read = tuple(one for one in entities if max(one.noun + one.colour) < count)
    return ComposedTokens(count, read, found.relation if len(read) == len(entities) else None)
