"""switched-on: what the likeness wins when one component alone is switched on."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.audit.components.family import ComponentAudit
from intaglio.metrics.coalition_weights import CoalitionWeights, switched_on_weights


@dataclass(frozen=True, kw_only=True)
class SwitchedOn(ComponentAudit):
    """Gain of likeness when one component alone is switched on: v(it) - v(none).

    By m + 2 sets of drawings. Of two components that do the same each seems to do all of it, and one that acts through
    another, such as words that a LoRA was tuned to, nothing.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "what is won of the likeness when it alone is switched on"

    def weights(self, components: int) -> CoalitionWeights:
        """Of none, and of each alone."""
        return switched_on_weights(components)
