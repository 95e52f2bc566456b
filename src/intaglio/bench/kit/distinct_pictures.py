"""Pictures of the testbed that differ from each other."""

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.models import testbed


def distinct_pictures() -> tuple[list[str], Float[Tensor, "n 3 h w"], list[str]]:
    """Hashes, sorted, pixels and captions of all pictures that ship but those of few-shot sets, each once."""
    seen = dict[str, tuple[Tensor, str]]()
    for images in (testbed.real_pictures(), testbed.held_out_pictures()[0], testbed.controls_wide()):
        for content, pixels, caption in zip(images.hashes, images.pixels, images.captions, strict=True):
            seen.setdefault(content, (pixels, str(caption or "")))
    hashes = sorted(seen)
    return hashes, torch.stack([seen[one][0] for one in hashes]), [seen[one][1] for one in hashes]
