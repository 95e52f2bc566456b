"""Agreement of boxes with labels that they were not made from: purity beside random boxes, and mutual information."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray
from sklearn.metrics import adjusted_mutual_info_score

from intaglio.randomness import numpy_generator

DRAWS = 500
"""Random boxes that purity is set beside."""
UNKNOWN = -1
"""Code of a picture without a label."""


@dataclass(frozen=True, eq=False)
class LabelColumn:
    """One label of the pictures, and a classifier's answers where they are known."""

    name: str
    classes: tuple[str, ...]
    codes: Int[ndarray, "n"]
    """Places in the classes; -1 where the label is not known."""
    predicted: Int[ndarray, "n"] | None = None
    """The same of the answers."""

    @classmethod
    def of(cls, name: str, labels: Sequence[str], predicted: Sequence[str] | None = None) -> "LabelColumn":
        """From texts, one a picture, empty where it is not known; classes in the order of the alphabet."""
        classes = tuple(sorted({one for one in (*labels, *(predicted or ())) if one}))
        place = {one: number for number, one in enumerate(classes)} | {"": UNKNOWN}
        codes = [np.array([place[one] for one in texts], np.int64) for texts in (labels, predicted or ())]
        return cls(name, classes, codes[0], None if predicted is None else codes[1])

    def commonest(self, members: Int[ndarray, "k"]) -> tuple[str, float | None]:
        """The commonest label of some pictures, and its share of those whose label is known; None where none is."""
        known = self.codes[members][self.codes[members] != UNKNOWN]
        if not len(known):
            return "", None
        counts = np.bincount(known, minlength=len(self.classes))
        return self.classes[int(counts.argmax())], float(counts.max() / len(known))

    def wrong(self, members: Int[ndarray, "k"]) -> float | None:
        """The share of wrong answers among some pictures whose label and answer are known; None without any."""
        if self.predicted is None:
            return None
        codes, answers = self.codes[members], self.predicted[members]
        known = (codes != UNKNOWN) & (answers != UNKNOWN)
        return float((codes != answers)[known].mean()) if known.any() else None


@dataclass(frozen=True)
class LabelAgreement:
    """Agreement of boxes with one label."""

    column: str
    pictures: int
    """With a label."""
    purity: float
    """Share of them that have the commonest label of their box."""
    chance: float
    """Mean purity of random boxes of the same sizes."""
    p: float
    """Share of random boxes with as much mutual information or more, with the boxes themselves among them."""
    information: float
    """Mutual information of boxes and labels, adjusted for chance: 0 for random boxes, 1 for equal parts."""


def agreement_of(boxes: Int[ndarray, "n"], column: LabelColumn, seed: int) -> LabelAgreement | None:
    """Agreement of boxes with a label; None where fewer than two labels are known."""
    known = column.codes != UNKNOWN
    inside, codes = boxes[known], column.codes[known]
    if len(codes) < 2:
        return None
    random = numpy_generator(seed, len(codes))
    found = _counts(inside, codes)
    drawn = [_counts(inside, random.permutation(codes)) for _ in range(DRAWS)]
    as_much = sum(_entropy_sum(one) >= _entropy_sum(found) - 1e-9 for one in drawn)
    chance = float(np.mean([_pure(one) for one in drawn]))
    information = float(adjusted_mutual_info_score(codes, inside))
    return LabelAgreement(column.name, len(codes), _pure(found), chance, (1 + as_much) / (DRAWS + 1), information)


def of_commonest(boxes: Int[ndarray, "n"], codes: Int[ndarray, "n"]) -> Bool[ndarray, "n"]:
    """Whether each picture has the commonest label of its box, the first of several; codes are 0 or more.

    Its mean is the purity of the boxes.
    """
    _, inside = np.unique(boxes, return_inverse=True)
    return codes == _counts(boxes, codes).argmax(1)[inside]


def _counts(boxes: Int[ndarray, "n"], codes: Int[ndarray, "n"]) -> Int[ndarray, "b c"]:
    """Pictures by box and label; boxes without a picture are left out."""
    _, inside = np.unique(boxes, return_inverse=True)
    width = int(codes.max()) + 1
    return np.bincount(inside * width + codes, minlength=(int(inside.max()) + 1) * width).reshape(-1, width)


def _pure(counts: Int[ndarray, "b c"]) -> float:
    return float(counts.max(1).sum() / counts.sum())


def _entropy_sum(counts: Int[ndarray, "b c"]) -> float:
    """Sum of n log n over all cells: under the same margins it goes with the mutual information."""
    filled = counts[counts > 0]
    return float((filled * np.log(filled)).sum())
