"""difflens: sparse codes of the bottleneck that carry each value, by integrated gradients of step classifiers."""

from dataclasses import dataclass
from math import inf
from typing import ClassVar

import numpy as np

from intaglio.errors import require
from intaglio.explain.bias.code_attributions import code_attributions, code_changes, strongest
from intaglio.explain.bias.code_dictionary import unexplained
from intaglio.explain.bias.code_family import CodeChanges, CodeEditor, named
from intaglio.explain.bias.family import FoundChange, Samples
from intaglio.explain.bias.step_classifiers import fitted_classifiers
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class DiffLens(CodeEditor):
    """Sparse codes that carry each value, found by integrated gradients and raised while drawing.

    A sparse autoencoder has k codes z of which few are above 0 for the c numbers of each place of the site's output h
    [c, h, w]; a linear classifier of the whole of h tells the values at each step. The attribution of a code to a value
    is the integral of the gradient of the value's probability, softmax(logits / temperature), along the codes from
    those of a contrast, the other values' drawings, to those of the drawing, summed over places and steps. The edit of
    the codes with the largest attributions, among those that are higher in drawings of the value than in the contrast,
    is h + Dec(z') - Dec(z), with z' = z + strength * mean, or strength * z.

    Source: DiffLens, arXiv 2503.20483. There the classifier learns by Adam, and the contrast is another prompt; here it
    is a regression with a penalty, and the contrast without `words` is a mean over the other drawings.
    """

    reading: ClassVar[str] = "sparse codes that carry its value, found by integrated gradients"
    by_chance: ClassVar[str] = "random codes"

    temperature: float = 1000.0
    """Divides the logits, above 0: a high one keeps gradients where the classifier is sure."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 < self.temperature < inf, f"temperature must be above 0, and finite, not {self.temperature}")

    def found(self, samples: Samples, run: Run) -> FoundChange:
        """See the class."""
        values = samples.walks.values
        codes = self.codes(samples, run)
        told = fitted_classifiers(values, samples.labels, len(samples.values))
        about = (values, samples.labels, samples.contrasts, codes, told)
        changes = code_changes(values, samples.labels, codes, samples.contrasts)
        features = strongest(code_attributions(*about, self.temperature), changes, self.features)
        edits = CodeChanges(self, codes, samples)
        control = edits.of(edits.by_chance(features, "control"))
        accuracy = float(np.mean(told.accuracy))
        return FoundChange(edits.of(features), control, named(features), accuracy, unexplained(codes, values))
