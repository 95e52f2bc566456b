"""Similarity of pictures, as one protocol: the embedded encoder, SSIM, or a network from a local file."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from intaglio.errors import BadInput, IntaglioError
from intaglio.files import file_hash
from intaglio.metrics.quality import ssim
from intaglio.metrics.similarity.encoder import ARCHITECTURE, EMBEDDED, Encoder, load_encoder, metadata
from intaglio.metrics.similarity.local_networks import Preprocessing, resized, torchscript, vision_transformer

PICTURES_AT_ONCE = 64
"""Pictures given to a network at once."""
TORCHSCRIPT_SUFFIXES = (".pt", ".ts", ".torchscript")


@runtime_checkable
class Similarity(Protocol):
    """A score in [-1, 1] of pairs of pictures in [0, 1]; 1 for equal pictures. Results are float32 on the CPU."""

    @property
    def name(self) -> str:
        """Its name in reports."""
        ...

    @property
    def hash(self) -> str:
        """64 hex digits that change with the weights and the settings."""
        ...

    def __call__(self, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
        """Similarity of each picture of `a` with its partner in `b`."""
        ...

    def matrix(self, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "n m"]:
        """Similarity of each picture of `a` with each of `b`."""
        ...


@dataclass(frozen=True)
class StructuralSimilarity:
    """SSIM as `metrics.quality` computes it: sensitive to shifts, blind to meaning, needs no weights."""

    name: str = "ssim"

    @property
    def hash(self) -> str:
        return hashlib.sha256(b"ssim, gaussian window of 11 pixels, deviation 1.5").hexdigest()

    @torch.no_grad()
    def __call__(self, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
        return ssim(a, b).cpu()

    @torch.no_grad()
    def matrix(self, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "n m"]:
        """One comparison a pair; quadratic where an encoder is linear."""
        rows = [ssim(picture.expand(len(b), -1, -1, -1), b).cpu() for picture in a]
        return torch.stack(rows) if rows else torch.zeros(0, len(b))


class NoDescriptorError(BadInput):
    """An encoder whose answer to some pictures is not finite."""

    def __init__(self, encoder: str, indices: Sequence[int], names: Sequence[str] = ()):
        self.encoder, self.indices = encoder, tuple(indices)
        which = names[self.indices[0]] if names else f"picture {self.indices[0] + 1} of those that it was given"
        more = f" and {len(self.indices) - 1} more" if len(self.indices) > 1 else ""
        super().__init__(f"{encoder} gives NaN or infinity for {which}{more}; give another encoder to --similarity")


def check_descriptors(similarity: Similarity, pixels: Float[Tensor, "n 3 h w"], names: Sequence[str]) -> None:
    """Raises `NoDescriptorError` by name for pictures that an encoder has no finite answer to."""
    try:
        if isinstance(similarity, Embedding):
            similarity.embed(pixels)
    except NoDescriptorError as error:
        raise NoDescriptorError(error.encoder, error.indices, names) from None


@dataclass(frozen=True, eq=False)
class ResizingEncoder:
    """Encoder that takes pictures of any side."""

    encoder: Encoder

    def __call__(self, pixels: Tensor) -> Tensor:
        """Descriptors [n, d] of pictures [n, 3, h, w] in [0, 1]."""
        return self.encoder(resized(pixels, (self.encoder.size, self.encoder.size), "bilinear"))


@dataclass(frozen=True)
class Embedding:
    """Cosine of the descriptors that a network gives."""

    name: str
    hash: str
    network: Callable[[Tensor], Tensor]
    """pictures in [0, 1] on `device` to descriptors [n, d] of any length"""
    device: torch.device

    @torch.no_grad()
    def embed(self, pixels: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """Descriptors of unit length."""
        if not len(pixels):  # a blank picture tells how long a descriptor is
            return self._answers(pixels.new_ones(1, *pixels.shape[1:]))[:0].cpu()
        found = []
        for first in range(0, len(pixels), PICTURES_AT_ONCE):
            try:
                found.append(self._descriptors(pixels[first : first + PICTURES_AT_ONCE]))
            except NoDescriptorError as error:
                raise NoDescriptorError(self.name, [first + index for index in error.indices]) from None
        return torch.cat(found)

    def __call__(self, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n"]:
        return (self.embed(a) * self.embed(b)).sum(1).clamp(-1, 1)

    def matrix(self, a: Float[Tensor, "n 3 h w"], b: Float[Tensor, "m 3 h w"]) -> Float[Tensor, "n m"]:
        """Each picture is embedded once."""
        return (self.embed(a) @ self.embed(b).T).clamp(-1, 1)

    def _descriptors(self, pixels: Tensor) -> Tensor:
        out = self._answers(pixels)
        if wrong := (~out.isfinite().all(1)).nonzero().flatten().tolist():
            raise NoDescriptorError(self.name, wrong)
        return normalize(out, dim=1).cpu()

    def _answers(self, pixels: Tensor) -> Tensor:
        out = self.network(pixels.float().to(self.device))
        if not isinstance(out, Tensor) or out.dim() != 2 or len(out) != len(pixels):
            got = f"shape {tuple(out.shape)}" if isinstance(out, Tensor) else type(out).__name__
            raise BadInput(f"{self.name} gives {got} for {len(pixels)} pictures; give a network whose output is [n, d]")
        return out.float()


def load_similarity(
    spec: str | Path,
    device: str | torch.device = "cpu",
    *,
    preprocessing: Preprocessing | None = None,
    blocks: int | None = None,
) -> Similarity:
    """The measure named by `spec`. Nothing is downloaded and no pickle is loaded.

    Args:
        spec: `embedded`, the encoder that ships with Intaglio, trained on emoji of 64 pixels; `ssim`; or a path: a
            TorchScript file (SSCD is published as one), which is a program and is only run where it can do nothing
            but compute, a `.safetensors` in the embedded encoder's layout, or a
            folder of transformers with `config.json` and `model.safetensors` (CLIP, DINO, DINOv2).
        device: where the network runs.
        preprocessing: how pictures become the network's input. By default a folder's `preprocessor_config.json`, or a
            file of that layout beside a TorchScript file and of its stem (`net.json` for `net.pt`); else what the
            network was published with: 288 pixels and ImageNet's mean and deviation for TorchScript.
        blocks: of a DINO or DINOv2, how many of the last blocks give their class token, concatenated; by default 4
            for DINO (as CGI-DM's published score has it) and 1 for DINOv2.

    Raises:
        BadInput: for what is not there, is a plain pickle, or is of no known layout.
        IntaglioError: for `embedded` where the package was installed without its data.
    """
    device = torch.device(device)
    if str(spec) == "ssim":
        return StructuralSimilarity()
    if str(spec) == "embedded":
        if not EMBEDDED.is_file():
            raise IntaglioError(f"the encoder {EMBEDDED} is missing; install the full wheel, or use --similarity ssim")
        return _embedded(EMBEDDED, "embedded", device)
    path = Path(spec)
    if not path.exists():
        raise BadInput(f"there is no similarity called {spec}; give `embedded`, `ssim` or the path of a local encoder")
    if path.suffix == ".safetensors" and metadata(path).get("architecture") == ARCHITECTURE:
        return _embedded(path, path.stem, device)
    if path.suffix == ".safetensors" and (path.parent / "config.json").is_file():
        path = path.parent
    if path.is_dir():
        network = vision_transformer(path, device, preprocessing, blocks)
    elif path.suffix in TORCHSCRIPT_SUFFIXES:
        network = torchscript(path, device, preprocessing)
    else:
        raise BadInput(
            f"{path} is no encoder that can be read; give a TorchScript file (.pt, .ts, .torchscript) or a folder "
            "with config.json and model.safetensors"
        )
    return Embedding(network.name, network.hash, network, device)


def _embedded(path: Path, name: str, device: torch.device) -> Embedding:
    encoder = load_encoder(path, device)
    return Embedding(name, file_hash(path), ResizingEncoder(encoder), device)
