"""`Answers`: p-values of independence tests by question, kept in a run so that a killed search asks none twice."""

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from intaglio.causal.independence.variables import IndependenceTest, Pair
from intaglio.runs.run import Run

STATE = "tests"
"""Name of the checkpoint in a run."""
SAVE_EVERY_S = 5.0


class Answers:
    """The p-values of a search, and the number of levels that it finished."""

    def __init__(self, run: Run):
        self._run, self._known = run, {}
        self.levels = 0
        """Levels that were finished before a kill."""
        if (saved := run.load_state(STATE)) is not None:
            tensors, meta = saved
            self.levels = int(meta["levels"])
            questions, values = tensors["questions"].tolist(), tensors["p"].tolist()
            for (x, y, *given), p in zip(questions, values, strict=True):
                self._known[x, y, tuple(k for k in given if k >= 0)] = p

    def __len__(self) -> int:
        return len(self._known)

    def ask(self, test: IndependenceTest, pairs: list[Pair], given: tuple[int, ...]) -> Float[ndarray, "k"]:
        """The p-values of the pairs given a set; those that are not known are tested and kept."""
        if unknown := [pair for pair in pairs if (*pair, given) not in self._known]:
            for pair, p in zip(unknown, test.p_values(unknown, given).tolist(), strict=True):
                self._known[*pair, given] = p
            self.save(every_s=SAVE_EVERY_S)
        return np.array([self._known[*pair, given] for pair in pairs])

    def finish(self, level: int) -> None:
        """Stores that a level is finished."""
        self.levels = max(self.levels, level + 1)
        self.save()

    def save(self, every_s: float = 0) -> None:
        """Stores all answers in the run, at most every `every_s` seconds."""
        longest = max((len(given) for _, _, given in self._known), default=0)
        rows = [[x, y, *given, *(-1,) * (longest - len(given))] for x, y, given in self._known]
        tensors = {
            "questions": torch.tensor(rows, dtype=torch.int64).reshape(-1, 2 + longest),
            "p": torch.tensor(list(self._known.values()), dtype=torch.float64),
        }
        self._run.save_state(STATE, tensors, {"levels": self.levels}, every_s)
