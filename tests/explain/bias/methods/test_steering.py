import pytest
import torch

from bias_scenes import bias_judge, planted
from intaglio.errors import BadInput
from intaglio.explain.bias.methods.steering import ValueSteering
from intaglio.runs.run import Run
from intaglio.sampling.site_edit import ValueShifts

SMALL = {"samples": 6, "batch": 2, "steps": 2, "words": (" red", " dog", " cat")}
BAD = {"words": ("one",)}
PIECES = {"batch": 1}


def test_the_shift_is_the_difference_of_means_and_the_control_as_long():
    samples, _, _ = planted()
    found = ValueSteering(strength=2.0).found(samples, Run.none())
    values, own = samples.walks.values, samples.labels == 1
    expected = 2 * (values[own].mean(0) - values[~own].mean(0))
    assert isinstance(found.change, ValueShifts)
    assert isinstance(found.control, ValueShifts)
    torch.testing.assert_close(found.change.shifts, torch.stack([-expected, expected]))
    lengths = found.change.shifts.flatten(2).norm(dim=2)
    torch.testing.assert_close(found.control.shifts.flatten(2).norm(dim=2), lengths)
    # At a timestep between two, the nearest one's: steps at 20 and 10.
    moved = found.change.change(values[:1, 0], torch.tensor([1]), 13.0)
    torch.testing.assert_close(moved[0], expected[1])


def test_samples_are_of_words_from_one_noise_or_told_by_the_judge():
    method = ValueSteering(words=(" a", " b"), samples=4)
    assert method._texts(["x", "y"]) == ["x a", "x b", "y a", "y b"]
    seeds = method._seeds()
    assert seeds[::2] == seeds[1::2]
    assert len(set(seeds)) == 2
    assert len(set(ValueSteering(samples=4)._seeds())) == 4
    samples, _, _ = planted(n=4)
    assert samples.contrasts == [[1, 3], [0, 2], [1, 3], [0, 2]]


def test_values_without_a_sample_are_refused(model):
    with pytest.raises(BadInput, match="none of 4 drawings is called red"):
        ValueSteering(samples=4, steps=1)(model, ["cat"], bias_judge())
    with pytest.raises(BadInput, match="there are 2 --words and 3 values"):
        ValueSteering(words=(" a", " b"))(model, ["cat"], bias_judge())
