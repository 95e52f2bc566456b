"""The contract of families: what a model's networks are, how they are asked, and what they are called in files."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from intaglio.errors import BadInput
from intaglio.models.diffusion.baked_sampling import FREE, BakedSampling
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.noise_schedule import FLOW_CLASSES, SCHEDULER_REMEDY, NoiseSchedule
from intaglio.models.original_names import OriginalNames

PIXELS = 1024
"""Pixels along a side of the pictures, where the autoencoder says none."""
UNSAID_SIDES = {"AutoencoderKL": 32}
"""Pixels along a side, by class of autoencoder, that diffusers writes where nobody said any: a default of the class,
and no autoencoder of these families was trained on pictures so small."""
TIMESTEPS = 1000
"""Timesteps of every straight path: denoisers are told s or 1000 s."""


@runtime_checkable
class Parts(Protocol):
    """Networks, tokenizers and settings of a model, as families read them."""

    # Any: what networks of the libraries have beyond a module (config, encode, decode) is not typed there.
    @property
    def denoiser(self) -> Any: ...
    @property
    def autoencoder(self) -> Any: ...
    @property
    def text_encoders(self) -> tuple[Any, ...]: ...
    @property
    def tokenizers(self) -> tuple[Any, ...]: ...
    @property
    def scheduler(self) -> Mapping[str, Any]: ...
    @property
    def schedule(self) -> NoiseSchedule: ...
    @property
    def sampling(self) -> BakedSampling: ...
    @property
    def options(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class TextSlot:
    """A text encoder of a family, and its tokenizer."""

    network: str
    """Class of transformers."""
    tokenizer: str = "CLIPTokenizer"
    """Class of transformers."""
    optional: bool = False
    """Whether a model may lack it, and the ones after it."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Endings of the names of the modules that a LoRA changes by default: the projections of attention."""
        if self.network.startswith("T5"):
            return ("q", "k", "v", "o")
        return ("q_proj", "k_proj", "v_proj", "out_proj" if self.network.startswith("CLIP") else "o_proj")


class Pipeline(NamedTuple):
    """Entries of a model's `model_index.json`."""

    name: str
    """Class of diffusers."""
    absent: tuple[str, ...] = ()
    """Components that the pipeline may have, and no model of the family has here."""
    defaults: Mapping[str, Any] = {}
    """Further entries, where the model says none."""


