"""`intaglio protect budget`: figures, their use as JSON, and what it refuses."""

import json
import re

import pytest
from scipy.stats import norm

from intaglio.cli import main

LINE = ["protect", "budget", "--records", "40", "--steps", "100"]


def test_full_batches_are_told_in_closed_form_with_what_an_attack_can_reach(capsys):
    assert main([*LINE, "--sigma", "10", "--delta", "1e-5"]) == 0
    said = capsys.readouterr().out
    assert "(4.38, 1e-05)-differentially private for each of 40 pictures: 100 steps of full batches" in said
    assert f"{norm.cdf(1 + norm.ppf(0.01)):.1%} of those inside" in said  # mu = sqrt(100) / 10


def test_the_noise_for_an_epsilon_keeps_it_for_all_tries(capsys):
    assert main([*LINE, "--epsilon", "8", "--tries", "3", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 7.9 < found["epsilon"] <= 8
    assert found["delta"] == pytest.approx(1 / 400)
    assert found["highest_tpr_at_1_percent"] is None  # of one try alone it would be known
    one = [*LINE, "--sigma", str(found["sigma"]), "--delta", str(found["delta"] / 3), "--json"]
    assert main(one) == 0
    alone = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 3 * alone["epsilon"] == pytest.approx(found["epsilon"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ((), "give either the noise with --sigma or the epsilon"),
        (("--sigma", "1", "--epsilon", "1"), "give either the noise with --sigma or the epsilon"),
        (("--sigma", "1", "--batch", "41"), "batch must be 1 to the 40 records"),
        (("--sigma", "0"), "sigma must be above 0"),
        (("--sigma", "1", "--delta", "1"), "delta must lie between 0 and 1"),
        (("--sigma", "1", "--tries", "0"), "tries must be at least 1"),
    ],
)
def test_bad_input_is_told(capsys, given, words):
    assert main([*LINE, *given]) == 2
    assert re.search(words, " ".join(capsys.readouterr().err.split()))
