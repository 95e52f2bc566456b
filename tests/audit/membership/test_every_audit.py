"""What holds of every membership audit; a method joins by its file and its own test."""

import pytest
import torch

import tiny
from audit_scenes import audited, captioned, model, nudged, pictures, shadows
from intaglio.audit.membership.family import OWN_SCORE, AuditInputs
from intaglio.audit.membership.shadows import Shadows
from intaglio.audit.membership.work_key import work_key
from intaglio.commands.kit.source_settings import load
from intaglio.errors import BadInput
from intaglio.models.capabilities import check_needs
from intaglio.models.diffusion.noise_schedule import NoiseSchedule
from rows import matrix

ROWS = [pytest.param(row, id=key) for key, row in matrix().items() if row.verb == "authenticate"]
every_audit = pytest.mark.parametrize("row", ROWS)


def made(row, **changes):
    return load(row.target)(**{**row.small, **changes})


@pytest.fixture(scope="module")
def base():
    return model()


@pytest.fixture(scope="module")
def suspect(base):
    return nudged(base)


@every_audit
def test_it_says_of_itself_what_reports_and_benches_need(row):
    kind = load(row.target)
    assert kind.name == row.method
    assert len(kind.reading) > 20
    assert not kind.reading.endswith(".")
    assert kind.loss_difference in (None, OWN_SCORE, *kind.signals)
    assert bool(kind.captions) == bool(kind.story)


@every_audit
def test_it_gives_the_signals_and_pictures_that_it_names(row, base, suspect):
    method = made(row)
    found = audited(method, suspect, base, pictures(2))
    assert found.method == method.name
    assert set(found.signals) == set(method.signals)
    assert set(found.pictures) == set(method.captions)
    assert found.scores.isfinite().all()


@every_audit
def test_the_order_of_the_pictures_does_not_matter(row, base, suspect):
    images, method = pictures(3), made(row)
    found = audited(method, suspect, base, images)
    turned = audited(method, suspect, base, images[[2, 0, 1]])
    assert torch.equal(found.scores[[2, 0, 1]], turned.scores)


@every_audit
def test_sdxl_in_half_precision_leaves_no_trace(row):
    base = model(0, build=tiny.sdxl_pipeline)
    suspect = nudged(base)
    before = suspect.fingerprint, base.fingerprint
    found = audited(made(row, precision="bfloat16"), suspect, base, pictures(1), prompt="")
    assert found.scores.isfinite().all()
    assert (suspect.fingerprint, base.fingerprint) == before
    assert all(w.requires_grad and w.grad is None for w in suspect.parts["denoiser"].parameters())


@every_audit
def test_a_timestep_that_the_model_lacks_is_refused_before_any_work(row, base, suspect, monkeypatch):
    method = made(row)
    short = NoiseSchedule(base.schedule.signals[: method.last_timestep], base.schedule.noises[: method.last_timestep])
    for one in (base, suspect):
        monkeypatch.setattr(one, "schedule", short)
        monkeypatch.setattr(one, "embed", lambda prompts: pytest.fail("worked"))
    with pytest.raises(BadInput, match=f"timestep {method.last_timestep} is asked for"):
        audited(method, suspect, base, pictures(1), prompt="")


@every_audit
def test_without_a_base_it_looks_at_the_suspect_alone_or_asks_for_one(row, base, suspect):
    method = made(row)
    if method.needs_base:
        with pytest.raises(BadInput, match="pass --base"):
            audited(method, suspect, None, pictures(1))
        return
    further = {"shadows": shadows(base, pictures(2))} if method.needs_shadows else {}
    alone = audited(method, suspect, None, pictures(2), **further)
    beside = audited(method, suspect, base, pictures(2), **further)
    if method.needs_shadows:
        torch.testing.assert_close(alone.scores, beside.scores)
        return
    assert set(alone.signals) == {"suspect"}
    torch.testing.assert_close(alone.scores, beside.signals["suspect"])


@every_audit
def test_shadow_models_are_used_or_refused(row, base, suspect):
    method, images = made(row), pictures(2)
    given = shadows(base, images)
    if not method.needs_shadows:
        with pytest.raises(BadInput, match=f"{row.method} compares the suspect with no shadow models"):
            audited(method, suspect, base, images, shadows=given)
        return
    turned = Shadows(tuple(reversed(given.every)))
    assert torch.equal(*(audited(method, suspect, base, images, shadows=some).scores for some in (given, turned)))


@every_audit
def test_captions_are_the_prompts_of_their_pictures_or_are_refused(row, base, suspect):
    method, images = made(row), pictures(2)
    if method.own_captions == "refused":
        with pytest.raises(BadInput, match=f"{row.method} takes one prompt for all pictures"):
            method(suspect, base, captioned(images), own_captions=True)
    elif method.own_captions == "taken":
        further = {"shadows": shadows(base, images)} if method.needs_shadows else {}

        def asked(images, **given):
            found = method(suspect, base, images, **given, **further)
            # A score beside those of shadows rests on all pictures, and so on the captions of all.
            return found.signals[method.signals[0]] if method.needs_shadows else found.scores

        one = [asked(images, prompt=words) for words in ("cat", "a red dog")]
        own = asked(captioned(images, "cat", "a red dog"), own_captions=True)
        torch.testing.assert_close(own, torch.stack([one[0][0], one[1][1]]), rtol=1e-3, atol=1e-6)
    else:
        with pytest.raises(BadInput, match="give --own-captions"):
            method(suspect, base, images, prompt="cat")


@every_audit
def test_what_is_recorded_depends_on_captions_that_are_prompts(row, base, suspect):
    if made(row).own_captions == "refused":
        return
    keys = [
        work_key(made(row), AuditInputs(suspect, base, "", None, own), images=captioned(pictures(2), *texts))
        for own in (True, False)
        for texts in (("a", "b"), ("a", "c"))
    ]
    assert keys[0] != keys[1]
    assert keys[2] == keys[3]


@every_audit
def test_a_model_without_what_it_needs_is_refused(row):
    with pytest.raises(BadInput, match=f"{row.method} needs a model that .*embeds prompts.*; TarFlow does not"):
        check_needs(made(row), tiny.flow(double=False))
