"""random-features: sparse codes drawn at random for each value."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from intaglio.explain.bias.code_dictionary import unexplained
from intaglio.explain.bias.code_family import CodeChanges, CodeEditor, named
from intaglio.explain.bias.family import FoundChange, Samples
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class RandomFeatures(CodeEditor):
    """Sparse codes drawn at random for each value, as many as `difflens` takes.

    They are raised or scaled as there, h + Dec(z') - Dec(z) at every step, but say nothing of the values; each is above
    0 somewhere in the samples. The control has other codes.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "sparse codes drawn at random"
    by_chance: ClassVar[str] = "other random codes"

    def found(self, samples: Samples, run: Run) -> FoundChange:
        """See the class."""
        codes = self.codes(samples, run)
        changes = CodeChanges(self, codes, samples)
        none = torch.zeros(len(samples.values), 0, dtype=torch.long)
        features = changes.by_chance(none, "random features")
        control = changes.of(changes.by_chance(features, "control"))
        left = unexplained(codes, samples.walks.values)
        return FoundChange(changes.of(features), control, named(features), left=left)
