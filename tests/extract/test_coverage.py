import pytest
import torch

from intaglio.extract.coverage import coverage, fitted_threshold
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.measures import load_similarity


@pytest.fixture(scope="module")
def measure():
    return load_similarity("ssim")


def some(count: int, seed: int) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    names = [f"{seed}-{i}" for i in range(count)]
    return ImageSet.from_pixels(torch.rand(count, 3, 16, 16, generator=generator), names)


def test_a_set_covers_itself(measure):
    training = some(3, 0)
    found = coverage(training, training, measure)
    assert found.average == pytest.approx(1.0, abs=1e-5)
    assert found.rate(0.99) == 1.0
    assert found.nearest == training.names


def test_each_training_picture_finds_its_nearest(measure):
    training, extracted = some(4, 1), some(6, 2)
    found = coverage(training, extracted, measure)
    pairs = [
        [float(measure(training.pixels[i : i + 1], extracted.pixels[j : j + 1])) for j in range(6)] for i in range(4)
    ]
    torch.testing.assert_close(found.similarity, torch.tensor([max(row) for row in pairs]), atol=1e-5, rtol=0)
    middle = sorted(max(row) for row in pairs)[1]
    assert found.rate(middle - 1e-4) == 0.75
    assert found.extracted == 6


def test_order_does_not_matter_and_more_guesses_never_hurt(measure):
    training, extracted = some(4, 3), some(6, 4)
    whole = coverage(training, extracted, measure)
    turned = coverage(training, extracted[[5, 3, 1, 0, 2, 4]], measure)
    torch.testing.assert_close(whole.similarity, turned.similarity)
    assert whole.nearest == turned.nearest
    assert (coverage(training, extracted[:3], measure).similarity <= whole.similarity).all()


def test_an_empty_set_is_refused(measure):
    with pytest.raises(ValueError, match="at least one"):
        coverage(some(2, 0), some(2, 1)[:0], measure)


def test_a_threshold_is_exceeded_at_the_rate_and_no_more():
    apart = torch.linspace(0, 0.99, 100)[torch.randperm(100, generator=torch.Generator().manual_seed(0))]
    for rate in (0.01, 0.05, 0.5):
        assert (apart > fitted_threshold(apart, rate)).float().mean() == pytest.approx(rate)
    with pytest.raises(ValueError, match="needs at least 1000 pairs, there are 100"):
        fitted_threshold(apart, 0.001)
    with pytest.raises(ValueError, match="between 0 and 1"):
        fitted_threshold(apart, 1.0)
