"""top-class: whether the most probable classes of service and student differ."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.inference.attack_detector import Learnt
from intaglio.audit.inference.class_answers import Answers
from intaglio.audit.inference.family import ResultCheck


@dataclass(frozen=True, kw_only=True)
class TopClass(ResultCheck):
    """Disagreement of the most probable class of the service with its student's.

    The score is 1 where they differ, else 0, so that at a rate below the student's own disagreement no answer fails.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "whether the most probable class is the student's too"

    def score(self, learnt: Learnt, p: Answers, q: Answers) -> Float[Tensor, "n"]:
        """1 where the classes differ."""
        return (p.argmax(1) != q.argmax(1)).double()
