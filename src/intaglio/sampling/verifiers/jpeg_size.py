"""Size of a picture as a JPEG: a score that is exact and has no gradient."""

import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from intaglio.images.image_set import to_uint8


@dataclass(frozen=True)
class JpegSize:
    """Minus the kilobytes of a picture as a JPEG: compressibility, the first reward of arXiv 2408.08252."""

    quality: int = 95
    """JPEG's quality, 1 to 100."""
    name: str = "jpeg"
    differentiable: bool = False
    calls: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise ValueError(f"quality must be 1 to 100, not {self.quality}")

    @property
    def hash(self) -> str:
        return hashlib.sha256(f"jpeg {self.quality}".encode()).hexdigest()

    def __call__(self, pixels: Float[Tensor, "n 3 h w"], prompts: Sequence[str]) -> Float[Tensor, "n"]:
        """Minus the size in kB, by libjpeg's default subsampling; NaN for a picture that is not finite."""
        return torch.tensor([self._score(picture) for picture in pixels], dtype=torch.float32)

    def _score(self, picture: Tensor) -> float:
        if not picture.isfinite().all():
            return float("nan")
        file = io.BytesIO()
        array = to_uint8(picture.detach().cpu()).permute(1, 2, 0).numpy()
        Image.fromarray(array).save(file, "JPEG", quality=self.quality)
        return -len(file.getvalue()) / 1000
