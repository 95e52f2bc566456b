"""js-divergence: the Jensen-Shannon divergence of the answers of service and student."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from intaglio.audit.inference.answer_divergences import jensen_shannon
from intaglio.audit.inference.attack_detector import Learnt
from intaglio.audit.inference.class_answers import Answers
from intaglio.audit.inference.family import ResultCheck


@dataclass(frozen=True, kw_only=True)
class JSDivergence(ResultCheck):
    """Jensen-Shannon divergence of the service's answer from its student's.

    The score is (KL(p || m) + KL(q || m)) / 2 with m = (p + q) / 2, at most log 2; nothing but the student is learnt.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "the Jensen-Shannon divergence of the answer from the student's"

    def score(self, learnt: Learnt, p: Answers, q: Answers) -> Float[Tensor, "n"]:
        """The divergence, nats."""
        return jensen_shannon(p, q)
