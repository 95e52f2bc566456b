"""`TrainedPart`: what was trained for the sampling of one model, as tensors with plain facts in a safetensors file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from intaglio.data_files import Fields
from intaglio.errors import BadInput, IntaglioError
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.runs.plain_json import digest, to_json
from intaglio.runs.tensors import read_state, tensor_hash, write_state

KIND = "trained part of sampling"


@dataclass(frozen=True, eq=False)
class TrainedPart:
    """Tensors that a trainer learnt for one model, and all that they depend on."""

    trainer: str
    """Name of the trainer."""
    model: str
    """Fingerprint of the model that it was trained for."""
    settings: Mapping[str, Any]
    """The trainer's settings, and the prompts or the hash of the pictures, as JSON has them."""
    tensors: Mapping[str, Tensor] = field(repr=False)
    facts: Mapping[str, Any]
    """Plain values that go with the tensors, and measures of the training."""

    @cached_property
    def hash(self) -> str:
        """64 hex digits that change with the model, the settings, the facts and every bit of the tensors."""
        tensors = {name: tensor_hash(tensor) for name, tensor in self.tensors.items()}
        about = {"trainer": self.trainer, "model": self.model, "settings": self.settings, "facts": self.facts}
        return digest({**about, "tensors": tensors})

    def save(self, path: Path) -> None:
        """Writes a safetensors file."""
        about = {"kind": KIND, "trainer": self.trainer, "model": self.model, "hash": self.hash}
        # As texts, since numbers beyond JSON's own would not come back as the same settings.
        about |= {"settings": dict(self.settings), "facts": dict(self.facts)}
        write_state(path, self.tensors, about)

    @classmethod
    def load(cls, path: Path, trainer: str, model: LatentDiffusion) -> "TrainedPart":
        """The part in a file. Raises `BadInput` for another file, another trainer's, and one of another model."""
        remedy = f"give the file that intaglio sample train {trainer} wrote for {model.name}"
        if not path.is_file():
            raise BadInput(f"there is no file {path}; {remedy}")
        try:
            read = read_state(path)
        except IntaglioError:  # of a run's state it says that the work is done again
            raise BadInput(f"{path} is cut off or damaged; {remedy}") from None
        if read is None or read[1].get("kind") != KIND or read[1].get("trainer") != trainer:
            found = "" if read is None else read[1].get("trainer", "")
            what = f"of the trainer {found}" if isinstance(found, str) and found else "no trained part of sampling"
            raise BadInput(f"{path} is {what}, not of {trainer}; {remedy}")
        tensors, fields = read[0], Fields.of(dict(read[1]), str(path), remedy)
        settings, facts = (fields.table(name).values for name in ("settings", "facts"))
        part = cls(trainer, fields.text("model"), settings, dict(tensors), facts)
        if part.hash != fields.text("hash"):
            raise BadInput(f"{path} was changed since it was trained; {remedy}")
        if part.model != model.fingerprint:
            raise BadInput(
                f"{path} was trained for another model ({str(part.model)[:16]}, and {model.name} is "
                f"{model.fingerprint[:16]}); {remedy}"
            )
        return part

    def tensor(self, name: str) -> Tensor:
        """A tensor by its name. Raises `BadInput` for one that the part lacks."""
        if name not in self.tensors:
            raise BadInput(f"the trained part of {self.trainer} lacks {name!r}; train it again")
        return self.tensors[name]


def plain(value: Any) -> Any:
    """Settings as JSON gives them back: tuples as lists, paths as their names."""
    import json

    return json.loads(to_json(value))
