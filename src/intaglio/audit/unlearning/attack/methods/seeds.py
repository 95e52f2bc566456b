"""seeds: the prompt itself, from other noise each time."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

from intaglio.audit.unlearning.attack.attack_scene import AttackScene, Candidate, Outcome
from intaglio.audit.unlearning.attack.family import UnlearnAttack
from intaglio.randomness import seed_32bit
from intaglio.runs.run import Run


@dataclass(frozen=True, kw_only=True)
class OtherSeeds(UnlearnAttack):
    """Other seeds: the unlearned model draws the prompt from other noise at each try.

    The j-th try of a prompt has the j-th of a row of seeds; none is the one of the unattacked picture. It says how far
    the unlearning holds for one who only draws again.

    Source: the usual baseline at equal tries; see Zhang et al., arXiv 2310.11868.
    """

    role: ClassVar[Literal["method", "baseline"]] = "baseline"
    reading: ClassVar[str] = "from other noise each time"

    def attack(self, scene: AttackScene, run: Run) -> Outcome:
        """One seed after the other."""

        def candidates() -> Iterator[Candidate]:
            for number in range(self.tries):
                yield Candidate((), seed_32bit(self.seed, "attacked", scene.prompt, "seeds", number))

        return scene.first_success(candidates(), self.batch)
