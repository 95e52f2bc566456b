"""The flag of commands whose work a cluster can do."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from intaglio.runs.run import Run

HERE_ALONE = (
    "the work was spread over a cluster: joules and processor seconds of this run are those of this machine alone"
)


@dataclass(frozen=True, kw_only=True)
class OnCluster:
    """A command whose independent pieces of work can be done by a Ray cluster."""

    cluster: str | None = None
    """Ray cluster that does the work: HOST:PORT from one of its nodes, ray://HOST:10001 from any other machine, or ray
    for one that is started on this machine. Results are those of one thread (OMP_NUM_THREADS=1) without it; needs
    `pip install 'intaglio[cluster]'`."""

    def __post_init__(self) -> None:
        if self.cluster is not None:
            from intaglio.runs.cluster import check_address

            check_address(self.cluster)

    def spread(self) -> AbstractContextManager[None]:
        """A block whose independent work is done by the cluster, where one is named."""
        from intaglio.runs.cluster import on_cluster

        method = getattr(self, "method", None)
        return on_cluster(self.cluster, getattr(self, "device", getattr(method, "device", "cpu")))

    def say_spread(self, run: "Run") -> None:
        """Notes in the run what it cannot know of work that was done elsewhere."""
        if self.cluster is not None:
            run.warn(HERE_ALONE)
