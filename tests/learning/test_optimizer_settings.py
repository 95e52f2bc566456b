import math

import pytest

from intaglio.learning.settings import CosineSettings, OptimizerSettings


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": 0}, "steps must be at least 1, not 0"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"learning_rate": math.nan}, "learning_rate must be above 0"),
        ({"learning_rate": math.inf}, "learning_rate must be above 0"),
        ({"warmup": -1}, "warmup must not be negative: -1"),
        ({"betas": (0.9, 1.0)}, r"betas must lie in \[0, 1\)"),
        ({"weight_decay": -0.1}, "weight_decay must not be negative"),
        ({"clip": 0.0}, "clip must be above 0, or None"),
        ({"ema": 1.0}, "ema must lie between 0 and 1, or be None"),
    ],
)
@pytest.mark.parametrize("kind", [OptimizerSettings, CosineSettings])
def test_wrong_settings_are_refused_by_name(kind, wrong, words):
    with pytest.raises(ValueError, match=words):
        kind(**wrong)


@pytest.mark.parametrize("final", [-1e-9, 2e-3, math.nan])
def test_a_final_rate_lies_between_nothing_and_the_highest(final):
    with pytest.raises(ValueError, match=r"final_rate must lie in 0\.\.learning_rate \(0\.001\)"):
        CosineSettings(learning_rate=1e-3, final_rate=final)


def test_rates_by_hand():
    plain = OptimizerSettings(steps=10, learning_rate=2.0, warmup=4)
    assert [plain.rate(step) for step in range(6)] == [0.5, 1.0, 1.5, 2.0, 2.0, 2.0]
    assert OptimizerSettings(learning_rate=2.0).rate(0) == 2.0
    cosine = CosineSettings(steps=100, learning_rate=1.0, final_rate=0.1, warmup=50)
    assert cosine.rate(0) == pytest.approx(0.1)  # a tenth of the steps warms up, not fifty
    assert cosine.rate(10) == pytest.approx(1.0)
    assert cosine.rate(55) == pytest.approx(0.55)
    assert cosine.rate(100) == pytest.approx(0.1)
