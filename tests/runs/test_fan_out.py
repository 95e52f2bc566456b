import math

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
