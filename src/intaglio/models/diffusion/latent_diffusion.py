"""`LatentDiffusion`: a text-to-image diffusion model that encodes, decodes, embeds prompts, noises and predicts."""

import copy
import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from jaxtyping import Float, Int, Real
from torch import Tensor, nn

from intaglio.errors import BadInput, IntaglioError
from intaglio.models.diffusion import support
from intaglio.models.diffusion.aside import NOTHING, Aside, Visitor
from intaglio.models.diffusion.baked_sampling import FREE, BakedSampling
from intaglio.models.diffusion.components import Components
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.families.family import Family
from intaglio.models.diffusion.fingerprints import settings_digest, weights_digest
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.saving import save_folder
from intaglio.models.diffusion.sendable import Sendable
from intaglio.models.diffusion.skeletons import restore_frequencies
from intaglio.models.library_logging import quiet_libraries
from intaglio.models.packing.packed_file import Packing

__all__ = ["Conditioning", "LatentDiffusion"]


class LatentDiffusion(Sendable):
    """A latent-diffusion model: denoiser, text encoders, autoencoder and noise schedule.

    Pixels are float32 [n, 3, h, w] in [0, 1]; latents are float32 [n, c, h / factor, w / factor], scaled as the
    denoiser takes them. Every method takes and returns float32, whatever precision the weights have. The autoencoder
    always computes in float32: some of them overflow in half precision.
    """

    def __init__(
        self,
        *,
        denoiser: nn.Module,
        autoencoder: nn.Module,
        text_encoders: Sequence[nn.Module],
        tokenizers: Sequence[Any],
        scheduler: Mapping[str, Any],
        name: str,
        source: Path | None = None,
        options: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
        unused: Sequence[str] = (),
        sampling: BakedSampling = FREE,
        packing: Mapping[str, Packing] = MappingProxyType({}),
    ):
        """Wraps networks that are in memory, in evaluation mode.

        Args:
            denoiser: of the class that a family names, such as a `UNet2DConditionModel` (`families.known`).
            autoencoder: of the class that the family names, such as an `AutoencoderKL`.
            text_encoders: those of the family, in its order.
            tokenizers: one for each text encoder.
            scheduler: the content of a diffusers `scheduler_config.json`.
            name: the model's name in messages and reports.
            source: the file or folder that it was read from; None for a model made in memory.
            options: further entries of `model_index.json` that are no components; kept for `save`.
            notes: sentences for the user on how the model was put together, such as a LoRA that was merged.
            unused: weights of the model's files that no network takes, as `"file: key"`.
            sampling: timesteps, sampler and guidance that a distilled model was made for.
            packing: how the files of parts were packed, by part; the weights in memory are dense all the same.

        Raises:
            BadInput: for a model that takes more than latents, a timestep and text, and for parts that do not fit each
                other.
        """
        given = Components(
            denoiser=denoiser,
            autoencoder=autoencoder,
            text_encoders=tuple(text_encoders),
            tokenizers=tuple(tokenizers),
            scheduler=dict(scheduler),
            schedule=NoiseSchedule.from_config(scheduler),
            options=dict(options or {}),
            sampling=sampling,
        )
        support.refuse_unsupported(name, given)
        given = given.settled()
        self.name, self.source, self.notes, self.unused = name, source, tuple(notes), tuple(unused)
        self.packing = dict(packing)
        self.denoiser = given.denoiser.eval()
        self.autoencoder = given.autoencoder.eval().float()
        self.text_encoders = tuple(encoder.eval() for encoder in given.text_encoders)
        self.tokenizers, self.scheduler, self.options = given.tokenizers, given.scheduler, given.options
        self.schedule, self.sampling = given.schedule, given.sampling
        self.aside: Aside = NOTHING  # which parts wait off the device until they are called
        self._digests: dict[str, tuple[tuple, str]] = {}

    # Components and sizes

    @property
    def components(self) -> Components:
        """The model's present components; the networks are shared, not copied."""
        return Components(
            denoiser=self.denoiser,
            autoencoder=self.autoencoder,
            text_encoders=self.text_encoders,
            tokenizers=self.tokenizers,
            scheduler=self.scheduler,
            schedule=self.schedule,
            options=self.options,
            sampling=self.sampling,
        )

    @property
    def family(self) -> Family:
        """The family of the denoiser: all that differs between kinds of models but their weights."""
        return self.components.family

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The networks by name: denoiser, text_encoder, text_encoder_2 where there are two, ..., autoencoder."""
        return self.components.networks

    @property
    def device(self) -> torch.device:
        """The device of the denoiser's weights."""
        return next(self.denoiser.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the denoiser's weights."""
        return next(self.denoiser.parameters()).dtype

    @property
    def latent_channels(self) -> int:
        """Channels of the latents: 4 in SD 1, 2 and XL."""
        return self.components.latent_channels

    @property
    def factor(self) -> int:
        """Pixels along a side of one latent cell."""
        return self.components.factor

    @property
    def resolution(self) -> int:
        """Pixels along a side of the pictures that the denoiser was trained on."""
        return self.components.resolution

    @property
    def scaling_factor(self) -> float:
        """Factor from the autoencoder's latents to those of the denoiser."""
        return self.components.scaling_factor

    # Encoding, embedding, noising, prediction

    def encode(
        self, pixels: Float[Tensor, "n 3 h w"], generators: Sequence[torch.Generator] | None = None
    ) -> Float[Tensor, "n c hl wl"]:
        """Latents: the mean of the autoencoder's posterior, or a sample from it where generators are given.

        `generators` has one a picture, on the CPU. Raises `BadInput` if height or width is no multiple of `factor`, and
        `IntaglioError` for latents that are not finite.
        """
        if pixels.shape[-1] % self.factor or pixels.shape[-2] % self.factor:
            raise BadInput(
                f"pictures of {pixels.shape[-1]}x{pixels.shape[-2]} pixels do not fit {self.name}; "
                f"use sides that are multiples of {self.factor}"
            )
        if not bool(torch.isfinite(pixels).all()):
            raise BadInput(f"pictures to encode with {self.name} hold NaN or infinity; check where they come from")
        with self.aside.visited(self.autoencoder):
            latents, deviation = self.family.encoded(self.autoencoder, pixels.float().to(self.device) * 2 - 1)
        if generators is not None:
            latents = latents + deviation * unit_noise(latents.shape[1:], generators).to(self.device)
        return self._finite(self.components.scaled(latents), "the encoder", "latents")

    def decode(
        self, latents: Float[Tensor, "n c hl wl"], *, spare_failed: bool = False, clamp: bool = True
    ) -> Float[Tensor, "n 3 h w"]:
        """Pixels, clipped to [0, 1]; without `clamp` as the decoder gives them, with gradients everywhere.

        Raises `IntaglioError` for latents and pixels that are not finite; with `spare_failed`, a picture of such is
        given as NaN and the others as they are.
        """
        given = latents.float().to(self.device)
        if not spare_failed:
            self._finite(given, "the denoiser, or what followed it,", "latents")
        with self.aside.visited(self.autoencoder):
            pixels = self.family.decoded(self.autoencoder, self.components.unscaled(given))
        if not spare_failed:
            self._finite(pixels, "the decoder", "pixels")
        failed = ~pixels.isfinite().flatten(1).all(1)
        found = pixels / 2 + 0.5
        return (found.clamp(0, 1) if clamp else found).masked_fill(failed.view(-1, 1, 1, 1), torch.nan)

    def _finite(self, tensor: Tensor, part: str, what: str) -> Tensor:
        """The tensor itself. Raises `IntaglioError`, naming the part that gave it, where a number is not finite."""
        if bool(torch.isfinite(tensor).all()):
            return tensor
        rows = [row for row, one in enumerate(tensor) if not bool(torch.isfinite(one).all())]
        coarse = "" if self.dtype == torch.float32 else str(self.dtype).removeprefix("torch.")
        remedy = f"{coarse} is too coarse: use float32" if coarse else "check the model and the settings"
        raise IntaglioError(
            f"{part} of {self.name} gave {what} that are not finite (row {rows[0]} of {len(tensor)}); {remedy}"
        )

    def embed(self, prompts: Sequence[str], *, negative: bool = False) -> Conditioning:
        """Text embeddings of the prompts, a row each, differentiable in the text encoders' weights.

        What they are made of is the family's; some write an instruction before a prompt, which neither negative prompts
        nor the empty one have. A prompt of more tokens than the text encoders take is cut, with a warning.
        """
        return self.embed_tokens(self.tokens(prompts, negative=negative))

    def tokens(self, prompts: Sequence[str], *, negative: bool = False) -> list[Int[Tensor, "n _"]]:
        """Tokens of the prompts for each text encoder, padded; one of too many tokens is cut, with a warning."""
        return [self._tokens(index, list(prompts), negative) for index in range(len(self.text_encoders))]

    def embed_tokens(self, tokens: Sequence[Int[Tensor, "n _"]]) -> Conditioning:
        """Text embeddings of prompts that are given as tokens, one tensor a text encoder; see `embed`."""
        parts, gone = self.components, self.aside.gone
        if gone:
            there = [Visitor(one, self.aside) if one in gone else one for one in parts.text_encoders]
            parts = replace(parts, text_encoders=tuple(there))
        return self.family.embed_tokens(parts, tokens)

    def _tokens(self, index: int, prompts: list[str], negative: bool) -> Tensor:
        tokenizer, parts, family = self.tokenizers[index], self.components, self.family
        most = [family.prompt_length(place, parts) for place in range(len(self.tokenizers))]
        written = family.negative_text if negative else family.prompt_text
        texts = [(written if prompt else family.negative_text)(prompt, tokenizer) for prompt in prompts]
        texts = [written("", tokenizer), *texts]
        with quiet_libraries():
            special = {"add_special_tokens": family.special_tokens}
            frame, *lengths = [len(tokens) for tokens in tokenizer(texts, **special).input_ids]
        for prompt, length in zip(prompts, lengths, strict=True):
            if length > most[index] and index == most.index(max(most)):
                words = f"only {most[index] - frame} of {length - frame} tokens of this prompt are read: {prompt}"
                warnings.warn(words, stacklevel=4)
        return tokenizer(
            texts[1:], padding="max_length", max_length=most[index], truncation=True, return_tensors="pt", **special
        ).input_ids

    def noised(
        self, latents: Float[Tensor, "n *shape"], noise: Float[Tensor, "n *shape"], t: Real[Tensor, "n"]
    ) -> Float[Tensor, "n *shape"]:
        """Noised latents: the forward process at integer timesteps in [0, `schedule.count`)."""
        return self.schedule.noised(latents.float(), noise.float(), t)

    def predict(
        self, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], conditioning: Conditioning
    ) -> Float[Tensor, "n *shape"]:
        """The noise predicted in noised latents, converted from whatever the denoiser predicts.

        `conditioning` has a row for each latent, or one row for all. Float32, and float64 on a straight path.
        """
        return self.schedule.noise_of(self.output(latents, t, conditioning), latents, t)

    def clean(
        self, latents: Float[Tensor, "n *shape"], t: Real[Tensor, "n"], conditioning: Conditioning
    ) -> Float[Tensor, "n *shape"]:
        """The clean latents predicted in noised ones; as `predict`, which gives the noise in them."""
        return self.schedule.clean_of(self.output(latents, t, conditioning), latents, t)

    def error(
        self,
        latents: Float[Tensor, "n *shape"],
        noise: Float[Tensor, "n *shape"],
        t: Real[Tensor, "n"],
        conditioning: Conditioning,
    ) -> Float[Tensor, "n"]:
        """Denoising loss: the mean squared error of the denoiser's output against its training target, a number a row.

        `latents` are clean; they are noised here.
        """
        output = self.output(self.noised(latents, noise, t), t, conditioning)
        return (output - self.schedule.target(latents.float(), noise.float(), t)).square().flatten(1).mean(1)

    def output(self, latents: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """The denoiser's own output for noised latents, as float32, without channels of a predicted variance."""
        given = self.denoiser_inputs(len(latents), conditioning)
        return self.family.output(self.denoiser, latents.to(self.dtype), t, given).float()

    def denoiser_inputs(self, rows: int, conditioning: Conditioning) -> dict[str, Any]:
        """Inputs of the denoiser beside latents and timestep, in its own precision, by its names of them.

        `conditioning` has so many rows, or one for all.
        """
        if len(conditioning) == 1 < rows:
            conditioning = conditioning[[0] * rows]
        return self.family.inputs(self.denoiser, conditioning)

    # Weights: freezing, comparing, copying, saving

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Turns gradients off and evaluation mode on for every part; both are restored, also on error."""
        modules = [module for part in self.parts.values() for module in part.modules()]
        awake = [module for module in modules if module.training]
        learning = [weight for part in self.parts.values() for weight in part.parameters() if weight.requires_grad]
        try:
            for module in awake:
                module.training = False
            for weight in learning:
                weight.requires_grad_(False)
            yield
        finally:
            for module in awake:
                module.training = True
            for weight in learning:
                weight.requires_grad_(True)

    @property
    def fingerprint(self) -> str:
        """SHA-256 over all of the model that results depend on, which names runs; 64 hex digits.

        It covers the weights of every part, the noise schedule and prediction type, the settings of the networks, the
        autoencoder's scaling, the tokenizers and the resolution; not the model's name and place.
        """
        facts = [self.part_fingerprint(name) for name in sorted(self.parts)]
        return hashlib.sha256("\n".join([*facts, settings_digest(self.components)]).encode()).hexdigest()

    @property
    def weights_fingerprint(self) -> str:
        """SHA-256 over names, shapes, precision and bytes of the weights of denoiser and text encoders."""
        trained = [self.part_fingerprint(name) for name in sorted(self.parts) if name != "autoencoder"]
        return hashlib.sha256("\n".join(trained).encode()).hexdigest()

    def part_fingerprint(self, name: str) -> str:
        """SHA-256 of one part's weights; computed again only after they changed."""
        module = self.parts[name]
        # In-place changes, an optimiser's among them, count up a tensor's version.
        state = tuple((weight.data_ptr(), weight._version) for weight in module.state_dict(keep_vars=True).values())
        if name not in self._digests or self._digests[name][0] != state:
            self._digests[name] = (state, weights_digest(module))
        return self._digests[name][1]

    def same_weights(self, other: "LatentDiffusion") -> bool:
        """Whether denoiser and text encoders are bit for bit the same."""
        return self.weights_fingerprint == other.weights_fingerprint

    def differences(self, other: "LatentDiffusion") -> list[str]:
        """Fields that keep the two models from being compared, with both values; empty if there are none."""
        return support.differences(self.components, other.components)

    def copy(self) -> "LatentDiffusion":
        """A model with a copy of denoiser and text encoders; autoencoder and tokenizers are shared."""
        twin = copy.copy(self)
        twin.denoiser = copy.deepcopy(self.denoiser)
        twin.text_encoders = tuple(copy.deepcopy(encoder) for encoder in self.text_encoders)
        twin._digests = {}
        return twin

    def made_for(self, sampling: BakedSampling, denoiser: nn.Module, name: str) -> "LatentDiffusion":
        """A model made for a sampling, with another denoiser; all other parts are shared.

        Raises `BadInput` for a denoiser that does not fit them, or the sampling.
        """
        twin = copy.copy(self)
        twin.denoiser, twin.sampling, twin.name, twin.source, twin._digests = denoiser, sampling, name, None, {}
        support.refuse_unsupported(name, twin.components)
        return twin

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "LatentDiffusion":
        """Moves all parts, in place; the autoencoder keeps its float32. None waits aside after it. Returns itself."""
        self.aside = self.aside if device is None else NOTHING
        with quiet_libraries():
            for name, part in self.parts.items():
                part.to(device=device, dtype=torch.float32 if name == "autoencoder" else dtype)
                restore_frequencies(part)
        return self

    def with_aside(self, device: torch.device | str) -> "LatentDiffusion":
        """Moves the denoiser alone; the other parts wait on the CPU, and come to the device to be called, one by one.

        Returns itself. The model must be on the CPU.
        """
        self.denoiser.to(device)
        waiting = [*self.text_encoders, self.autoencoder]
        self.aside = Aside(waiting, self.device, found=waiting)
        return self

    def save(self, folder: Path) -> None:
        """Writes a diffusers folder with safetensors weights, atomically.

        An existing model folder is replaced. Raises `BadInput` for a folder with other things in it.
        """
        save_folder(self.components, Path(folder))


def unit_noise(shape: Sequence[int], generators: Sequence[torch.Generator]) -> Float[Tensor, "n *shape"]:
    """Standard normal noise, float32 on the CPU, a row from each generator; it does not depend on the batch."""
    return torch.stack([torch.randn(*shape, generator=generator) for generator in generators])
