"""Codes of 1 to 8 bits as bit planes: plane k holds bit k of every code, eight codes a byte, so that no bit is lost."""

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

MOST_BITS = 8


def plane_bytes(count: int) -> int:
    """Bytes of one plane of so many codes."""
    return -(-count // 8)


def to_planes(codes: UInt8[Tensor, "*shape"], bits: int) -> UInt8[Tensor, "bits bytes"]:
    """The planes of codes below 2**bits, in their flat order; the last byte is filled up with zeros."""
    flat = codes.cpu().numpy().reshape(-1)
    planes = [np.packbits(flat >> bit & 1, bitorder="little") for bit in range(bits)]
    return torch.from_numpy(np.stack(planes))


def from_planes(planes: UInt8[Tensor, "bits bytes"], count: int) -> UInt8[Tensor, "count"]:
    """The first `count` codes of planes, the inverse of `to_planes`."""
    codes = np.zeros(count, np.uint8)
    for bit, plane in enumerate(planes.numpy()):
        codes |= np.unpackbits(plane, count=count, bitorder="little") << bit
    return torch.from_numpy(codes)
