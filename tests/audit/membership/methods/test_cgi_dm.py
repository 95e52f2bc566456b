import functools
from dataclasses import fields, replace

import pytest
import torch

import tiny
from audit_scenes import Closeness, model, nudged, overfitted, pictures
from intaglio.audit.membership.methods.cgi_dm import CGIDM, Refill, gallery_max
from intaglio.errors import BadInput
from intaglio.images.image_set import to_uint8
from intaglio.runs.run import Run

SMALL = {"steps": 3, "batch": 2, "gap_samples": 2}
BAD = {"steps": -1}
PIECES = {"batch": 1, "micro_batch": 1}

QUICK = CGIDM(steps=4, gap_samples=2, step_rms=0.2)


@pytest.fixture(scope="module")
def base():
    return model()


@pytest.fixture(scope="module")
def suspect(base):
    return nudged(base)


def call(method, suspect, base, images, **keywords):
    return method(suspect, base, images, prompt="cat", similarity=Closeness(), **keywords)


@pytest.fixture(scope="module")
def quick(base, suspect):
    """What QUICK finds of so many pictures, computed once: tests only read it."""
    return functools.cache(lambda count: call(QUICK, suspect, base, pictures(count)))


def open_run(folder):
    return Run.open(folder, "authenticate", "cgi-dm", {}, {}, seed=0, device="cpu", command=["x"], progress="none")


def test_every_picture_gets_scores_signals_and_evidence(quick):
    images, found = pictures(3), quick(3)
    assert found.method == "cgi-dm"
    assert found.names == images.names
    assert set(found.signals) == set(CGIDM.signals)
    torch.testing.assert_close(found.signals["gain"], found.signals["similarity"] - found.signals["similarity_start"])
    missing = 1 - found.signals["similarity_start"]
    torch.testing.assert_close(found.signals["refilled"] * missing, found.signals["gain"])
    assert torch.equal(found.scores, found.signals["gain"])
    for kind in ("partial", "recovered"):
        shown = found.pictures[kind]
        assert shown.shape == images.pixels.shape
        assert torch.equal(to_uint8(shown).float() / 255, shown), "evidence is rounded to 8 bits"
    assert [len(trace) for trace in found.diagnostics["gap_trace"]] == [4, 4, 4]
    assert found.diagnostics["skipped_steps"] == [0, 0, 0]


def test_no_steps_give_the_start(base, suspect):
    images = pictures(2)
    found = call(replace(QUICK, steps=0), suspect, base, images)
    assert found.scores.tolist() == [0, 0]
    assert torch.equal(found.signals["gap_initial"], found.signals["gap_final"])
    with torch.no_grad():
        known = base.encode(images.pixels)
        i, j = torch.arange(8)[:, None] // 2, torch.arange(8)[None] // 2
        keep = ((i + j) % 2 == 0).float()
        partial = to_uint8(base.decode(keep * known)).float() / 255
        start = keep * known + (1 - keep) * base.encode(partial)
        recovered = to_uint8(base.decode(start)).float() / 255
    assert torch.equal(found.pictures["partial"], partial)
    assert torch.equal(found.pictures["recovered"], recovered)


@pytest.mark.parametrize(
    ("score", "signal"),
    [("similarity", "similarity"), ("gap", "gap_final"), ("refilled", "refilled")],  # gain is the usual one
)
def test_the_score_is_the_chosen_signal(base, suspect, score, signal):
    found = call(replace(QUICK, score=score), suspect, base, pictures(2))
    assert torch.equal(found.scores, found.signals[signal])


def test_gallery_max_is_the_best_of_all_recoveries(base, suspect):
    images = pictures(3)
    found = call(replace(QUICK, score="gallery-max"), suspect, base, images)
    near = Closeness()
    pairs = [[float(near(x[None], y[None])) for y in found.pictures["recovered"]] for x in images.pixels]
    assert found.scores.tolist() == pytest.approx([max(row) for row in pairs])
    assert (found.scores >= found.signals["similarity"] - 1e-6).all()
    assert gallery_max(images.pixels, images.pixels, near).tolist() == [1, 1, 1]


def test_the_order_of_the_files_does_not_matter(base, suspect, quick):
    forward, backward = quick(3), call(QUICK, suspect, base, pictures(3)[[2, 0, 1]])
    assert torch.equal(forward.scores[[2, 0, 1]], backward.scores)
    assert torch.equal(forward.pictures["recovered"][[2, 0, 1]], backward.pictures["recovered"])


