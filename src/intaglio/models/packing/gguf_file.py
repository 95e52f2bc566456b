"""GGUF files of a U-Net, which other software reads: codes as they are where the format has them, else half precision.

A block of the format is 32 numbers of a row with one scale in half precision, which is what packed codes in groups of
32 are. Tensors have the names of the original latent-diffusion code.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.files import atomic_path
from intaglio.models.ldm_names import UNetLayout
from intaglio.models.packing.integers import Integers
from intaglio.models.packing.packed_weight import PackedWeight

NAME = "unet.gguf"
"""Name of the file in a model's folder."""
BLOCK = 32
"""Numbers of a block."""
PREFIX = "model.diffusion_model."
NEEDED = "a GGUF file is written with the gguf package; install it: pip install 'intaglio[gguf]'"
ARCHITECTURES = {None: "sd1", "text_time": "sdxl"}
"""The format's names of families, by a U-Net's kind of added embedding."""


def _of_8_bits(codes: Tensor) -> Tensor:
    return codes ^ 128  # the sign of code - 128, as an int8


def _of_4_bits(codes: Tensor) -> Tensor:
    return codes[..., :16] | codes[..., 16:] << 4


def _of_5_bits(codes: Tensor) -> Tensor:
    fifth = (codes >> 4).unflatten(-1, (4, 8)).to(torch.int64)
    high = (fifth << torch.arange(8)).sum(-1).to(torch.uint8)
    return torch.cat([high, _of_4_bits(codes & 15)], -1)


CODES: dict[int, tuple[str, Callable[[Tensor], Tensor]]] = {
    4: ("Q4_0", _of_4_bits),
    5: ("Q5_0", _of_5_bits),
    8: ("Q8_0", _of_8_bits),
}
"""By bits of a code: the format's name of the type, and the bytes of a block's codes."""


def check_gguf(bits: int | None, group: int | None) -> None:
    """Raises `BadInput` for codes that the format has no type for, and where the package that writes it is missing."""
    if bits not in CODES or group != BLOCK:
        raise BadInput(
            f"GGUF has codes of 4, 5 and 8 bits in groups of {BLOCK}; give a method with --bits and --group, such as "
            f"rtn --bits 8 --group {BLOCK}, or another layout"
        )
    _library()


def write_gguf(network: Any, packed: Mapping[str, PackedWeight], path: Path) -> int:
    """Writes a U-Net, atomically; how many of its weights are codes in it.

    These are the matrices of linear layers whose packed weight is codes of 4, 5 or 8 bits in groups of 32 without
    zeros, and they are read as the same numbers. All others are in half precision, those of one side in single.

    Raises `BadInput` where the package that writes the format is missing.
    """
    gguf, layout = _library(), UNetLayout.of(network.state_dict())
    architecture = ARCHITECTURES.get(network.config.addition_embed_type, "sd1")
    coded = 0
    with atomic_path(path) as temporary:
        writer = gguf.GGUFWriter(temporary, architecture)
        try:
            for name, weight in network.state_dict().items():
                key, term = PREFIX + layout.original(name), _coded(packed.get(name))
                if term is not None:
                    kind = gguf.GGMLQuantizationType[CODES[term.bits][0]]
                    writer.add_tensor(key, blocks(term).numpy(), raw_dtype=kind)
                    coded += 1
                else:
                    writer.add_tensor(key, _plain(weight))
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
        finally:
            writer.close()
    return coded


def blocks(term: Integers) -> UInt8[Tensor, "o b"]:
    """The bytes of a term's blocks, a row each: scale, then codes."""
    rows, groups = term.scales.shape
    scales = term.scales.contiguous().view(torch.uint8).view(rows, groups, 2)
    codes = CODES[term.bits][1](term.codes.view(rows, groups, BLOCK))
    return torch.cat([scales, codes], -1).flatten(1)


def _coded(weight: PackedWeight | None) -> Integers | None:
    """The codes of a weight that the format has a type for; None for others."""
    term = None if weight is None or len(weight.shape) != 2 else weight.codes
    if term is None or term.bits not in CODES:
        return None
    return term if term.codes.shape[1] == BLOCK * term.scales.shape[1] else None


def _plain(weight: Tensor) -> np.ndarray:
    single = weight.detach().float().cpu()
    half = single.half()
    return single.numpy() if weight.dim() < 2 or not bool(torch.isfinite(half).all()) else half.numpy()


def _library() -> Any:
    try:
        import gguf
    except ImportError as error:
        raise BadInput(NEEDED) from error
    return gguf
