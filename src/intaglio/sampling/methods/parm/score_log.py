"""Logged scores of pictures that were drawn to their end: of their clean estimates on the way, and of themselves."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.errors import BadInput
from intaglio.runs.tensors import read_state, write_state
from intaglio.sampling.methods.parm.potential import Potential

KIND = "score log"


@dataclass(frozen=True, eq=False)
class ScoreLog:
    """Scores of g pictures of each of p prompts, at J levels and at the end; NaN where the verifier had no answer."""

    prompts: tuple[str, ...]
    scores: Float[Tensor, "p g j"]
    """Of clean estimates, from the noisiest level on; float64."""
    finals: Float[Tensor, "p g"]
    """Of the pictures."""
    hash: str
    """Of all that they were drawn and scored with."""

    def potential(self, without: str, passing: float, *, relative: bool) -> Potential:
        """The potential by the pictures of the prompts other than `without`.

        Args:
            without: the prompt that will be judged.
            passing: share of the pictures that pass, those of the highest scores.
            relative: whether scores are taken less a mean over the pictures of their prompt: on the way that at the
                first level, at the end that of the finished ones.
        """
        others = [k for k, prompt in enumerate(self.prompts) if prompt != without]
        scores, finals = self.scores[others], self.finals[others]
        if relative:
            scores = scores - scores[:, :, :1].nanmean(1, keepdim=True)
            finals = finals - finals.nanmean(1, keepdim=True)
        finals = finals.flatten()
        known = finals[finals.isfinite()]
        least = known.quantile(1 - passing) if len(known) else torch.inf
        return Potential.fit(scores.flatten(0, 1), finals >= least)

    def save(self, path: Path) -> None:
        """Writes a safetensors file."""
        write_state(
            path,
            {"scores": self.scores, "finals": self.finals},
            {"kind": KIND, "hash": self.hash, "prompts": list(self.prompts)},
        )

    @classmethod
    def read(cls, path: Path, known: str) -> "ScoreLog":
        """The log in a file. Raises `BadInput` where there is none, or one of another hash than `known`."""
        found = read_state(path)
        if found is None or found[1].get("kind") != KIND or found[1].get("hash") != known:
            raise BadInput(f"{path} holds no log of these scores; delete it, and they are logged again")
        tensors, about = found
        return cls(tuple(about["prompts"]), tensors["scores"], tensors["finals"], known)
