"""Shared claims about every unlearning; a method joins by its file and its own test."""

import dataclasses

import pytest
import torch

from audit_scenes import model
from intaglio.audit.unlearning import audit as audit_module
from intaglio.audit.unlearning.audit import audit_unlearning
from intaglio.audit.unlearning.concept import Concept
from intaglio.audit.unlearning.methods.uce import UnifiedConceptEditing
from intaglio.audit.unlearning.prompt_evidence import prompt_evidence
from intaglio.audit.unlearning.unet_modules import chosen_weights
from intaglio.commands.kit.source_settings import load
from intaglio.denoising.samples import fixed_samples
from intaglio.errors import BadInput
from intaglio.runs.run import Run
from rows import matrix
from unlearning_scenes import given, latents

ROWS = [pytest.param(row, id=key) for key, row in matrix().items() if row.verb == "audit unlearning"]
every_unlearner = pytest.mark.parametrize("row", ROWS)
CONCEPT = Concept(("red cat",), ("cat",), ("dog",))


def made(row, **changes):
    return load(row.target)(**{**row.small, **changes})


@every_unlearner
@pytest.mark.parametrize("modules", ["x", "x-strict", "u"])
def test_only_the_chosen_modules_of_the_unet_change(row, modules):
    trained = "modules" in {field.name for field in dataclasses.fields(load(row.target))}
    if not trained and modules != "x-strict":
        return
    net = model()
    method = made(row, **({"modules": modules, "steps": 1} if trained else {}))
    concept, pictures = given(method, CONCEPT)
    found = method(net, concept, **pictures).model
    chosen = chosen_weights(net.denoiser, modules)
    assert 0 < len(chosen) < len(list(net.denoiser.parameters()))
    after = dict(found.denoiser.named_parameters())
    changed = {name for name, one in net.denoiser.named_parameters() if not torch.equal(one, after[name])}
    assert changed
    assert changed <= set(chosen)
    assert all((".attn2." in name) == (modules != "u") for name in changed)
    for part in ("text_encoder", "autoencoder"):
        assert found.part_fingerprint(part) == net.part_fingerprint(part)
    assert len(method.reading) > 10


@every_unlearner
def test_what_cannot_be_unlearned_is_refused_before_any_work(row, monkeypatch):
    method, net = made(row), model()
    monkeypatch.setattr(net, "embed", lambda *given, **more: pytest.fail("worked"))
    if method.forgets == "pictures":
        refused_pictures(method, net)
        return
    for concept, words in {
        Concept(()): "there is no concept to unlearn; give --concept",
        Concept(("red", " "), keep=("dog",)): "the empty prompt is no concept",
        Concept(("red", "cat"), ("a", "b", "c"), ("dog",)): "3 anchors do not fit 2 prompts",
        Concept(("red",), ("red",), ("dog",)): "'red' is its own anchor",
        Concept(("red",), keep=("red",)): "is to be unlearned and to be kept",
    }.items():
        with pytest.raises(BadInput, match=words):
            method(net, concept)
    for flag, part in (("forget", "concept"), ("retain", "keep")):
        if part not in method.learns_from:
            with pytest.raises(BadInput, match=f"learns from no pictures of --{part}; leave --{flag} out"):
                method(net, CONCEPT, **{flag: latents(["dog"])})
    if "keep" in method.learns_from:
        with pytest.raises(BadInput, match="give --keep prompts of them, or --retain"):
            method(net, Concept(("red",)))
    net.denoiser.half()
    with pytest.raises(BadInput, match="is loaded in float16"):
        method(net, CONCEPT)


def refused_pictures(method, net):
    one = latents(["dog"])
    both = {"forget": one, "retain": one}
    for concept, pictures, words in (
        (Concept(()), {"retain": one}, "forgets given pictures, not a concept; give their folder with --forget"),
        (Concept(()), {"forget": one}, "that the model was tuned on; give their folder with --retain"),
        (Concept(("a", "b")), both, "leave --anchor out, and give --concept and --keep one prompt at most"),
        (Concept(("a",), ("b",)), both, "leave --anchor out"),
    ):
        with pytest.raises(BadInput, match=words):
            method(net, concept, **pictures)
    net.denoiser.half()
    with pytest.raises(BadInput, match="is loaded in float16"):
        method(net, Concept(("dog",), keep=("dog",)), **both)


def test_the_evidence_of_a_prompt_is_the_loss_that_its_words_spare():
    net, data = model(), latents(["red cat", "dog"])
    found = prompt_evidence(net, data.latents, data.captions, ["cat", ""], seed=3)
    noise, t = fixed_samples(8, (4, 8, 8), (0, net.schedule.count - 1), 3)
    with torch.no_grad():
        for k, prompt in enumerate(data.captions):
            many = data.latents[[k] * 8]
            texts = (("cat", "")[k], prompt)
            other, under = (net.error(many, noise[0], t[0], net.embed([one])).mean() for one in texts)
            torch.testing.assert_close(found.evidence[k], other - under, rtol=1e-3, atol=1e-6)


def test_the_comparison_has_a_row_for_every_prompt_and_none_changes_where_nothing_did(monkeypatch):
    net = model()
    method = UnifiedConceptEditing(tokens="all", regularisation=1e9)
    asked, real = [], audit_module.prompt_evidence

    def evidence(net, latents, prompts, against, **more):
        asked.append((prompts, against))
        return real(net, latents, prompts, against, **more)

    monkeypatch.setattr(audit_module, "prompt_evidence", evidence)
    record = audit_unlearning(method, net, CONCEPT, pictures=2, shown=0, run=Run.none()).record
    assert asked == [(["red cat", "dog"] * 2, ["cat", ""] * 2)] * 2
    assert [(row["prompt"], row["part"]) for row in record.rows] == [("red cat", "concept"), ("dog", "keep")]
    for row in record.rows:
        assert row["evidence_after"] == pytest.approx(row["evidence_before"], abs=1e-6)
        assert row["loss_after"] == pytest.approx(row["loss_before"], rel=1e-5)
    changed = audit_unlearning(dataclasses.replace(method, regularisation=1e-3), net, CONCEPT, pictures=2, shown=0)
    assert changed.record.rows[0]["loss_after"] != pytest.approx(record.rows[0]["loss_before"], rel=1e-5)
    assert changed.record.share_left("keep") is None or changed.record.mean_of("keep", "evidence_before") > 0
    assert changed.record.figures()["concept_loss_before"] == pytest.approx(record.rows[0]["loss_before"], rel=1e-6)
