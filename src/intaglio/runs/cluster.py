"""A Ray cluster that independent pieces of work are spread over; a piece whose worker was killed is done again."""

import os
import platform
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, TypeVar

from intaglio.errors import BadInput, IntaglioError

J = TypeVar("J")
R = TypeVar("R")

LOCAL = "ray"
"""The address that stands for a Ray of this machine's own, which is started for the block and ended with it."""
CLIENT = "ray://"
"""How the address of a cluster begins that this machine is no node of."""
ANSWER_S = 10.0
"""Seconds that an address has to answer."""
RETRIES = 3
"""Times that a piece is done again after its worker was killed or its node was lost."""
COMPARED = ("intaglio", "torch")
"""Packages whose versions must be the same on every node."""
REMEDY = "the same command goes on from where it was"


@dataclass(frozen=True, eq=False)
class Sent:
    """A value in the cluster's memory, sent once; each worker process reads it once."""

    reference: Any
    """Ray's reference to it, by which it can be pickled cheaply."""

    def value(self) -> Any:
        """The value, in this process."""
        return _read(self.reference)


class RayCluster:
    """Nodes that have been joined and looked at.

    Args:
        ray: the module.
        device: where pieces compute; for a CUDA device each piece asks for a GPU of its own.
    """

    def __init__(self, ray: Any, device: str):
        self._ray = ray
        self._gpus = 1 if device.startswith("cuda") else 0

    @property
    def workers(self) -> int:
        """Pieces done at once, at least 2: one for each core of all nodes, or for each GPU."""
        return max(2, int(self._ray.cluster_resources().get("GPU" if self._gpus else "CPU", 0)))

    def send(self, value: object) -> Sent:
        """Puts a value into the cluster's memory, for pieces that are to have it.

        Raises:
            IntaglioError: it holds what no other process can be given.
        """
        try:
            return Sent(self._ray.put(value))
        except TypeError as error:  # Ray's own sentence has the whole value in it
            raise IntaglioError("this work cannot be sent to other machines; leave --cluster out") from error

    def results(self, work: Callable[[J], R], jobs: Sequence[J], workers: int) -> Iterator[tuple[J, R]]:
        """(job, result) of every job, as they are done, in no fixed order, `workers` of them at once.

        `work` is sent once. A piece whose worker or node is lost is done again, up to three times. An error in one
        job ends the others and is raised here, with what was done already given.

        Raises:
            IntaglioError: a piece was lost too often, or the cluster itself.
        """
        ray, sent = self._ray, self.send(work)
        piece = ray.remote(num_cpus=1, num_gpus=self._gpus, max_retries=RETRIES)(_done)
        left, running = iter(jobs), dict[Any, J]()
        try:
            while True:
                while len(running) < workers and (job := next(left, _END)) is not _END:
                    running[piece.remote(sent, job)] = job
                if not running:
                    return
                (ready, *_), _ = ray.wait(list(running), num_returns=1)
                yield running[ready], self._result(ready)
                del running[ready]
        finally:
            for reference in running:
                ray.cancel(reference, force=True)

    def _result(self, reference: Any) -> Any:
        exceptions = self._ray.exceptions
        try:
            return self._ray.get(reference)
        except exceptions.RayTaskError as error:
            raise error.cause from None
        except exceptions.RayError as error:
            raise IntaglioError(
                f"a worker of the cluster was lost {RETRIES + 1} times at the same piece of work, by the system for "
                f"want of memory or by someone ({type(error).__name__}); nodes with fewer cores declared to Ray need "
                f"less memory, and {REMEDY}"
            ) from error

    def check_nodes(self) -> None:
        """Raises `BadInput` for a node whose intaglio, torch or Python is another than here, and for want of GPUs."""
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy  # pyright: ignore[reportMissingImports]

        ray, own = self._ray, versions()
        if self._gpus and not ray.cluster_resources().get("GPU"):
            raise BadInput(
                "no node of the cluster has declared a GPU to Ray; start them with one, or take --device cpu"
            )
        for node in ray.nodes():
            if not node["Alive"]:
                continue
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            asked = ray.remote(num_cpus=0, scheduling_strategy=there)(versions).remote()
            name = node.get("NodeManagerHostname") or node["NodeManagerAddress"]
            try:
                found = ray.get(asked)
            except ray.exceptions.RayError as error:
                raise BadInput(
                    f"node {name} of the cluster cannot run intaglio ({_first_line(error)}); install the same version "
                    "there, and start Ray in that environment"
                ) from error
            for package, mine in own.items():
                if (other := found.get(package)) != mine:
                    raise BadInput(
                        f"node {name} of the cluster has {package} {other or 'not installed'}, and this machine "
                        f"{mine}; install the same version on both, so that results are the same"
                    )


