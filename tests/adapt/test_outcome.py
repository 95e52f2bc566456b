"""The sentence on what a fine-tune changed, and what is counted beside its steps."""

from dataclasses import replace

import pytest

from intaglio.adapt.corruption import Judgement
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.adapt.outcome import finding
from intaglio.adapt.pictures_beside import judgement_count


def course(*fidelities, error=0.03, quality=0.9, diversity=0.5):
    """A curve of these likenesses, whose last pictures differ from each other by `diversity`, the base's by 0.5."""
    found = [Judgement(10 * k, value, error, quality, 0.01, 0.5) for k, value in enumerate(fidelities)]
    return [*found[:-1], replace(found[-1], diversity=diversity)]


@pytest.mark.parametrize(
    ("curve", "change", "said"),
    [
        (course(0.5, 0.7), 0.2, "It learned: likeness to the training pictures went from 0.50 to 0.70"),
        (course(0.5, 0.2), 0.2, "It went away from the training pictures"),
        (course(0.5, 0.51), 0.01, "Barely moved"),
        (course(0.5, 0.51), None, "Barely moved"),
        (course(0.5, 0.51), 0.19, "Its pictures changed by 19% of the range, but came no nearer"),
        (course(0.5, 0.51, error=0.0), 0.01, "Barely moved"),
        (course(0.5, 0.96, diversity=0.2), 0.2, "It copies"),
        (course(0.5, 0.96), 0.2, "It learned"),
        (course(0.5, 0.9, diversity=0.2), 0.2, "It learned"),
        ([], 0.01, "Barely moved"),
        ([], 0.2, "differ by 20% of the range"),
        ([], None, ""),
    ],
)
def test_the_finding_says_where_the_pictures_went(curve, change, said):
    found = finding(LoRATuning(learning_rate=1e-4), curve, change)
    assert said in found
    assert (found == "") is (said == "")


def test_the_finding_is_of_the_step_that_is_kept_and_names_a_faster_rate():
    curve = course(0.5, 0.7, 0.5)
    assert "It learned" in finding(LoRATuning(), curve, 0.1, kept=10)
    assert "raise --learning-rate to 0.0005" in finding(LoRATuning(learning_rate=1e-4), curve, 0.01)


def test_the_base_and_the_last_step_are_judged_too():
    assert [judgement_count(*of) for of in ((10, 30), (10, 25), (40, 30), (0, 5))] == [4, 4, 2, 0]
