"""activation-patching: exact effects, one pass a component."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.explain.components.exact_checks import component_mask
from intaglio.explain.components.family import ComponentPatcher
from intaglio.explain.components.patch_points import PatchPoint


@dataclass(frozen=True, kw_only=True)
class ActivationPatching(ComponentPatcher):
    """Activation patching: the metric of a run with one component's clean value.

    m of the corrupted run in which the component alone gives what it gives for the clean prompt. This is the effect
    itself, which the others estimate; it takes a pass through the denoiser for each component and draw.

    Source: Vig et al., arXiv 2004.12265.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "measured, by a pass in which the component has its clean value"
    exact: ClassVar[bool] = True
    by_branch: ClassVar[bool] = True

    def effects(self, point: PatchPoint, chosen: Sequence[int]) -> list[Float[Tensor, "_"]]:
        """See the family."""
        found = []
        for k in chosen:
            count = 1 if point.whole else point.channels[k]
            masks = torch.cat([component_mask(point, (k, number)) for number in range(count)])
            found.append(point.exact({k: masks}, self.batch))
        return found

    def passes(self, components: Sequence[int]) -> int:
        """The point's two, and one a component."""
        return 2 + sum(components)