_END: Any = object()
_joined: ContextVar[RayCluster | None] = ContextVar("joined", default=None)


def joined() -> RayCluster | None:
    """The cluster of the `on_cluster` block that this is called in; None outside one, and in a worker."""
    return _joined.get()


@contextmanager
def on_cluster(address: str | None, device: str = "cpu") -> Iterator[None]:
    """Within the block, `fan_out` with more than one worker spreads over the cluster at `address`.

    Args:
        address: `ray` for one on this machine; `host:port` of a head, from one of its nodes; `ray://host:port` from
            any other machine. None stays in this machine's processes.
        device: where the pieces compute.

    Raises:
        BadInput: Ray is not installed, nothing answers, or versions differ.
    """
    if address is None:
        yield
        return
    ray = _ray()
    own = not ray.is_initialized()
    try:
        if own:
            _join(ray, address)
        cluster = RayCluster(ray, device)
        cluster.check_nodes()
        token = _joined.set(cluster)
        try:
            yield
        finally:
            _joined.reset(token)
    finally:
        if own:
            ray.shutdown()


def versions() -> dict[str, str]:
    """The versions of what pieces are computed with, by name; a package that is not installed is left out."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for package in COMPARED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def check_address(address: str) -> None:
    """Raises `ValueError` for what is no address of a cluster."""
    _, _, port = address.removeprefix(CLIENT).rpartition(":")
    if address != LOCAL and not port.isdecimal():
        raise ValueError(
            f"cluster must be ray, for one on this machine, or HOST:PORT or ray://HOST:PORT, not {address!r}"
        )


def _done(work: Sent, job: Any) -> Any:
    return work.value()(job)


@lru_cache(maxsize=2)  # the work itself, and the models that it refers to
def _read(reference: Any) -> Any:
    return _ray().get(reference)


def _ray() -> Any:
    # Read by Ray as it is imported: nothing is told to its makers, and nothing is printed among a command's results.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".*")
    try:
        import ray  # pyright: ignore[reportMissingImports]
        import ray.exceptions  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise BadInput("--cluster needs Ray, which is not installed here: pip install 'intaglio[cluster]'") from error
    return ray


def _join(ray: Any, address: str) -> None:
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    if address == LOCAL:
        ray.init("local", include_dashboard=False, **quiet)  # without it a Ray that is there already would be joined
        return
    host, _, port = address.removeprefix(CLIENT).rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise BadInput(
            f"nothing answers at {address} ({getattr(error, 'strerror', None) or error}); start Ray there with `ray "
            "start --head`, or correct --cluster"
        ) from error
    if not _speaks_grpc(f"{host}:{port}"):
        raise BadInput(f"what answers at {address} is no Ray cluster; correct --cluster")
    try:
        ray.init(address, **quiet)
    except Exception as error:  # it has an exception of another kind for each way to fail
        raise BadInput(
            f"this machine cannot join the cluster at {address}: {_first_line(error)}; from a machine that is no node "
            "of it, the address is ray://HOST:10001, and both need the same versions of Ray and Python"
        ) from error


def _speaks_grpc(address: str) -> bool:
    """Whether a server speaks Ray's protocol, asked since Ray itself would wait for minutes; true where unknown."""
    try:
        import grpc  # pyright: ignore[reportMissingImports]
    except ImportError:
        return True
    if "RAY_USE_TLS" in os.environ:
        return True
    with grpc.insecure_channel(address) as channel:
        try:
            grpc.channel_ready_future(channel).result(ANSWER_S)
        except grpc.FutureTimeoutError:
            return False
    return True


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1 if len(lines) > 1 and "Traceback" in str(error) else 0] if lines else type(error).__name__)[:200]
