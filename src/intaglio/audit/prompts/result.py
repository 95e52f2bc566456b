"""The result of an audit of prompts: a score a prompt, with p-values where there were controls; stored and read again.

`prompt_scores.json` in the run's folder:

    {"method", "prompts": [{"prompt", "score", "signals": {name: float}, "words": [share, ...],
     "drawn": {role: [path relative to the folder, ...]}}, ...], "controls": [{"prompt", "score"}, ...], "fpr"}
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from intaglio.files import atomic_write
from intaglio.images.notebook import result_html
from intaglio.metrics.statistics import conformal
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.tables import rows_csv

FILE = "prompt_scores.json"
WORD = re.compile(r"\S+")
"""A word of a prompt: letters and signs between blanks."""


@dataclass(frozen=True, eq=False)
class PromptScores:
    """Scores of prompts; higher always means "memorised"."""

    method: str
    """The method's name, such as `text-norm`."""
    prompts: tuple[str, ...]
    scores: Float[Tensor, "n"]
    """Less the base's, where there was a base."""
    signals: Mapping[str, Float[Tensor, "n"]]
    """The scores of each model by itself: `model`, and `base` where there was one."""
    shares: tuple[tuple[float, ...], ...]
    """By prompt, the share of each of its words in the score, with a sum of 1; empty where they were not measured."""
    controls: tuple[str, ...] = ()
    """Prompts that were certainly not trained on; none leaves the scores uncalibrated."""
    control_scores: Float[Tensor, "m"] = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    fpr: float = 0.05
    """False-positive rate asked for, in (0, 1)."""
    drawn: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    """Paths of pictures, relative to the run's folder, by prompt and model, in the order of their seeds."""

    @property
    def calibrated(self) -> bool:
        """Whether there were controls."""
        return bool(self.controls)

    @property
    def p_values(self) -> tuple[float | None, ...]:
        """Conformal p-values: (1 + controls that score as high or higher) / (1 + controls); None without controls."""
        if not self.calibrated:
            return (None,) * len(self.prompts)
        return tuple(map(float, conformal.p_values(self.scores.numpy(), self.control_scores.numpy())))

    @property
    def called(self) -> tuple[bool | None, ...]:
        """The prompts whose p-value is at most the asked rate; None without controls."""
        return tuple(None if p is None else bool(conformal.called([p], self.fpr)[0]) for p in self.p_values)

    @property
    def ranking(self) -> list[int]:
        """The places of the prompts, highest score first; equal scores in the order of the prompts."""
        return sorted(range(len(self.prompts)), key=lambda i: (-float(self.scores[i]), i))

    @property
    def statement(self) -> str:
        """The outcome in one or two sentences."""
        count, first = len(self.prompts), self.prompts[self.ranking[0]]
        if not self.calibrated:
            return (
                f"{count} {_prompts(count)} ranked, “{first}” first. The scores are uncalibrated: how high one is "
                "without having been memorised, only prompts that were certainly not trained on can say (--controls)."
            )
        calls = sum(bool(one) for one in self.called)
        return (
            f"{calls} of {count} {_prompts(count)} called memorised, where at most {self.fpr:.2%} of prompts that were "
            f"not trained on are called, calibrated on {len(self.controls)} controls."
        )

    def words_of(self, place: int) -> list[tuple[str, float]]:
        """The words of a prompt with their shares; empty where these were not measured."""
        if not self.shares[place]:
            return []
        return list(zip(WORD.findall(self.prompts[place]), self.shares[place], strict=True))

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a prompt, highest score first: prompt, score, each model's, p-value, verdict, first word."""
        found = []
        for i in self.ranking:
            words = self.words_of(i)
            row = {"prompt": self.prompts[i], "score": float(self.scores[i])}
            row |= {name: float(column[i]) for name, column in self.signals.items()}
            row |= {"p_value": self.p_values[i], "called": self.called[i]}
            found.append({**row, "word": max(words, key=lambda one: one[1])[0] if words else None})
        return found

    def to_frame(self) -> Any:
        """A pandas DataFrame of `rows`, indexed by prompt."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.rows()).set_index("prompt")

    def figures(self) -> dict[str, Any]:
        """Counts, and the first prompt."""
        place = self.ranking[0]
        return {
            "statement": self.statement,
            "prompts": len(self.prompts),
            "called": sum(map(bool, self.called)) if self.calibrated else None,
            "controls": len(self.controls),
            "first": self.prompts[place],
            "first_score": float(self.scores[place]),
            "first_p_value": self.p_values[place],
        }

    def _repr_html_(self) -> str:
        """Counts and the ranked prompts, for notebooks."""
        return result_html(f"Prompts by {self.method}", self.figures(), self.rows())

    def save(self, folder: Path) -> None:
        """Writes `prompts.csv`, ranked, and `prompt_scores.json`, in the order of the prompts, each atomically."""
        rows = self.rows()
        atomic_write(Path(folder) / "prompts.csv", rows_csv(rows, list(rows[0])))
        atomic_write(Path(folder) / FILE, to_json(self.to_dict(), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "PromptScores | None":
        """The result stored in a run's folder; None where there is none.

        Raises `BadInput` for a file that is damaged, or that lacks what this version needs.
        """
        return load_result(Path(folder) / FILE, cls.from_dict, "audit")

    def to_dict(self) -> dict[str, Any]:
        """The content of `prompt_scores.json`."""
        rows = [
            {
                "prompt": prompt,
                "score": float(self.scores[i]),
                "signals": {name: float(column[i]) for name, column in self.signals.items()},
                "words": list(self.shares[i]),
                "drawn": {role: list(paths) for role, paths in self.drawn.get(prompt, {}).items()},
            }
            for i, prompt in enumerate(self.prompts)
        ]
        controls = [
            {"prompt": prompt, "score": float(score)}
            for prompt, score in zip(self.controls, self.control_scores, strict=True)
        ]
        return {"method": self.method, "prompts": rows, "controls": controls, "fpr": self.fpr}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "PromptScores":
        """The inverse of `to_dict`."""
        rows, controls = stored["prompts"], stored["controls"]
        return cls(
            method=str(stored["method"]),
            prompts=tuple(str(row["prompt"]) for row in rows),
            scores=_column(row["score"] for row in rows),
            signals={str(name): _column(row["signals"][name] for row in rows) for name in rows[0]["signals"]},
            shares=tuple(tuple(map(float, row["words"])) for row in rows),
            controls=tuple(str(row["prompt"]) for row in controls),
            control_scores=_column(row["score"] for row in controls),
            fpr=float(stored["fpr"]),
            drawn={str(row["prompt"]): {k: tuple(v) for k, v in row["drawn"].items()} for row in rows if row["drawn"]},
        )


def _column(values: Any) -> Float[Tensor, "n"]:
    return torch.tensor([float(value) for value in values], dtype=torch.float64)


def _prompts(count: int) -> str:
    return "prompt is" if count == 1 else "prompts are"