@pytest.mark.parametrize("changes", [{"batch": 1}, {"batch": 2}, {"micro_batch": 1}, {"micro_batch": 3}])
def test_batches_do_not_matter(base, suspect, quick, changes):
    whole, pieces = quick(3), call(replace(QUICK, **changes), suspect, base, pictures(3))
    torch.testing.assert_close(whole.scores, pieces.scores, atol=2e-3, rtol=0)
    torch.testing.assert_close(whole.signals["gap_final"], pieces.signals["gap_final"], atol=1e-4, rtol=1e-2)


def test_a_batch_may_hold_one_picture_twice(base, suspect):
    images = pictures(2)
    twice = images.from_pixels(torch.cat([images.pixels, images.pixels[:1]]))
    found = call(QUICK, suspect, base, twice)
    assert found.scores[0] == pytest.approx(float(found.scores[2]), abs=2e-3)


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_gap_grows_for_a_suspect_that_was_trained_on_the_picture(prediction):
    base, images = model(3, prediction), pictures(2, 4)
    suspect = overfitted(base, images, "cat", 40)
    # The gap is compared at the same noises before and after; from step to step it mostly shows the timestep drawn.
    found = call(CGIDM(steps=10, step_rms=0.03, samples_per_step=4, gap_samples=32), suspect, base, images)
    assert (found.signals["gap_final"] > found.signals["gap_initial"]).all()


@pytest.mark.parametrize(
    "changes", [{"gradient_mode": "forward-only"}, {"shared_noise": False}, {"posterior": "sample"}]
)
def test_every_setting_counts_and_repeats(base, suspect, quick, changes):
    images, method = pictures(2), replace(QUICK, **changes)
    first, again = (call(method, suspect, base, images) for _ in range(2))
    assert torch.equal(first.scores, again.scores)
    assert not torch.equal(first.scores, quick(2).scores)


def test_the_seed_counts(base, suspect, quick):
    assert not torch.equal(call(replace(QUICK, seed=1), suspect, base, pictures(2)).scores, quick(2).scores)


def test_an_sdxl_layout_and_half_precision_and_checkpointing_work():
    base = model(0, build=tiny.sdxl_pipeline)
    found = call(replace(QUICK, precision="bfloat16", checkpointing=True), nudged(base), base, pictures(1))
    assert found.scores.isfinite().all()
    assert not base.parts["denoiser"].is_gradient_checkpointing


def test_the_models_are_left_as_they_were(base, suspect):
    suspect.parts["denoiser"].train()
    prints = suspect.fingerprint, base.fingerprint
    try:
        call(QUICK, suspect, base, pictures(1))
        assert suspect.parts["denoiser"].training
        assert all(w.requires_grad and w.grad is None for w in suspect.parts["denoiser"].parameters())
        assert (suspect.fingerprint, base.fingerprint) == prints
    finally:
        suspect.parts["denoiser"].eval()


class Killed(BaseException):
    pass


@pytest.fixture(scope="module")
def in_twos(base, suspect):
    """What is found of three pictures in batches of two."""
    return call(replace(QUICK, batch=2), suspect, base, pictures(3))


@pytest.mark.parametrize("at", [1, 5, 8])
def test_a_killed_run_goes_on_to_the_same_result(base, suspect, in_twos, tmp_path, monkeypatch, at):
    images, method, whole = pictures(3), replace(QUICK, batch=2), in_twos
    sound, calls = Refill.step, []

    def dying(*arguments):
        calls.append(1)
        if len(calls) == at:
            raise Killed
        return sound(*arguments)

    monkeypatch.setattr(Refill, "step", dying)
    with pytest.raises(Killed), open_run(tmp_path) as run:
        call(method, suspect, base, images, run=run)
    assert len(calls) == at
    with open_run(tmp_path) as run:
        resumed = call(method, suspect, base, images, run=run)
        steps = [row["step"] for row in run.logged("cgi-dm")]
        assert set(run.recorded("cgi-dm")) == set(images.names)
        method.forget(run, len(images))
        assert not list((run.folder / "states").iterdir())
    assert len(calls) == 8 + 1, "no step was repeated"
    assert steps == [*range(1, 9)]
    assert torch.equal(whole.scores, resumed.scores)
    assert torch.equal(whole.pictures["recovered"], resumed.pictures["recovered"])
    assert whole.diagnostics == resumed.diagnostics


