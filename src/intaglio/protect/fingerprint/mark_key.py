"""`MarkKey`: the secret that a mark is made and found by, and its file.

    {"intaglio_mark_key": 1, "method": "...", "settings": {...}, "secret": "<hex>"}

Who has the file can find the mark, take it away, and put it into other pictures.
"""

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intaglio.data_files import read_json
from intaglio.errors import BadInput, require
from intaglio.files import atomic_path
from intaglio.runs.plain_json import to_json

if TYPE_CHECKING:
    import torch
    from jaxtyping import Bool
    from torch import Tensor

FORMAT = 1
TRAINED = ".trained.safetensors"
"""What the name of the file beside a key adds to the key's, where the mark was trained before it marked."""
MOST_USERS = 1_000_000
"""Users of one key, numbered from 0."""
SHORTEST = 16
"""Bytes of a secret, at least."""


@dataclass(frozen=True)
class MarkKey:
    """The secret of a mark, from which all its bits and patterns follow."""

    secret: bytes = field(repr=False)
    """16 bytes or more."""

    def __post_init__(self) -> None:
        require(len(self.secret) >= SHORTEST, f"a secret has {SHORTEST} bytes or more, not {len(self.secret)}")

    @classmethod
    def fresh(cls) -> "MarkKey":
        """A key that nobody can guess, from the machine's source of secrets."""
        return cls(secrets.token_bytes(32))

    @classmethod
    def of_seed(cls, seed: int) -> "MarkKey":
        """The key of a number, for benches and tests; whoever guesses the number has it."""
        return cls(hashlib.sha256(f"mark key {seed}".encode()).digest())

    @property
    def hash(self) -> str:
        """64 hex digits that tell keys apart and give none away."""
        return hashlib.sha256(b"hash of a mark key" + self.secret).hexdigest()

    def bits(self, count: int, *labels: object) -> "Bool[Tensor, 'count']":
        """Bits that are uniform to who has not the secret: HMAC-SHA-256 of the labels and a counter."""
        import torch

        blocks = range(-(-count // 256))
        stream = b"".join(self._digest(*labels, block) for block in blocks)
        octets = torch.frombuffer(bytearray(stream), dtype=torch.uint8)
        return (octets[:, None] >> torch.arange(8, dtype=torch.uint8) & 1).flatten()[:count].bool()

    def generator(self, *labels: object) -> "torch.Generator":
        """A generator on the CPU for the secret and labels."""
        import torch

        return torch.Generator().manual_seed(int.from_bytes(self._digest(*labels)[:8], "big") >> 1)

    def _digest(self, *labels: object) -> bytes:
        text = "\n".join(str(part) for part in labels)
        return hmac.digest(self.secret, text.encode(), "sha256")


def trained_beside(key: Path) -> Path:
    """The file beside a key's that holds what its mark was trained to; nothing that a key says has a part in it."""
    return key.with_name(key.name + TRAINED)


@dataclass(frozen=True)
class KeptKey:
    """A key as its file has it, with the mark that it belongs to."""

    key: MarkKey
    method: str
    """The mark's name, such as `tree-ring`."""
    settings: Mapping[str, Any]
    """The mark's settings, plain values."""

    @property
    def described(self) -> str:
        """The settings in words."""
        return ", ".join(f"{name} {value}" for name, value in self.settings.items())

    def same_settings(self, settings: Mapping[str, Any]) -> bool:
        """Whether settings are those of the file, as JSON has them."""
        return to_json(dict(settings)) == to_json(dict(self.settings))

    def save(self, path: Path) -> None:
        """Writes the file, which its owner alone may read, atomically. Raises `BadInput` where there is one."""
        if path.exists():
            raise BadInput(f"{path} is there already, and a key is never written over; name another file")
        content = {"intaglio_mark_key": FORMAT, "method": self.method, "settings": dict(self.settings)}
        with atomic_path(path) as temporary:
            temporary.touch(0o600)
            temporary.write_text(to_json({**content, "secret": self.key.secret.hex()}, indent=1) + "\n")
            temporary.chmod(0o600)

    @classmethod
    def load(cls, path: Path) -> "KeptKey":
        """The key in a file. Raises `BadInput` for a file that holds none."""
        remedy = "give the file that intaglio protect fingerprint wrote"
        content = read_json(path, remedy)
        try:
            if content["intaglio_mark_key"] != FORMAT:
                raise BadInput(f"{path} is a key of another version; read it with the version that wrote it")
            key = MarkKey(bytes.fromhex(content["secret"]))
            return cls(key, str(content["method"]), dict(content["settings"]))
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise BadInput(f"{path} holds no key of a mark ({error}); {remedy}") from None
