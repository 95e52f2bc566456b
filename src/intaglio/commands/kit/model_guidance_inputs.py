"""Flags of model guidance, which leads away from the prediction of a fine-tune's base."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ModelGuidanceInputs:
    """A command that draws under guidance, from a negative prompt or from a base."""

    guidance: float | None = None
    """Guidance scale: 1 is none, 3 to 10 is usual; none takes 5, the method's own, or that of a distilled
    model."""
    negative: str = ""
    """Negative prompt of the guidance; for methods that take several, apart by `|`."""
    base: Path | None = None
    """The model that --model was fine-tuned from: guidance then leads away from its prediction in place of that under
    --negative, towards what the fine-tune learned (model guidance, arXiv 2410.03039)."""
    correction: float = 0.0
    """With --base: added to the factor of its prediction, between -1 and 1 and near 0; each step takes out that much
    more noise."""
    reference: Literal["empty", "prompt"] = "empty"
    """With --base: the prompt that the base is given, the empty one or the picture's."""

    def check_guidance(self, has_model: bool) -> None:
        """Raises `ValueError` for flags that do not go together; `has_model`: whether a fine-tune is named."""
        if self.guidance is not None and not 0 <= self.guidance < float("inf"):
            raise ValueError(f"--guidance must be 0 or more, and finite, not {self.guidance}")
        if self.base is None:
            if self.correction or self.reference != "empty":
                raise ValueError("--correction and --reference belong to --base; give the model that was fine-tuned")
            return
        if self.negative:
            raise ValueError("--base takes the place of --negative; give one of them")
        if not has_model:
            raise ValueError("--base needs --model or --lora, the fine-tune that it leads away to")
        if self.guidance is not None and self.guidance < 1:
            raise ValueError(f"--guidance must be 1 or more beside --base, not {self.guidance}")
        if not -1 < self.correction < 1:
            raise ValueError(f"--correction must lie between -1 and 1, near 0, not {self.correction}")
        if self.correction and self.reference != "empty":
            raise ValueError("--correction belongs to --reference empty; leave one of them out")
