"""The result of attacks on an unlearned model: the tries at each prompt, stored and read again.

`unlearn_attacks.json` in the run's folder:

    {"method", "reading", "tries", "judge", "prompts": [{"prompt", "unattacked", "success": number of the first try that
     succeeded or null, "ids": [int, ...], "text", "seed"}, ...]}
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from intaglio.files import atomic_write
from intaglio.images.notebook import result_html
from intaglio.metrics.statistics.conformal import clopper_pearson
from intaglio.runs.plain_json import to_json
from intaglio.runs.read import load_result
from intaglio.runs.tables import rows_csv

FILE, TABLE = "unlearn_attacks.json", "attacks.csv"
"""Names in a result's folder."""


@dataclass(frozen=True)
class AttackedPrompt:
    """The tries at one prompt."""

    prompt: str
    unattacked: bool
    """Whether the prompt itself showed the concept, at the attack's first noise."""
    success: int | None
    """The first try, from 1, that showed it; None where none did."""
    ids: tuple[int, ...]
    """Tokens before the prompt of that try; none for a try by noise alone, and where there is none."""
    text: str
    """These tokens as text, which need not be read as the same tokens again."""
    seed: int
    """Seed of its noise."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "ids": list(self.ids)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "AttackedPrompt":
        """The inverse of `to_dict`."""
        success = stored["success"]
        return cls(
            str(stored["prompt"]),
            bool(stored["unattacked"]),
            None if success is None else int(success),
            tuple(int(one) for one in stored["ids"]),
            str(stored["text"]),
            int(stored["seed"]),
        )


@dataclass(frozen=True)
class UnlearnAttacks:
    """Attacks of one method on all prompts."""

    method: str
    """The method's name, such as `seeds`."""
    reading: str
    """The tries, as the end of a sentence."""
    tries: int
    """Pictures at each prompt, at most."""
    prompts: tuple[AttackedPrompt, ...]
    judge: str = ""
    """The judge, in a sentence; empty where nobody said."""

    def successes(self, tries: int | None = None) -> int:
        """Prompts at which one of the first `tries` succeeded; None: of all tries."""
        most = self.tries if tries is None else tries
        return sum(one.success is not None and one.success <= most for one in self.prompts)

    @property
    def unattacked(self) -> int:
        """Prompts that showed the concept by themselves; the attack's successes count these too."""
        return sum(one.unattacked for one in self.prompts)

    @property
    def statement(self) -> str:
        """The outcome in one sentence."""
        count = len(self.prompts)
        prompts = "prompt" if count == 1 else "prompts"
        interval = clopper_pearson(self.successes(), count)
        low, high = interval or (0.0, 1.0)
        return (
            f"{self.successes()} of {count} {prompts} showed the concept within {self.tries} tries {self.reading} "
            f"(95% interval {low:.0%} to {high:.0%}); {self.unattacked} did so unattacked."
        )

    def rows(self) -> list[dict[str, Any]]:
        """One mapping a prompt."""
        return [{**one.to_dict(), "ids": " ".join(map(str, one.ids))} for one in self.prompts]

    def to_frame(self) -> Any:
        """A pandas DataFrame of `rows`."""
        import pandas as pd  # only who asks for a frame waits for it

        return pd.DataFrame(self.rows())

    def figures(self) -> dict[str, Any]:
        """Counts."""
        return {
            "statement": self.statement,
            "prompts": len(self.prompts),
            "tries": self.tries,
            "successes": self.successes(),
            "unattacked": self.unattacked,
        }

    def _repr_html_(self) -> str:
        """Counts and rows, for notebooks."""
        return result_html(f"Attacks by {self.method}", self.figures(), self.rows())

    def save(self, folder: Path) -> None:
        """Writes `attacks.csv`, a row a prompt, and `unlearn_attacks.json`, each atomically."""
        rows = self.rows()
        atomic_write(Path(folder) / TABLE, rows_csv(rows, list(rows[0])))
        atomic_write(Path(folder) / FILE, to_json(self.to_dict()) + "\n")

    @staticmethod
    def load(folder: Path) -> "UnlearnAttacks | None":
        """The result in a run's folder; None where there is none. Raises `BadInput` for a damaged one."""
        return load_result(Path(folder) / FILE, UnlearnAttacks.from_dict, "attack")

    def to_dict(self) -> dict[str, Any]:
        """Plain values; see the module."""
        own = {"method": self.method, "reading": self.reading, "tries": self.tries, "judge": self.judge}
        return {**own, "prompts": [one.to_dict() for one in self.prompts]}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "UnlearnAttacks":
        """The inverse of `to_dict`."""
        prompts = tuple(AttackedPrompt.from_dict(one) for one in stored["prompts"])
        method, reading, judge = (str(stored[name]) for name in ("method", "reading", "judge"))
        return cls(method, reading, int(stored["tries"]), prompts, judge)
