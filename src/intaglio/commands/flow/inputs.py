"""Inputs that the parts of `intaglio flow` share: the model, its device, guidance."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from intaglio.commands.kit.idle_flags import said_idle
from intaglio.errors import BadInput
from intaglio.flow.block.guidance import Guidance, GuidanceRule, GuidedBlocks, GuidedParts
from intaglio.models.flow.flow_folders import flow_path

if TYPE_CHECKING:
    from intaglio.models.flow.tarflow_files import LoadedFlow


@dataclass(frozen=True, kw_only=True)
class FlowModel:
    """A flow, and the device and type that it computes in."""

    model: str = "cpu-small"
    """The folder of a flow, or the name of one in the package: cpu-tiny or cpu-small."""
    device: str = "cpu"
    """Where to compute, such as cpu, cuda or cuda:1."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the weights; patches and exponentials are float32 always."""

    def check_early(self) -> None:
        """Raises `BadInput` for neither a folder nor a name."""
        flow_path(self.model)

    def loaded(self) -> "LoadedFlow":
        """The model, read from its folder."""
        from intaglio.models.flow.shipped import open_flow

        return open_flow(self.model, device=self.device, dtype=self.dtype)


@dataclass(frozen=True, kw_only=True)
class FlowGuidance:
    """Guidance of each block, as flags; the formulas and the checks are those of `Guidance`."""

    guidance: float = 0.0
    """Guide each block from the mean class, or from blurred attention, past the label's; 0 does not."""
    annealed: bool = True
    """Grow the guidance from nothing at the first patch to all of it at the last."""
    guide_what: GuidedParts = "ab"
    """Guide log-scales (a), shifts (b) or both."""
    guidance_rule: GuidanceRule = "linear"
    """How: linear (TarFlow) or gaussian (STARFlow), which never widens."""
    temperature: float = 1.0
    """Attention temperature of the prediction to guide away from; other than 1 it also guides a model without
    classes."""
    guide_blocks: GuidedBlocks = "all"
    """Guide every block, or the first decoded alone."""

    def __post_init__(self) -> None:
        self.as_guidance()  # which refuses wrong values before a model is read

    def idle(self) -> list[str]:
        """Warnings of flags that an unguided decoding does not use."""
        names = ("annealed", "guide_what", "guidance_rule", "temperature", "guide_blocks")
        return [] if self.guidance else said_idle(self, names, "--guidance 0 guides no block")

    def as_guidance(self) -> Guidance:
        """As the decoders take it."""
        return Guidance(
            scale=self.guidance,
            annealed=self.annealed,
            what=self.guide_what,
            rule=self.guidance_rule,
            temperature=self.temperature,
            blocks=self.guide_blocks,
        )


def label_index(word: str, flow: "LoadedFlow") -> int:
    """The index of a class by its name or number; -1 for `none`. Raises `BadInput` for another word."""
    count = flow.model.config.num_classes
    if word == "none":
        return -1
    if word in flow.labels:
        return flow.labels.index(word)
    if word.isdecimal() and int(word) < count:
        return int(word)
    choices = ", ".join(flow.labels) if flow.labels else f"numbers 0 to {count - 1}"
    raise BadInput(
        f"there is no class {word!r}: {f'choose from {choices}, or none' if count else 'this model has no classes'}"
    )
