"""Stages, judged rows, checks and warnings of a transfer; what rows are refused."""

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
import torch

from families import Killed, breaking, opened
from intaglio.causal.transfer.environment_rows import held_out, read_rows
from intaglio.causal.transfer.latent_agreement import weak_mcc
from intaglio.causal.transfer.methods.erm import PooledClassifier
from intaglio.causal.transfer.methods.gcrl import GCRL
from intaglio.causal.transfer.result import LeftOut, TransferPredictions
from intaglio.errors import BadInput
from intaglio.learning.checkpoints import Checkpoints
from transfer_scenes import planted

ROWS = planted(12, 0)[0]
SHORT = PooledClassifier(updates=3, refit_updates=2, hidden=0, checks=False)


def predictions(**changes):
    sure = np.eye(2)[[0, 1, 1, 0, 1]]
    given = {
        "method": "m", "reading": "r", "refits": "x", "target": "t", "names": tuple("abcde"),
        "environments": ("e", "f"),
        "classes": ("no", "yes"), "common": 0, "agreement": {}, "truth": np.array([0, 1, 0, 2, -1]),
        "labelled": np.array([True, False, False, False, False]),
        "stages": {"zero-shot": sure, "labelled": sure[:, ::-1]}, "left_out": (LeftOut("e", 4, 0.5, 0.25),),
    }  # fmt: skip
    return TransferPredictions(**{**given, **changes})


def test_accuracy_counts_known_outcomes_that_were_not_learnt_from():
    found = predictions()
    assert found.judged.tolist() == [False, True, True, True, False]
    assert found.accuracy == {"zero-shot": pytest.approx(1 / 3), "labelled": pytest.approx(1 / 3)}
    assert found.balanced["zero-shot"] == pytest.approx(1 / 3)
    assert found.common_accuracy == pytest.approx(1 / 3)
    assert [row["predicted"] for row in found.rows()] == ["yes", "no", "no", "yes", "no"]
    assert [row["outcome"] for row in found.rows()] == ["no", "yes", "no", "", ""]
    assert found.figures()["left_out_e"] == 0.5


def test_a_target_without_outcomes_is_predicted_and_not_judged():
    found = predictions(truth=np.full(5, -1), labelled=np.zeros(5, dtype=bool))
    assert (found.accuracy, found.common_accuracy) == ({}, None)
    assert "not judged" in found.statement


def test_outcomes_that_were_learnt_are_told_and_all_of_them_leave_none_to_judge():
    some = predictions()
    assert "of 3 rows are right after 1 outcomes of it were learnt" in some.statement
    known = np.array([0, 0, 0, -1, -1])
    every = predictions(truth=known, labelled=known >= 0)
    assert "all 3 outcomes of it that are known were learnt from; predictions of 5 rows" in every.statement
    assert "none is left to judge by" in every.warnings[0]
    assert "that were learnt are no; they say nothing of the other classes" in every.warnings[1]
    both = predictions(truth=np.array([0, 1, 0, -1, -1]), labelled=np.array([True, True, False, False, False]))
    assert not any("were learnt" in one for one in both.warnings)


def test_what_cannot_be_trusted_is_warned_of():
    told = " ".join(predictions(agreement={"Z": 0.5, "S": 0.9}).warnings)
    assert "1 rows of the target have an outcome that no other environment has" in told
    assert "not shown to be right more often than no" in told
    assert "two trainings agree on Z by 0.50" in told
    assert "agree on S" not in told
    many = np.eye(2)[np.zeros(200, dtype=int)]
    truth, names = np.zeros(200, dtype=int), tuple(map(str, range(200)))
    worse = predictions(
        truth=truth, names=names, labelled=truth > 0, common=1, stages={"zero-shot": many, "refitted": many[:, ::-1]}
    )
    assert any("refitted predictions are right less often" in one for one in worse.warnings)


def test_the_weak_correlation_is_1_up_to_an_affine_map_and_near_0_for_others():
    source = np.random.default_rng(0)
    first, mixed = source.standard_normal((4000, 2)), source.standard_normal((2, 3))
    assert weak_mcc(first, first @ mixed + 5) == pytest.approx(1)
    assert weak_mcc(first, source.standard_normal((4000, 3))) < 0.05
    assert weak_mcc(first, np.stack([first[:, 0], np.ones(4000)], 1)) == pytest.approx(0.5, abs=0.05)
    assert weak_mcc(np.zeros((50, 1)), first[:50]) == 0
    assert weak_mcc(first[:40], source.standard_normal((40, 8))) < 0.25  # a map that is judged where it is fitted: 0.4
    turned = first * np.where(np.arange(4000) % 2 == 0, 1, -1)[:, None]  # alternating rows are one half and the other
    assert weak_mcc(first, turned) < 0.1


def test_features_are_standardised_by_the_environments_that_are_learnt_from():
    task = held_out(ROWS, "far")
    assert task.rows.features.mean(0).abs().max() < 1e-6
    assert task.target.mean(0).abs().max() > 0.5
    assert (task.environments, task.classes, len(task.target)) == (("a", "b", "c"), ("x", "y", "z"), 12)
    constant = replace(ROWS, features=np.concatenate([ROWS.features, np.ones((48, 1))], 1))
    assert torch.equal(held_out(constant, "far").target, task.target)


