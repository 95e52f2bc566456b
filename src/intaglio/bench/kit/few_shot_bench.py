"""Fields and base model that benches on few-shot sets share."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from intaglio.errors import BadInput
from intaglio.models import testbed
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model
from intaglio.runs.cluster import check_address, on_cluster


@dataclass(frozen=True, kw_only=True)
class FewShotBench:
    """A bench on few-shot sets of pictures, which a base is fine-tuned on.

    A call takes the cluster that it is within: `with bench.spread(): bench()`, as `intaglio bench` does.
    """

    quick: bool = False
    """The same in minutes."""
    sets: tuple[str, ...] = ()
    """Few-shot sets to use."""
    workers: int | None = None
    """Processes that the work is spread over; none takes one a core on the CPU, else one."""
    cluster: str | None = None
    """Ray cluster that does the work: HOST:PORT from one of its nodes, ray://HOST:10001 from any other machine, or ray
    for one that is started on this machine. A path given by --model must lead to the same model on every node."""
    device: str = "cpu"
    """Where to compute, such as cpu or cuda."""
    runs: Path = Path("runs")
    """Folder that the bench's run is kept in; the same command goes on where a killed one was."""
    model: Path | None = None
    """The base; none takes the embedded testbed, which the few-shot sets were made for."""
    like: Path | None = None
    """A diffusers folder that gives the base what it lacks, such as the tokenizer of a single file."""

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be at least 1, not {self.workers}")
        if self.cluster is not None:
            check_address(self.cluster)

    def spread(self) -> AbstractContextManager[None]:
        """A block whose independent work is done by the cluster, where one is named."""
        return on_cluster(self.cluster, self.device)

    def chosen_sets(self, quick: int) -> tuple[str, ...]:
        """The named sets; where none is, all, or `quick` of them spread over all in a quick bench.

        Raises `BadInput` for a name that there is not.
        """
        known = testbed.sets()
        if unknown := [name for name in self.sets if name not in known]:
            raise BadInput(f"there is no few-shot set called {unknown[0]!r}; choose from: {', '.join(known)}")
        asked = tuple(dict.fromkeys(self.sets))
        return asked or (known[:: -(-len(known) // quick)] if self.quick else known)

    @property
    def base(self) -> LatentDiffusion:
        """The base, read once a process."""
        return _read(self.model, self.like, self.device)

    def inputs(self) -> dict[str, dict[str, str]]:
        """The base as an input of the run: path and fingerprint."""
        return {"model": {"path": str(self.model or "testbed"), "sha256": self.base.fingerprint}}


@cache
def _read(model: Path | None, like: Path | None, device: str) -> LatentDiffusion:
    return load_model(model or testbed.base_path(), like=like, device=device)
