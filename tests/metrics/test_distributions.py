import numpy as np
import pytest

from intaglio.metrics.distributions import frechet_distance, kernel_distance, overlap, stretched, vendi


def test_vendi_counts_what_is_different():
    assert vendi(np.eye(5)) == pytest.approx(5.0)
    assert vendi(np.ones((4, 3))) == pytest.approx(1.0)
    assert vendi(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 3.0], [0.0, 3.0]])) == pytest.approx(2.0)


@pytest.fixture
def random():
    """A source of its own for each test, whatever ran before."""
    return np.random.default_rng(0)


def test_kernel_distance_written_out_pair_by_pair(random):
    a, b = random.normal(size=(4, 3)), random.normal(size=(5, 3))
    kernel = lambda x, y: (float(np.dot(x, y)) / 3 + 1) ** 3  # noqa: E731
    within = [np.mean([kernel(x[i], x[j]) for i in range(len(x)) for j in range(len(x)) if i != j]) for x in (a, b)]
    between = np.mean([kernel(x, y) for x in a for y in b])
    assert kernel_distance(a, b) == pytest.approx(sum(within) - 2 * between)


def test_kernel_distance_of_one_law_is_zero_on_average(random):
    found = np.array([kernel_distance(*random.normal(size=(2, 30, 8))) for _ in range(200)])
    assert abs(found.mean()) < 2 * found.std(ddof=1) / np.sqrt(200) * 1.5
    assert (found < 0).any()
    assert kernel_distance(random.normal(size=(30, 8)), random.normal(1.0, 1.0, size=(30, 8))) > found.max()


def test_frechet_distance_of_two_normal_laws(random):
    a = random.normal(size=(20000, 2)) * [1.0, 2.0]
    b = random.normal(size=(20000, 2)) * [3.0, 2.0] + [0.0, 1.0]
    assert frechet_distance(a, b) == pytest.approx(1.0 + (3 - 1) ** 2, rel=0.05)


def test_overlap_of_sets_that_lie_apart_and_upon_each_other(random):
    real = random.normal(size=(60, 2))
    assert overlap(real + 100, real) == (0.0, 0.0, 0.0, 0.0)
    level = overlap(real.copy(), real)
    assert (level.precision, level.recall, level.coverage) == (1.0, 1.0, 1.0)
    half = overlap(np.concatenate([real[:30], real[:30] + 100]), real)
    assert half.precision == pytest.approx(0.5)
    # A ball to the nearest neighbour alone holds a point of the drawn half about every second time.
    assert 0.6 < overlap(np.concatenate([real[:30], real[:30] + 100]), real, k=1).coverage < 0.9


def test_overlap_written_out_point_by_point(random):
    drawn, real, k = random.normal(size=(12, 3)), random.normal(size=(10, 3)), 2
    radius = [sorted(np.linalg.norm(r - o) for o in real)[k] for r in real]
    hits = np.array([[np.linalg.norm(d - r) <= radius[j] for j, r in enumerate(real)] for d in drawn])
    found = overlap(drawn, real, k)
    assert found.precision == pytest.approx(hits.any(1).mean())
    assert found.density == pytest.approx(hits.sum() / (k * len(drawn)))
    assert found.coverage == pytest.approx(hits.any(0).mean())


def test_stretched_descriptors_have_the_length_that_the_kernel_wants(random):
    rows = random.normal(size=(3, 16))
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    assert np.linalg.norm(stretched(rows), axis=1) == pytest.approx([4.0, 4.0, 4.0])
