"""switched-off: what the likeness loses when one component alone is switched off."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.audit.components.family import ComponentAudit
from intaglio.metrics.coalition_weights import CoalitionWeights, switched_off_weights


@dataclass(frozen=True, kw_only=True)
class SwitchedOff(ComponentAudit):
    """Loss of likeness when one component alone is switched off: v(all) - v(all but it).

    The quickest way, by m + 2 sets of drawings. Of two components that do the same neither seems to do anything.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "what is lost of the likeness when it alone is switched off"

    def weights(self, components: int) -> CoalitionWeights:
        """Of all components, and of all but each."""
        return switched_off_weights(components)
