"""Work on a cluster: the same results as here, also after a worker was killed; and what is refused."""

import importlib.metadata
import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from intaglio.errors import BadInput
from intaglio.runs.cluster import check_address, joined, on_cluster, versions
from intaglio.runs.fan_out import workers_of_cluster

PROGRAM = Path(__file__).parents[1] / "support" / "two_nodes.py"
HAVE_RAY = importlib.util.find_spec("ray") is not None


def worked(tmp_path, *words: str) -> dict:
    """What the program of two nodes saw."""
    quiet = {"RAY_DEDUP_LOGS_SKIP_REGEX": ".*", "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, str(PROGRAM), str(tmp_path), *words]
    done = subprocess.run(command, env={**os.environ, **quiet}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not HAVE_RAY, reason="needs the group `cluster`")
@pytest.mark.parametrize("port", ["", pytest.param("10991", marks=pytest.mark.slow)])
def test_two_nodes_give_what_one_process_gives(tmp_path, port):
    """Directly, and as from a machine that is no node; one of the workers is killed at its work."""
    seen = worked(tmp_path, *filter(None, [port]))
    assert seen["squares"] == [job * job for job in range(8)]
    assert seen["killed"]
    assert seen["nodes"] == seen["workers"] == 2
    assert not seen["in driver"]
    assert seen["there"] == seen["here"]
    assert not seen["finished in driver"]
    assert seen["logged"] == [[step, 1.0] for step in range(1, 10)]
    assert seen["again"] == seen["here"]
    assert seen["error"] == "ValueError: no root of -1"
    assert "has intaglio" in seen["other version"]
    assert "and this machine 0.0.0; install the same version" in seen["other version"]
    assert seen["no GPU"].startswith("BadInput: no node of the cluster has declared a GPU to Ray")
    assert re.fullmatch(r"BadInput: what answers at 127.0.0.1:\d+ is no Ray cluster; .*", seen["another server"])
    assert seen["no answer"].startswith("BadInput: nothing answers at 127.0.0.1:1 (")


@pytest.mark.parametrize("address", ["", "head", "ray://", "ray://head", "head:port", "dask"])
def test_an_address_is_checked_before_any_work(address):
    with pytest.raises(ValueError, match="cluster must be ray, for one on this machine, or HOST:PORT"):
        check_address(address)


@pytest.mark.parametrize("address", ["ray", "head:6379", "ray://head:10001", "ray://[::1]:10001"])
def test_addresses(address):
    check_address(address)


def test_without_ray_the_group_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BadInput, match=r"pip install 'intaglio\[cluster\]'"), on_cluster("ray"):
        pass


def test_without_a_cluster_all_stays_here():
    with on_cluster(None):
        assert joined() is None
        assert workers_of_cluster() == 1


def test_versions_name_what_results_hang_on():
    assert versions() == {
        "Python": f"{sys.version_info.major}.{sys.version_info.minor}",
        "intaglio": importlib.metadata.version("intaglio"),
        "torch": importlib.metadata.version("torch"),
    }
