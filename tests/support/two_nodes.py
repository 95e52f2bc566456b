"""A Ray cluster of two nodes with a core each, and work on it; run as a program, since tests may open no sockets.

    RAY_DEDUP_LOGS_SKIP_REGEX=.* python two_nodes.py FOLDER [PORT]

Writes one line of JSON: by name, what was seen. With a port the cluster is asked through the server of Ray's client,
as from a machine that is no node of it.
"""

import json
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import ray
import torch
from ray.cluster_utils import Cluster

from intaglio.images.image_set import ImageSet
from intaglio.runs import cluster as clusters
from intaglio.runs.cluster import on_cluster
from intaglio.runs.fan_out import fan_out, workers_for
from intaglio.runs.picture_batches import in_batches
from intaglio.runs.picture_groups import PictureResult, in_groups
from intaglio.runs.run import Run
from intaglio.runs.steps import StepState

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}


def squared(folder: str, job: int) -> tuple[int, str, int]:
    """The square; the first worker that is given job 2 is killed at it, as one that memory is short for."""
    flag = Path(folder) / "killed"
    if job == 2 and not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return job * job, ray.get_runtime_context().get_node_id(), os.getpid()


@dataclass(frozen=True, eq=False)
class Total(StepState):
    total: torch.Tensor


class Adding:
    """Adds up a number that each picture gives, by the step."""

    def prepare(self, images):
        return images.pixels.mean((1, 2, 3))

    def start(self, group):
        return Total(0, torch.zeros(len(group)))

    def step(self, group, state):
        return Total(state.step + 1, state.total + (group * (state.step + 1)).sin())

    def shown(self, state):
        return {"total": float(state.total.sum()), "elsewhere": float(os.getpid() != DRIVER)}

    def finish(self, group, state):
        return [PictureResult({"total": float(t), "pid": os.getpid()}, {}, {}, "") for t in state.total]


DRIVER = os.getpid()


def run_in(folder: Path, name: str) -> Run:
    about = {"seed": 0, "device": "cpu", "command": ["x"], "progress": "none"}
    return Run.open(folder, "authenticate", name, {}, {}, **about)


def scored(images: ImageSet, run: Run) -> list[float]:
    def score(part: ImageSet) -> dict[str, torch.Tensor]:
        return {"mean": part.pixels.mean((1, 2, 3))}

    return in_batches(run, "means", "key", images, score, batch=2)["mean"].tolist()


def grouped(images: ImageSet, run: Run) -> tuple[list[float], list[bool]]:
    found = in_groups(run, "adding", "key", images, Adding(), steps=3, batch=2, label="adding up")
    return [one.signals["total"] for one in found], [one.signals["pid"] == os.getpid() for one in found]


def refusal(call) -> str:
    """The sentence of what a call raises."""
    try:
        call()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing was raised"


def entered(address: str, device: str = "cpu") -> None:
    with on_cluster(address, device):
        pass


def other_server() -> None:
    """A server that takes connections and never speaks."""
    clusters.ANSWER_S = 0.5
    with socket.create_server(("127.0.0.1", 0)) as server:
        entered(f"127.0.0.1:{server.getsockname()[1]}")


def root(job: int) -> float:
    """Raises ValueError below 0."""
    if job < 0:
        raise ValueError(f"no root of {job}")
    return job**0.5


def seen(folder: Path, address: str) -> dict:
    """What the work on the cluster gave, beside the same work here."""
    pixels = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    images = ImageSet(pixels, tuple("abcde"), (None,) * 5, (1,) * 5, tuple("51423"))
    found: dict = {"here": [scored(images, Run.none()), grouped(images, Run.none())[0]]}
    with on_cluster(address):
        jobs = dict(fan_out(lambda job: squared(str(folder), job), range(8), workers_for("cpu")))
        found["squares"] = [jobs[job][0] for job in range(8)]
        found["nodes"] = len({node for _, node, _ in jobs.values()})
        found["in driver"] = os.getpid() in {pid for *_, pid in jobs.values()}
        found["killed"] = (folder / "killed").exists()
        found["workers"] = workers_for("cpu")
        found["error"] = refusal(lambda: list(fan_out(root, [4, -1], 2)))
        with run_in(folder, "groups") as run:
            totals, driver = grouped(images, run)
            found["there"] = [scored(images, run), totals]
            found["finished in driver"] = any(driver)
            found["logged"] = [(row["step"], row["elsewhere"]) for row in run.logged("adding")]
    with run_in(folder, "groups") as run:  # all is stored: nothing is done again, here
        found["again"] = [scored(images, run), grouped(images, run)[0]]
    versions = clusters.versions
    clusters.versions = lambda: {**versions(), "intaglio": "0.0.0"} if os.getpid() == DRIVER else versions()
    found["other version"] = refusal(lambda: entered(address))
    clusters.versions = versions
    found["no answer"] = refusal(lambda: entered("127.0.0.1:1"))
    found["no GPU"] = refusal(lambda: entered(address, "cuda"))
    found["another server"] = refusal(other_server)
    return found


def main(folder: Path, port: str = "") -> None:
    client = {"ray_client_server_port": int(port)} if port else {}
    made = Cluster(initialize_head=True, head_node_args={**NODE, **client, "include_dashboard": False})
    try:
        made.add_node(**NODE)
        sys.stdout.write(json.dumps(seen(folder, f"ray://127.0.0.1:{port}" if port else made.address)))
    finally:
        made.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
