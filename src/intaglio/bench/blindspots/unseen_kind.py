"""Scene of the bench of blind spots: a kind of subject that was withheld from a base in its training.

The pairs are by the base's own artists, a quarter of them of the kind. A concept is the kind's, or the other kinds', by
pictures of another artist, of much the same subjects.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, Literal

from intaglio.bench.blindspots.unseen import Unseen, joined, spread
from intaglio.images.image_set import ImageSet
from intaglio.models import testbed
from intaglio.models.testbed import FewShot

Kind = Literal["Animals & Nature", "Food & Drink", "Objects", "People & Body", "Smileys & Emotion", "Travel & Places"]
KINDS: dict[Kind, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Animals & Nature": (("mammals", "birds-bugs-and-fish"), ("plants-and-produce",)),
    "Food & Drink": (("meals", "sweets-and-drinks"), ("plants-and-produce",)),
    "Objects": (("clothing", "music-and-screens", "tools-and-household", "paper-and-office"), ("sport-and-games",)),
    "People & Body": (("hands", "roles"), ()),
    "Smileys & Emotion": (("faces-at-ease", "faces-unwell"), ()),
    "Travel & Places": (("vehicles", "places", "sky-and-time"), ()),
}
"""Kinds of subjects by Unicode's groups: the testbed's sets that are wholly of one, and those that partly are."""
SHARE = 0.25
"""Of the pairs that are of the kind."""


@dataclass(frozen=True, eq=False)
class UnseenKind(Unseen):
    """Pictures of all kinds by the base's artists beside drawings of their captions, and Noto's to tell kinds apart."""

    head: ClassVar[str] = "kind"

    kind: Kind
    """The kind that was withheld."""

    @property
    def sets(self) -> tuple[list[FewShot], list[FewShot]]:
        """The sets that are wholly of the kind, and those that have none of it."""
        whole, partly = KINDS[self.kind]
        others = [name for name in testbed.sets() if name not in (*whole, *partly)]
        return [testbed.few_shot(name) for name in whole], [testbed.few_shot(name) for name in others]

    @cached_property
    def real(self) -> ImageSet:
        """By the base's artists: a quarter of the kind, as far as there are such, the rest spread over the others."""
        ours, theirs = (joined(*(one.other_hands for one in side)) for side in self.sets)
        count = min(len(ours), round(SHARE * self.pairs))
        return joined(spread(ours, count), spread(theirs, self.pairs - count))

    @cached_property
    def apart(self) -> tuple[ImageSet, ImageSet]:
        """Noto's pictures of the kind, and of the other kinds; the base never learnt from these."""
        ours, theirs = (joined(*(part for one in side for part in (one.members, one.holdouts))) for side in self.sets)
        return ours, theirs