class Family(ABC):
    """Models that differ in nothing but sizes and weights."""

    name: ClassVar[str]
    """In words, for people: `Stable Diffusion 3`."""
    key: ClassVar[str]
    """One word, for files: `sd3`."""
    denoiser: ClassVar[str]
    """Class of diffusers of the denoiser."""
    earlier_denoisers: ClassVar[tuple[str, ...]] = ()
    """Names that the class has in older files."""
    autoencoder: ClassVar[str] = "AutoencoderKL"
    """Class of diffusers of the autoencoder."""
    folder: ClassVar[str] = "transformer"
    """Folder of the denoiser in a model of diffusers."""
    pipelines: ClassVar[tuple[str, ...]]
    """Classes of diffusers that are pipelines of these models."""
    texts: ClassVar[tuple[TextSlot, ...]]
    """Text encoders in the order of the pipeline's components."""
    targets: ClassVar[tuple[str, ...]] = ("to_q", "to_k", "to_v", "to_out.0")
    """Endings of the names of modules that a LoRA changes by default: the projections of attention."""
    original_names: ClassVar[OriginalNames | None] = None
    """Names of the denoiser's modules in the published code; None where U-Nets' own rule gives them."""
    kohya_text: ClassVar[tuple[str, ...]] = ()
    """Beginnings of the names of the text encoders' modules in files of kohya's sd-scripts, in their order."""
    padding_side: ClassVar[str | None] = None
    """`right` or `left`, where the pipeline sets the side that prompts are padded on; None: the tokenizer's own."""
    special_tokens: ClassVar[bool] = True
    """Whether tokenizers add the tokens that begin and end a text; False where the family's text has them."""
    further_targets: ClassVar[tuple[str, ...]] = ("ff.net.0.proj", "ff.net.2")
    """Endings of the further modules that a LoRA of all layers changes."""

    shifts: ClassVar[bool] = False
    """Whether latents of its autoencoders have an offset, which their config.json says as `shift_factor`."""

    def network(self, part: str) -> str:
        """Class of a network by its part: denoiser, autoencoder, text_encoder, text_encoder_2, ..."""
        if part in ("denoiser", "autoencoder"):
            return self.denoiser if part == "denoiser" else self.autoencoder
        return self.texts[int(part.removeprefix("text_encoder").removeprefix("_") or 1) - 1].network

    def takes(self, config: Mapping[str, Any]) -> bool:
        """Whether a denoiser of the family's class is the family's own, by its settings: some share a class."""
        return True

    def setting_reasons(self, config: Mapping[str, Any]) -> Iterator[str]:
        """Reasons, each half a sentence, that no denoiser can be built of settings, or that it cannot be asked."""
        yield from ()

    @abstractmethod
    def reasons(self, parts: Parts) -> Iterator[str]:
        """Reasons, each half a sentence, that a model of this family cannot be used."""

    @abstractmethod
    def pipeline(self, parts: Parts) -> Pipeline:
        """Entries of the model's index."""

    @abstractmethod
    def embed_tokens(self, parts: Parts, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """Conditioning of prompts that are given as tokens, one tensor a text encoder."""

    def prepare(self, denoiser: Any) -> None:
        """Sets how the denoiser computes, where the library's own way fails in half precision."""
        return

    @abstractmethod
    def inputs(self, denoiser: nn.Module, conditioning: Conditioning) -> dict[str, Any]:
        """Inputs of the denoiser beside latents and time, by its names, in its own precision."""

    @abstractmethod
    def arguments(
        self, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        """The denoiser's first argument, latents in its own form, and its others by name, at timesteps.

        `inputs` are those of `inputs`.
        """

    def output(
        self, denoiser: nn.Module, latents: Float[Tensor, "n c h w"], t: Real[Tensor, "n"], inputs: Mapping[str, Any]
    ) -> Float[Tensor, "n c h w"]:
        """The denoiser's output at timesteps, in the sign of the schedule's prediction."""
        first, named = self.arguments(latents, t, inputs)
        return self.answer(denoiser(first, **named, return_dict=False)[0], latents)

    def answer(self, found: Any, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """The denoiser's answer in the form of the latents, and with the sign of the schedule's prediction."""
        return found

    side_of_autoencoder: ClassVar[bool] = False
    """Whether the side is that of the autoencoder's `sample_size`, as nothing of the denoiser says it."""

    def side_notes(self, autoencoder: Any) -> list[str]:
        """A note where the side is taken for the usual one, as the autoencoder says none."""
        said = autoencoder.config.get("sample_size")
        if not self.side_of_autoencoder or said not in (None, UNSAID_SIDES.get(self.autoencoder)):
            return []
        return [f"its autoencoder says no sample_size; its pictures are taken to be of {PIXELS} px"]

    @abstractmethod
    def side(self, parts: Parts) -> int:
        """Cells along a side of the latents of the pictures that the denoiser was trained on."""

    def sampling(self, parts: Parts) -> BakedSampling:
        """The sampling that models of the family were made for, such as guidance that is an input of the denoiser."""
        return FREE

    def schedule(self, config: Mapping[str, Any], tokens: int, source: str = "the scheduler") -> NoiseSchedule:
        """The schedule of a `scheduler_config.json`, for pictures of so many image tokens; errors call it `source`."""
        return NoiseSchedule.from_config(config, source)

    def image_tokens(self, parts: Parts) -> int:
        """Image tokens of a picture of the model's own resolution: two cells a side make one."""
        return (self.side(parts) // 2) ** 2

    def config_of_file(self, shapes: Mapping[str, tuple[int, ...]], like: Mapping[str, Any]) -> dict[str, Any]:
        """Settings of the denoiser in a single file, by the shapes of its weights under their published names.

        What these do not say is as in the settings `like`.
        """
        return dict(like)

    def encoded(
        self, autoencoder: Any, pictures: Float[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n c hl wl"], Float[Tensor, "n c hl wl"]]:
        """Mean and deviation of the autoencoder's posterior for pictures in [-1, 1], in its own scale."""
        posterior = autoencoder.encode(pictures).latent_dist
        return posterior.mean, posterior.std

    def decoded(self, autoencoder: Any, raw: Float[Tensor, "n c hl wl"]) -> Float[Tensor, "n 3 h w"]:
        """Pictures, about [-1, 1], of latents in the autoencoder's own scale."""
        return autoencoder.decode(raw, return_dict=False)[0]

    def needs_text(self, denoiser: Any, end: str) -> bool:
        """Whether the denoiser takes what an optional text encoder gives, which the model must then have.

        `end` is that of the encoder's name: `_2` of `text_encoder_2`. `denoiser` is None where the model has none yet.
        """
        return False

    def prompt_text(self, prompt: str, tokenizer: Any) -> str:
        """The text that is made into tokens for a prompt, such as a message of a chat."""
        return prompt

    def negative_text(self, prompt: str, tokenizer: Any) -> str:
        """The text of a prompt that is led away from, or of the empty one."""
        return self.prompt_text(prompt, tokenizer)

    def prompt_length(self, index: int, parts: Parts) -> int:
        """Tokens of a prompt for text encoder `index`, padding included."""
        return parts.tokenizers[index].model_max_length

    def latent_channels(self, autoencoder: Any) -> int:
        """Channels of the latents."""
        return autoencoder.config["latent_channels"]

    def factor(self, autoencoder: Any) -> int:
        """Pixels along a side of one latent cell."""
        return 2 ** (len(autoencoder.config["block_out_channels"]) - 1)

    def scaling_factor(self, autoencoder: Any) -> float:
        """Factor from the autoencoder's latents to those of the denoiser; 1 where it has none."""
        return autoencoder.config.get("scaling_factor", 1.0)

    def scaled(self, autoencoder: Any, raw: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Latents of the denoiser from those of the autoencoder: `(raw - offset) * scaling_factor / deviation`."""
        offset, deviation = _statistics(autoencoder.config, raw)
        return (raw - offset) * self.scaling_factor(autoencoder) / deviation

    def unscaled(self, autoencoder: Any, latents: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Latents of the autoencoder from those of the denoiser: the inverse of `scaled`."""
        offset, deviation = _statistics(autoencoder.config, latents)
        return latents * deviation / self.scaling_factor(autoencoder) + offset


def _statistics(
    config: Mapping[str, Any], like: Float[Tensor, "n c h w"]
) -> tuple[Float[Tensor, "1 _ 1 1"], Float[Tensor, "1 _ 1 1"]]:
    """Offset and deviation of an autoencoder's latents, one for all channels or one each; by default 0 and 1."""
    mean, deviation = (config.get(name) for name in ("latents_mean", "latents_std"))
    offset = [config.get("shift_factor") or 0.0] if mean is None else mean
    rows = (offset, deviation or [1.0])
    columns = (torch.tensor(list(numbers), dtype=like.dtype, device=like.device) for numbers in rows)
    first, second = (column.view(1, -1, 1, 1) for column in columns)
    return first, second


def straight_schedule(config: Mapping[str, Any], grid: Any, source: str) -> NoiseSchedule:
    """The schedule of flow matching with the count of a scheduler's settings, and a grid."""
    kind = config.get("_class_name")
    if kind is not None and kind not in FLOW_CLASSES and not config.get("use_flow_sigmas"):
        raise BadInput(f"{source} is of a {kind}, where a FlowMatchEulerDiscreteScheduler is due; {SCHEDULER_REMEDY}")
    count = NoiseSchedule.from_config(config, source).count
    if count != TIMESTEPS:
        raise BadInput(
            f"{source} has num_train_timesteps {count}, where denoisers of this family count {TIMESTEPS}; "
            f"{SCHEDULER_REMEDY}"
        )
    return NoiseSchedule.straight_path(count, grid)


def stated_side(family: Family, autoencoder: Any) -> int:
    """Cells along a side by the pixels that the autoencoder's `sample_size` says, 1024 where it says none."""
    said = autoencoder.config.get("sample_size")
    pixels = PIXELS if said in (None, UNSAID_SIDES.get(family.autoencoder)) else said
    return pixels // family.factor(autoencoder)


def share_of_noise(t: Real[Tensor, "n"]) -> Float[Tensor, "n"]:
    """The noise level s of timesteps on a straight path, float32: half precision would round it."""
    return ((t.double() + 1) / TIMESTEPS).to(torch.float32)
