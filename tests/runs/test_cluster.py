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

import tiny
from intaglio.errors import BadInput
from intaglio.images.image_set import save_png
from intaglio.runs.cluster import check_address, joined, on_cluster, versions
from intaglio.runs.fan_out import workers_of_cluster

PROGRAM = Path(__file__).parents[1] / "support" / "two_nodes.py"
HAVE_RAY = importlib.util.find_spec("ray") is not None


def content(path: Path):
    """What a file says, but for the seconds that it took."""
    if path.name != "graph.json":
        return path.read_bytes()
    return {**json.loads(path.read_text()), "seconds": None}


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


COMMANDS = {
    "scores.csv": "authenticate loss-gap --levels 3 --fpr 0.3 --images ../dog --controls ../cat",
    "verdict.json": "authenticate cgi-dm --steps 2 --gap-samples 1 --fpr 0.3 --images ../dog --controls ../cat",
    "finds.csv": "extract direct --authority mine --prompt dog --generations 20 --steps 2 --batch 4 --workers 2",
    "protected/0.png": "protect advdm --steps 2 --images ../dog",
    "robustness.json": "protect evaluate --images ../dog --protected ../cat --tuning-steps 2 --drawn 2 --seeds 1",
    "pictures/dog-2.png": "sample plain --prompt dog --count 3 --batch 2 --steps 2",
    "pictures/dog-1.png": "sample svdd --verifier ink --prompt dog --count 2 --batch 1 --steps 2",
    "pictures/dog-0.png": "sample plain --prompt dog --steps 2 --search random --budget 12 --search-verifier ink",
    "result/graph.json": "discover sicl ../table.csv --subsamples 2",
    "graph.json": "discover spot ../table.csv --restarts 3 --steps 20 --stages 3",
    "bits.csv": "flow bpd --model cpu-tiny --images ../dog --batch 2 --out bits.csv",
}


@pytest.mark.slow
@pytest.mark.skipif(not HAVE_RAY, reason="needs the group `cluster`")
@pytest.mark.parametrize("file", COMMANDS)
def test_commands_leave_the_same_files_with_a_cluster(tmp_path, file):
    base, suspect = tiny.pair_folders(tmp_path)
    for name, seed in (("dog", 0), ("cat", 1)):
        for index, picture in enumerate(tiny.pixels(4, seed)):
            save_png(picture, tmp_path / name / f"{index}.png")
    rows = [f"{k % 7},{k % 7 + k % 3},{k % 3 - k % 5}" for k in range(120)]
    (tmp_path / "table.csv").write_text("\n".join(["a,b,c", *rows]) + "\n")
    words = COMMANDS[file].split()
    models = {
        **{verb: ["--suspect", str(suspect), "--base", str(base)] for verb in ("authenticate", "extract")},
        **{verb: ["--model", str(base)] for verb in ("protect", "sample")},
    }
    for where, further in (("here", []), ("there", ["--cluster", "ray"])):
        (tmp_path / where).mkdir()
        command = [sys.executable, "-m", "intaglio", *words, *models.get(words[0], []), "--quiet", *further]
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(command, cwd=tmp_path / where, env=env, capture_output=True, text=True, timeout=600)
        assert done.returncode == 0, done.stderr
    (here,), (there,) = (list((tmp_path / where).rglob(file)) for where in ("here", "there"))
    assert content(here) == content(there)
    for header in (tmp_path / "there").rglob("run.json"):
        warnings = json.loads(header.read_text())["warnings"]
        assert any(
            "joules and processor seconds of this run are those of this machine alone" in one for one in warnings
        )


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
