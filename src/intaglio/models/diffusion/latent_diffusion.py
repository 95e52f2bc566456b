"""A text-to-image diffusion model as methods see it: encode, decode, embed, noise, predict."""

import copy
import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from intaglio.errors import BadInput
from intaglio.models.diffusion import support
from intaglio.models.diffusion.conditioning import Conditioning
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from intaglio.models.diffusion.saving import save_folder
from intaglio.models.library_logging import quiet_libraries

__all__ = ["Conditioning", "LatentDiffusion"]


class LatentDiffusion:
    """A denoiser with its text encoders, autoencoder and noise schedule, whatever networks they are.

    Pixels are float32 [n, 3, h, w] in [0, 1], latents float32 [n, c, h / factor, w / factor] as the denoiser sees
    them (scaled); whatever precision the weights have, every method takes and gives float32. The autoencoder always
    computes in float32: some of them overflow in half precision.
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
    ):
        """Wraps networks that are in memory, in evaluation mode.

        Args:
            denoiser: a `UNet2DConditionModel`.
            autoencoder: an `AutoencoderKL`.
            text_encoders: one CLIP text encoder (SD 1/2), or two of which the second projects (SDXL).
            tokenizers: one for each text encoder.
            scheduler: the content of a diffusers `scheduler_config.json`.
            name: shown to people.
            source: where it was read from.
            options: further entries of `model_index.json` that are no components; kept for `save`.
            notes: what a person should know about how the model was put together.

        Raises:
            BadInput: for a model that takes more than latents, a timestep and text.
        """
        support.refuse_unsupported(name, denoiser, autoencoder, text_encoders)
        self.name, self.source, self.notes = name, source, tuple(notes)
        # Any: what networks of the libraries have beyond a module (config, encode, decode) is not typed there.
        self.denoiser: Any = denoiser.eval()
        self.autoencoder: Any = autoencoder.eval().float()
        self.text_encoders: tuple[Any, ...] = tuple(encoder.eval() for encoder in text_encoders)
        self.tokenizers, self.scheduler, self.options = tuple(tokenizers), dict(scheduler), dict(options or {})
        self.schedule = NoiseSchedule.from_config(scheduler)
        self._digests: dict[str, tuple[tuple, str]] = {}

    # What it is

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The networks by name: denoiser, text_encoder, text_encoder_2 where there are two, autoencoder."""
        names = ("text_encoder", "text_encoder_2")[: len(self.text_encoders)]
        return {
            "denoiser": self.denoiser,
            **dict(zip(names, self.text_encoders, strict=True)),
            "autoencoder": self.autoencoder,
        }

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        return next(self.denoiser.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the denoiser's weights."""
        return next(self.denoiser.parameters()).dtype

    @property
    def latent_channels(self) -> int:
        """Numbers a latent cell, 4 in SD 1, 2 and XL."""
        return self.autoencoder.config["latent_channels"]

    @property
    def factor(self) -> int:
        """Pixels a side of one latent cell."""
        return 2 ** (len(self.autoencoder.config["block_out_channels"]) - 1)

    @property
    def resolution(self) -> int:
        """Pixels a side of the pictures that it draws."""
        size = self.denoiser.config.sample_size
        return (size if isinstance(size, int) else size[0]) * self.factor

    @property
    def scaling_factor(self) -> float:
        """What the autoencoder's latents are multiplied by before the denoiser sees them."""
        return self.autoencoder.config["scaling_factor"]

    @property
    def _shift(self) -> float:
        return self.autoencoder.config.get("shift_factor") or 0.0

    # What it does

    def encode(
        self, pixels: Float[Tensor, "n 3 h w"], generators: Sequence[torch.Generator] | None = None
    ) -> Float[Tensor, "n c hl wl"]:
        """Latents: the posterior's mean, or a sample of it where a generator a picture (on the CPU) is given.

        Raises `BadInput` if height or width is no multiple of `factor`.
        """
        if pixels.shape[-1] % self.factor or pixels.shape[-2] % self.factor:
            raise BadInput(
                f"pictures of {pixels.shape[-1]}x{pixels.shape[-2]} pixels do not fit {self.name}; "
                f"use sides that are multiples of {self.factor}"
            )
        posterior = self.autoencoder.encode(pixels.float().to(self.device) * 2 - 1).latent_dist
        latents = posterior.mean
        if generators is not None:
            latents = latents + posterior.std * unit_noise(latents.shape[1:], generators).to(self.device)
        return (latents - self._shift) * self.scaling_factor

    def decode(self, latents: Float[Tensor, "n c hl wl"]) -> Float[Tensor, "n 3 h w"]:
        """Pixels, clipped to [0, 1]."""
        raw = latents.float().to(self.device) / self.scaling_factor + self._shift
        return (self.autoencoder.decode(raw, return_dict=False)[0] / 2 + 0.5).clamp(0, 1)

    def embed(self, prompts: Sequence[str]) -> Conditioning:
        """The prompts' embeddings; differentiable in the text encoders. The empty prompt is embedded like any other.

        One text encoder gives its last hidden states. Two give their last but one, side by side, and the second its
        pooled embedding, with the model's own resolution, uncropped, as the size. A prompt longer than the text
        encoders can read is cut, with a warning.
        """
        outputs = [self._encode_text(place, list(prompts)) for place in range(len(self.text_encoders))]
        if len(outputs) == 1:
            return Conditioning(outputs[0].last_hidden_state.float())
        hidden = torch.cat([output.hidden_states[-2].float() for output in outputs], -1)
        side = float(self.resolution)
        size = torch.tensor([[side, side, 0.0, 0.0, side, side]], device=hidden.device).expand(len(hidden), -1)
        return Conditioning(hidden, outputs[1].text_embeds.float(), size)

    def _encode_text(self, place: int, prompts: list[str]) -> Any:
        tokenizer, encoder = self.tokenizers[place], self.text_encoders[place]
        longest = tokenizer.model_max_length
        with quiet_libraries():
            lengths = [len(tokens) for tokens in tokenizer(prompts).input_ids]
        for prompt, length in zip(prompts, lengths, strict=True):
            if length > longest and place == 0:
                words = f"only {longest - 2} of {length - 2} tokens of this prompt are read: {prompt}"
                warnings.warn(words, stacklevel=3)
        tokens = tokenizer(prompts, padding="max_length", max_length=longest, truncation=True, return_tensors="pt")
        return encoder(tokens.input_ids.to(next(encoder.parameters()).device), output_hidden_states=True)

    def noised(
        self, latents: Float[Tensor, "n *shape"], noise: Float[Tensor, "n *shape"], t: Int[Tensor, "n"]
    ) -> Float[Tensor, "n *shape"]:
        """The forward process at integer timesteps."""
        return self.schedule.noised(latents.float(), noise.float(), t)

    def predict(
        self, latents: Float[Tensor, "n *shape"], t: Int[Tensor, "n"], conditioning: Conditioning
    ) -> Float[Tensor, "n *shape"]:
        """The noise in noised latents, whatever the network predicts. One row of conditioning serves all latents."""
        return self.schedule.noise_of(self._output(latents, t, conditioning), latents.float(), t)

    def error(
        self,
        latents: Float[Tensor, "n *shape"],
        noise: Float[Tensor, "n *shape"],
        t: Int[Tensor, "n"],
        conditioning: Conditioning,
    ) -> Float[Tensor, "n"]:
        """Mean squared error of the network's output, a number a row, in what the network itself was trained on.

        `latents` are clean; they are noised here.
        """
        output = self._output(self.noised(latents, noise, t), t, conditioning)
        return (output - self.schedule.target(latents.float(), noise.float(), t)).square().flatten(1).mean(1)

    def _output(self, latents: Tensor, t: Tensor, conditioning: Conditioning) -> Tensor:
        """What the network says, float32; a predicted variance is dropped. Knows that the denoiser is a U-Net."""
        if len(conditioning) == 1 < len(latents):
            conditioning = conditioning[[0] * len(latents)]
        dtype, added = self.dtype, None
        if conditioning.pooled is not None and conditioning.size is not None:
            added = {"text_embeds": conditioning.pooled.to(dtype), "time_ids": conditioning.size.to(dtype)}
        output = self.denoiser(
            latents.to(dtype),
            t,
            encoder_hidden_states=conditioning.hidden.to(dtype),
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return output[:, : latents.shape[1]].float()

    # Keeping and comparing

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """No weight collects gradients and every part is in evaluation mode; all is put back, also on error."""
        modules = [module for part in self.parts.values() for module in part.modules()]
        weights = [weight for part in self.parts.values() for weight in part.parameters()]
        modes, flags = [module.training for module in modules], [weight.requires_grad for weight in weights]
        try:
            for part in self.parts.values():
                part.eval().requires_grad_(False)
            yield
        finally:
            for module, mode in zip(modules, modes, strict=True):
                module.training = mode
            for weight, flag in zip(weights, flags, strict=True):
                weight.requires_grad_(flag)

    @property
    def fingerprint(self) -> str:
        """sha256 over names, shapes, precision and bytes of the denoiser's and the text encoders' weights."""
        trained = [self.part_fingerprint(name) for name in sorted(self.parts) if name != "autoencoder"]
        return hashlib.sha256("\n".join(trained).encode()).hexdigest()

    def part_fingerprint(self, name: str) -> str:
        """sha256 of one part's weights; computed again only after they changed."""
        module = self.parts[name]
        # In-place changes, an optimiser's among them, count up a tensor's version.
        state = tuple((weight.data_ptr(), weight._version) for weight in module.state_dict(keep_vars=True).values())
        if name not in self._digests or self._digests[name][0] != state:
            self._digests[name] = (state, _digest(module))
        return self._digests[name][1]

    def same_weights(self, other: "LatentDiffusion") -> bool:
        """Whether denoiser and text encoders are bit for bit the same."""
        return self.fingerprint == other.fingerprint

    def differences(self, other: "LatentDiffusion") -> list[str]:
        """Why the two cannot be compared, a field each; empty if they can."""
        return support.differences(self, other)

    def copy(self) -> "LatentDiffusion":
        """A model with its own denoiser and text encoders; autoencoder and tokenizers are shared."""
        twin = copy.copy(self)
        twin.denoiser = copy.deepcopy(self.denoiser)
        twin.text_encoders = tuple(copy.deepcopy(encoder) for encoder in self.text_encoders)
        twin._digests = {}
        return twin

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> "LatentDiffusion":
        """Moves all parts, in place; the autoencoder keeps its float32. Returns itself."""
        with quiet_libraries():
            for name, part in self.parts.items():
                part.to(device=device, dtype=torch.float32 if name == "autoencoder" else dtype)
        return self

    def save(self, folder: Path) -> None:
        """Writes a folder that diffusers' pipelines load, atomically, with safetensors weights.

        A model folder that is there already is replaced. Raises `BadInput` for a folder with other things in it.
        """
        save_folder(self, Path(folder))


def unit_noise(shape: Sequence[int], generators: Sequence[torch.Generator]) -> Float[Tensor, "n *shape"]:
    """Standard normal noise, float32 on the CPU, a row from each generator: the same in whatever batch it is drawn."""
    return torch.stack([torch.randn(*shape, generator=generator) for generator in generators])


def _digest(module: nn.Module) -> str:
    digest = hashlib.sha256()
    for name, weight in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}\n".encode())
        digest.update(weight.detach().contiguous().reshape(-1).view(torch.uint8).cpu().numpy().data)
    return digest.hexdigest()
