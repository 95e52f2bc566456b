import math
import pathlib
import subprocess
import sys
import time

import pytest

from intaglio.runs.fan_out import fan_out, workers_for


@pytest.mark.parametrize("workers", [1, 2])
def test_every_job_comes_back_once_with_its_result(workers):
    assert sorted(fan_out(math.isqrt, [0, 1, 4, 9], workers)) == [(0, 0), (1, 1), (4, 2), (9, 3)]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_in_a_job_is_raised(workers):
    with pytest.raises(ValueError, match="nonnegative"):
        list(fan_out(math.isqrt, [4, -1], workers))


def test_one_worker_works_as_results_are_asked_for():
    done = []
    results = fan_out(lambda job: done.append(job) or job, [1, 2])
    assert next(results) == (1, 1)
    assert done == [1]


def test_no_workers_are_refused():
    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        list(fan_out(math.isqrt, [], 0))


def test_a_gpu_gets_one_worker():
    assert workers_for("cuda") == 1
    assert workers_for("cpu") >= 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_workers_end_with_a_killed_parent(tmp_path):
    """The parent's own word to stop never comes when it is killed; the workers must see for themselves."""
    script = tmp_path / "parent.py"
    script.write_text(
        "import sys, time, os, pathlib\n"
        "from intaglio.runs.fan_out import fan_out\n"
        "def work(place):\n"
        "    (pathlib.Path(sys.argv[1]) / f'{place}.pid').write_text(str(os.getpid()))\n"
        "    time.sleep(1_000_000)\n"
        "if __name__ == '__main__':\n"
        "    list(fan_out(work, [0, 1], 2))\n"
    )
    parent = subprocess.Popen([sys.executable, str(script), str(tmp_path)])
    try:
        wait(lambda: len(list(tmp_path.glob("*.pid"))) == 2 and all(f.read_text() for f in tmp_path.glob("*.pid")))
        pids = [int(file.read_text()) for file in tmp_path.glob("*.pid")]
        assert all(map(running, pids))
    finally:
        parent.kill()
        parent.wait()
    wait(lambda: not any(map(running, pids)))


def running(pid: int) -> bool:
    """Whether a process lives; one that waits to be reaped does not."""
    try:
        return "State:\tZ" not in pathlib.Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def wait(until) -> None:
    while not until():
        time.sleep(0.1)


def test_a_worker_that_is_replaced_is_no_news():
    told = "A worker stopped while some jobs were given to the executor. This can be caused by a memory leak."
    code = f"import warnings, intaglio.runs.fan_out; warnings.warn({told!r}); warnings.warn('another')"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr
    assert "A worker stopped" not in found
    assert "another" in found