def test_steps_after_the_last_stored_state_are_repeated_to_the_same_result(base, suspect, quick, tmp_path, monkeypatch):
    """As `kill -9` leaves it: the newest state is older than the newest row of the log."""
    images = pictures(2)
    whole, kept = quick(2), Run.save_state

    def forgetful(run, name, tensors, meta, every_s=0):
        if meta["step"] <= 2:
            kept(run, name, tensors, meta)

    monkeypatch.setattr(Run, "save_state", forgetful)
    with open_run(tmp_path) as run:
        call(QUICK, suspect, base, images, run=run)
        assert [row["step"] for row in run.logged("cgi-dm")] == [1, 2, 3, 4]
        assert run.load_state("cgi-dm-0")[1]["step"] == 2
    monkeypatch.undo()
    with open_run(tmp_path) as run:
        resumed = call(QUICK, suspect, base, images, run=run)
        assert [row["step"] for row in run.logged("cgi-dm")] == [1, 2, 3, 4]
    assert torch.equal(whole.scores, resumed.scores)


def test_a_state_of_other_work_is_not_taken_up(base, suspect, tmp_path):
    images = pictures(2)
    with open_run(tmp_path) as run:
        call(QUICK, suspect, base, images, run=run)
        other = call(replace(QUICK, seed=5), suspect, base, images, run=run)
    assert torch.equal(other.scores, call(replace(QUICK, seed=5), suspect, base, images).scores)


def test_a_picture_that_fails_has_no_score_and_the_others_have(base, suspect, quick, monkeypatch):
    images, plain = pictures(3), quick(3)
    ordered = sorted(range(3), key=lambda i: images.hashes[i])
    sound = Refill.ascent

    def broken(*arguments):
        gap, gradient = sound(*arguments)
        gradient[1] = torch.nan
        return gap, gradient

    monkeypatch.setattr(Refill, "ascent", broken)
    found = call(QUICK, suspect, base, images)
    bad = ordered[1]
    assert found.scores.isnan().tolist() == [i == bad for i in range(3)]
    assert found.diagnostics["skipped_steps"][bad] == 4
    assert any(images.names[bad] in warning and "4 of 4 steps" in warning for warning in found.warnings)
    for i in set(range(3)) - {bad}:
        assert found.scores[i] == pytest.approx(float(plain.scores[i]), abs=1e-5)


def test_the_reference_is_the_published_procedure():
    method = CGIDM.reference()
    assert (method.steps, method.samples_per_step, method.batch, method.shared_noise) == (1000, 1, 1, False)
    assert method.radius_rms * 8192**0.5 == pytest.approx(70)
    assert method.step_rms * 8192**0.5 == pytest.approx(2)
    assert (method.timesteps, method.square, method.score, method.precision) == ((1, 999), 2, "similarity", "float32")
    assert CGIDM.reference(steps=3).steps == 3
    cheaper = CGIDM()
    assert cheaper.steps * cheaper.samples_per_step * 20 <= 1000, "twenty times fewer evaluations, batching apart"


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": -1},
        {"samples_per_step": 0},
        {"square": 0},
        {"gap_samples": 0},
        {"batch": 0},
        {"micro_batch": 0},
        {"patience": -1},
        {"step_rms": 0.0},
        {"radius_rms": -1.0},
        {"step_rms": float("inf")},
        {"max_skipped": 1.5},
        {"timesteps": (5, 2)},
        {"timesteps": (-1, 2)},
        {"gradient_mode": "forward-only", "shared_noise": False},
    ],
)
def test_wrong_settings_are_refused_by_name(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        CGIDM(**changes)


@pytest.mark.parametrize(
    ("changes", "says"), [({"square": 3}, "squares of 6 latents"), ({"timesteps": (1, 1000)}, "timestep 1000")]
)
def test_settings_that_do_not_fit_the_model_are_bad_input(base, suspect, changes, says):
    with pytest.raises(BadInput, match=says):
        call(replace(QUICK, **changes), suspect, base, pictures(1))


def test_a_step_longer_than_the_radius_is_warned_of(base, suspect):
    found = call(replace(QUICK, steps=1, step_rms=1.0, radius_rms=0.5), suspect, base, pictures(1))
    assert any("longer than the radius" in warning for warning in found.warnings)


def test_every_field_says_what_it_is():
    import ast
    import inspect

    tree = ast.parse(inspect.getsource(CGIDM)).body[0]
    documented = {
        statement.target.id
        for statement, after in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(statement, ast.AnnAssign) and isinstance(after, ast.Expr)
    }
    assert {field.name for field in fields(CGIDM)} <= documented
