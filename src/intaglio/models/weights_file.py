"""Reading of one `.safetensors` file, with a clear error for any other file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from intaglio.errors import BadInput
from intaglio.files import open_regular

PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".pickle", ".pkl", ".pt", ".pth"})
"""Suffixes of files that hold pickles, which are refused unread."""
GGUF_SUFFIX = ".gguf"
"""Suffix of files of llama.cpp's format, which are not read."""


def read_weights(path: Path, what: str = "weights") -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """All tensors of a `.safetensors` file, on the CPU, and its metadata.

    `what` names in errors the expected content. Raises `BadInput` for a file that is missing, pickled,
    truncated or of another kind. Nothing is ever unpickled.
    """
    with opened(path, what) as file:
        return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118


@contextmanager
def opened(path: Path, what: str = "weights") -> Iterator[Any]:
    """A `.safetensors` file, open for reading tensors one by one; errors as in `read_weights`."""
    refuse_pickle(path, what)
    if path.exists():
        open_regular(path).close()  # a pipe without a writer would be waited for without end
        refuse_gguf(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            yield file
    except FileNotFoundError:
        raise BadInput(f"{path} does not exist; give the .safetensors file with the {what}.") from None
    except (SafetensorError, OSError) as error:
        raise BadInput(
            f"{path} cannot be read as .safetensors ({error}): it is truncated or of another kind; "
            "download or export it again."
        ) from error


def checked(tensor: torch.Tensor, source: object, key: str) -> torch.Tensor:
    """The tensor itself.

    Raises `BadInput`, naming file and key, for quantized weights, NaN, infinity, and numbers beyond float32, in which
    networks are filled.
    """
    if tensor.is_complex():
        raise BadInput(f"{source} holds {key} as complex numbers, which no such network has; export it again")
    if not tensor.is_floating_point():
        raise BadInput(
            f"{source} holds {key} as {str(tensor.dtype).removeprefix('torch.')}, which are quantized weights; "
            "give the model in float32, float16 or bfloat16"
        )
    if not is_finite(tensor):
        raise BadInput(
            f"{source} holds NaN or infinity ({key}): its training diverged or the file is damaged; "
            "use an earlier or another copy"
        )
    if tensor.dtype == torch.float64 and not is_finite(tensor.float()):
        raise BadInput(f"{source} holds numbers beyond float32 ({key}); check how it was made, or use another copy")
    return tensor


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether every number is finite. Eight-bit floats are looked at in float32."""
    wide = tensor if tensor.dtype.itemsize > 1 else tensor.float()
    if not wide.numel() or wide.is_complex():
        return bool(torch.isfinite(wide).all())
    # The extremes are NaN where a number is. They are read once, without memory, and of float16 in a twentieth of the
    # time of a sum.
    return all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(wide))


def refuse_pickle(path: Path, what: str = "weights") -> None:
    """Raises `BadInput` for a directory, and for pickled weights, by their suffix or their first bytes."""
    if path.is_dir():
        raise BadInput(f"{path} is a folder; give the .safetensors file with the {what}.")
    if path.suffix.lower() in PICKLE_SUFFIXES or _looks_pickled(path):
        raise BadInput(
            f"{path} holds pickled {what}, which can run any code when opened and are never read; "
            "convert it to .safetensors on a machine you can afford to lose, or ask for a .safetensors copy."
        )


def refuse_gguf(path: Path) -> None:
    """Raises `BadInput` for a GGUF file, by its suffix or its first bytes."""
    if path.suffix.lower() == GGUF_SUFFIX or _start(path) == b"GGUF":
        raise BadInput(
            f"{path} is a GGUF file, whose block-quantised weights cannot be differentiated here; use the model's "
            "safetensors file or folder, in a fine-tune with --base-precision nf4 where memory is short"
        )


def _start(path: Path) -> bytes:
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(4)


def _looks_pickled(path: Path) -> bool:
    start = _start(path)
    if start == b"PK\x03\x04":
        return True
    # A safetensors file begins with the length of its header, which may well look like a pickle's first two bytes.
    return path.suffix.lower() != ".safetensors" and start[:1] == b"\x80" and start[1:2] in (b"\2", b"\3", b"\4", b"\5")