def test_outcomes_of_the_target_change_nothing_but_what_is_judged():
    hidden = tuple("" if one == "far" else said for one, said in zip(ROWS.environments, ROWS.outcomes, strict=True))
    found, blind = (SHORT(one, "far") for one in (ROWS, replace(ROWS, outcomes=hidden)))
    assert np.array_equal(found.stages["zero-shot"], blind.stages["zero-shot"])
    assert blind.accuracy == {}


def test_some_known_outcomes_are_learnt_from_and_not_judged_and_another_seed_draws_others():
    outcomes = list(ROWS.outcomes)
    outcomes[36], outcomes[38] = "", "new"
    found = replace(SHORT, labelled=2)(replace(ROWS, outcomes=tuple(outcomes)), "far")
    assert found.labelled.sum() == 2
    assert not found.labelled[[0, 2]].any()
    assert found.truth[2] == 3
    assert found.judged.sum() == 9
    assert not np.array_equal(found.stages["labelled"], found.stages["zero-shot"])
    task = held_out(ROWS, "far")
    assert len({tuple(task.labelled(3, seed).tolist()) for seed in range(8)}) > 4


def test_each_known_environment_is_predicted_from_the_others_without_the_target():
    found = replace(SHORT, checks=True)(ROWS, "far")
    assert [(one.environment, one.rows) for one in found.left_out] == [("a", 12), ("b", 12), ("c", 12)]
    task = held_out(ROWS.without("far"), "b")
    said = SHORT.trained(task).probabilities(task.target).argmax(1).numpy()
    assert found.left_out[1].accuracy == pytest.approx((said == task.truth).mean())
    assert found.left_out[1].common == pytest.approx((task.truth == task.common).mean())


def test_causes_are_learnt_again_with_another_seed():
    method = GCRL(updates=4, refit_updates=1, hidden=0, invariant=2, variant=1, draws=2, batch=16)
    found = method(ROWS.without("c"), "far")
    assert set(found.agreement) == {"Z", "S"}
    assert found.left_out == ()  # two others are not enough to leave one out
    task = held_out(ROWS.without("c"), "far")
    trained = method.trained(task), replace(method, seed=1).trained(task, stage="again")
    one, two = (network.latents(task.rows.features)["Z"].double().numpy() for network in trained)
    assert found.agreement["Z"] == pytest.approx(weak_mcc(one, two))


def test_finished_stages_are_not_done_again_and_states_are_dropped(tmp_path):
    method = replace(SHORT, labelled=2, checks=True)
    with (
        mock.patch.object(Checkpoints, "save_when_due", Checkpoints.save),
        pytest.raises(Killed),
        opened(tmp_path, method) as run,
    ):
        method(ROWS, "far", run=breaking(run, 9))
    with opened(tmp_path, method) as again:
        found = method(ROWS, "far", run=breaking(again, 0))
        assert again.steps <= 3 + 2 + 9 - 8
        assert list((again.folder / "states").iterdir())
        method.forget(held_out(ROWS, "far"), again)
        assert not list((again.folder / "states").iterdir())
    assert np.array_equal(found.stages["labelled"], method(ROWS, "far").stages["labelled"])


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"environments": ("far",) * 36 + ("c",) * 12}, "there is one environment"),
        ({"environments": ("a",) * 3 + ("b",) * 33 + ("far",) * 12}, "environment a has 3 rows, too few"),
        ({"environments": ("a",) * 24 + ("b",) * 24}, "no row is of the environment far; there are: a, b"),
        ({"outcomes": ("", *ROWS.outcomes[1:])}, "row r0000 has no outcome and is not of the target"),
        ({"outcomes": ("x",) * 48}, "the outcome has 1 different values"),
        ({"features": np.full((48, 2), np.nan)}, "not finite"),
        ({"features": np.ones((48, 2))}, "no feature differs"),
        ({"features": np.empty((48, 0))}, "there are no features"),
    ],
)
def test_rows_that_nothing_can_be_made_of_are_refused_in_a_sentence(changed, words):
    with pytest.raises(BadInput, match=words):
        held_out(replace(ROWS, **changed), "far")


def test_more_labelled_rows_than_there_are_are_refused():
    with pytest.raises(BadInput, match="13 labelled rows of the target are asked for, and 12 have"):
        replace(SHORT, labelled=13)(ROWS, "far")


def test_a_table_is_read_with_empty_outcomes_and_numbered_rows(tmp_path):
    lines = ["place,said,a", *(f"p{k % 2},{'' if k == 3 else k % 3},{k}" for k in range(12))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    rows = read_rows(tmp_path / "t.csv", "place", "said", "", ("a",))
    assert rows.names[:2] == ("1", "2")
    assert (rows.outcomes[3], rows.environments[3]) == ("", "p1")
    assert {*rows.outcomes} == {"0", "1", "2", ""}
    with pytest.raises(BadInput, match="twice in column place"):
        read_rows(tmp_path / "t.csv", "place", "said", "place", ("a",))
