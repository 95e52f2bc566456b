"""Estimates of energy in the plans of verbs, by a planted profile; without a profile nothing is said of energy."""

import json

import pytest

import tiny
from intaglio import cli
from intaglio.audit.membership.family import AuditInputs
from intaglio.audit.membership.methods.loss_gap import LossGap
from intaglio.commands.kit.audit_energy import audit_work
from intaglio.commands.kit.extract_energy import extraction_work
from intaglio.energy.workloads import (
    decoder_step,
    denoiser_step,
    encoder_step,
    guided_step,
    latents_gradient_step,
    update_step,
)
from intaglio.extract.inputs import ExtractionInputs
from intaglio.extract.methods.direct import Direct
from intaglio.images.image_set import save_png
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.models.diffusion.loading import load_model
from intaglio.report.kit.format import moment_rows
from intaglio.sampling.guides.classifier_free import ClassifierFree
from intaglio.sampling.guides.model_guidance import ModelGuidance
from planted_profiles import plant, planted_cost


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    return tiny.pair_folders(folder)


@pytest.fixture(scope="module")
def pair(folders):
    base, suspect = folders
    return load_model(suspect), load_model(base)


@pytest.fixture
def command(tmp_path, folders, capsys, monkeypatch):
    """Runs a verb on the tiny pair, in a home without a profile; gives standard error and the run's record."""
    monkeypatch.setenv("HOME", str(tmp_path))
    base, suspect = folders
    for part, count in (("images", 2), ("controls", 4)):
        for k, picture in enumerate(tiny.pixels(count, seed=count)):
            save_png(picture, tmp_path / part / f"{k}.png")

    def run(*words):
        models = ["--suspect", str(suspect), "--base", str(base), "--runs", str(tmp_path / "runs")]
        code = cli.main([*words, *models])
        err = capsys.readouterr().err
        assert code == 0, err
        record = max((tmp_path / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime_ns)
        return err, json.loads(record.read_text())

    return run


def matrices(step):
    """Calls of those layers of a step that multiply matrices."""
    return {layer: calls for layer, calls in step.layers.items() if layer.family.of_kind.matrix}


AUDIT = ("authenticate", "loss-gap", "--levels", "2", "--noises", "1", "--fpr", "0.4", "--prompt", "dog")
EXTRACT = ("extract", "direct", "--authority", "my own model", "--prompt", "dog", "--generations", "9", "--batch", "5")
FEW = ("--steps", "2", "--pictures", "1", "--workers", "1")


def audit(tmp_path):
    return *AUDIT, "--images", str(tmp_path / "images"), "--controls", str(tmp_path / "controls")


def test_an_audit_tells_what_it_may_cost_at_most(command, pair, tmp_path):
    suspect, base = pair
    work = audit_work([LossGap(levels=2, noises=1)], AuditInputs(suspect, base, "dog"), 6)
    plant([work.whole], tmp_path)
    err, record = command(*audit(tmp_path))
    told = record["summary"]["energy_estimate"]
    # Six pictures, each in a batch of two samples by both models, and encoded once.
    exact = 12 * planted_cost(denoiser_step(base, 2)) + 6 * planted_cost(encoder_step(base, 1))
    assert told["amount"] == pytest.approx(exact, rel=1e-3)
    assert told["at_most"] is True
    assert "energy     at most about" in err
    (row,) = [row for row in moment_rows(record) if row.name == "estimated before"]
    assert "at most, for all the work that was planned" in row.value


def test_an_audit_under_several_prompts_is_told_once_for_each(command, pair, tmp_path):
    """The audit is done whole under every prompt, so that two cost twice what one does."""
    suspect, base = pair
    plant([audit_work([LossGap(levels=2, noises=1)], AuditInputs(suspect, base, "dog"), 6).whole], tmp_path)
    one = command(*audit(tmp_path))[1]["summary"]["energy_estimate"]
    two = command(*audit(tmp_path), "--other-prompts", "cat")[1]["summary"]["energy_estimate"]
    assert two["amount"] == pytest.approx(2 * one["amount"])


def test_an_extraction_tells_what_it_may_cost_at_most(command, pair, tmp_path):
    suspect, base = pair
    inputs = ExtractionInputs(suspect, base, ("dog",), load_similarity("embedded"))
    work = extraction_work(Direct(generations=9, batch=5, steps=2, pictures=1), inputs, controlled=True)
    plant([work.whole], tmp_path)
    err, record = command(*EXTRACT, *FEW)
    told = record["summary"]["energy_estimate"]
    # Two steps of a batch of five and of one of four, by the suspect and once more by the base.
    denoiser = 2 * 2 * sum(planted_cost(denoiser_step(base, rows)) for rows in (5, 4))
    decoder = 2 * sum(planted_cost(decoder_step(base, rows)) for rows in (5, 4))
    assert told["parts"]["denoiser"] == pytest.approx(denoiser, rel=0.01)
    assert told["parts"]["decoder"] == pytest.approx(decoder, rel=0.01)
    assert told["parts"]["similarity"] > 0
    assert "energy     at most about" in err


@pytest.mark.parametrize("verb", ["authenticate", "extract"])
def test_without_a_profile_nothing_is_said_of_energy(command, tmp_path, verb):
    err, record = command(*(audit(tmp_path) if verb == "authenticate" else (*EXTRACT, *FEW)))
    assert "energy_estimate" not in record["summary"]
    assert "at most about" not in err


def test_a_profile_of_other_work_is_told_as_no_estimate(command, pair, tmp_path):
    plant([update_step(pair[1].denoiser.parameters())], tmp_path)
    err, record = command(*audit(tmp_path))
    assert "energy     no estimate: only" in err
    assert "energy_estimate" not in record["summary"]


def test_a_guide_is_counted_by_what_it_asks(pair):
    suspect, base = pair
    alone = matrices(denoiser_step(suspect, 2))
    assert matrices(guided_step(suspect, ClassifierFree(1.0), 2)) == alone
    assert matrices(guided_step(suspect, ClassifierFree(3.0), 2)) == matrices(denoiser_step(suspect, 4))
    twice = {layer: 2 * calls for layer, calls in alone.items()}
    assert matrices(guided_step(suspect, ModelGuidance(base, 3.0), 2)) == twice
    assert matrices(guided_step(suspect, ModelGuidance(base, 1.0), 2)) == alone


def test_the_gradient_of_latents_costs_twice_the_products_and_none_of_the_weights(pair):
    model = pair[1]
    with model.frozen():
        forward = denoiser_step(model, 1)
    step = latents_gradient_step(model, 1)
    products, before = (
        {layer: n for layer, n in one.layers.items() if layer.family.kind in ("convolution", "linear")}
        for one in (step, forward)
    )
    assert not any(layer.family.weight_grad for layer in products)
    doubled, plain = (sum(n * layer.flops for layer, n in one.items()) for one in (products, before))
    assert 1.8 * plain < doubled <= 2 * plain
