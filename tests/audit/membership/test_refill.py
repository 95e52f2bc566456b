import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from audit_scenes import Closeness, model, nudged, pictures
from intaglio.audit.membership.methods.cgi_dm import CGIDM, Refill
from intaglio.audit.membership.refill import MaskedPictures, Stopped, checkerboard, plateaued, project
from intaglio.denoising.contrast import Contrast
from intaglio.denoising.samples import standard_normal, stratified_timesteps
from intaglio.randomness import generator

HOW = CGIDM(steps=6, samples_per_step=2, step_rms=0.3, radius_rms=0.7, timesteps=(1, 999), patience=0, seed=0)


@pytest.fixture(scope="module")
def base():
    return model()


@pytest.fixture(scope="module")
def suspect(base):
    return nudged(base)


def contrast_of(suspect, base, micro_batch=64):
    return Contrast.of(suspect, base, "cat", micro_batch=micro_batch)


def group_of(base, count=3, seed=0):
    images = pictures(count, seed)
    with torch.no_grad():
        known = base.encode(images.pixels)
    start = known + 0.1 * torch.randn(known.shape, generator=torch.Generator().manual_seed(9))
    return MaskedPictures(images, known, images.pixels, start, checkerboard(8, 8, 2))


def run_steps(suspect, base, group, how=HOW, micro_batch=64, watch=None):
    with contrast_of(suspect, base, micro_batch) as contrast:
        refill = Refill(how, contrast, Closeness())
        state = refill.start(group)
        while state.step < how.steps:
            state = refill.step(group, state)
            if watch:
                watch(state)
    return state


@pytest.mark.parametrize(("height", "width", "square"), [(64, 64, 2), (8, 16, 2), (8, 8, 1), (12, 4, 2), (16, 16, 4)])
def test_the_mask_is_the_formula_and_keeps_half(height, width, square):
    mask = checkerboard(height, width, square)
    assert mask.shape == (1, 1, height, width)
    for i in range(height):
        for j in range(width):
            assert mask[0, 0, i, j] == (1 if (i // square + j // square) % 2 == 0 else 0)
    assert mask.mean() == 0.5


def test_the_mask_in_the_papers_words():
    """16 blocks a side of 4x4 cells; of each the top-left and the bottom-right 2x2 are kept."""
    expected = torch.zeros(64, 64)
    for a in range(0, 64, 4):
        for b in range(0, 64, 4):
            expected[a : a + 2, b : b + 2] = 1
            expected[a + 2 : a + 4, b + 2 : b + 4] = 1
    assert torch.equal(checkerboard(64, 64, 2)[0, 0], expected)


@pytest.mark.parametrize(("height", "width", "square"), [(8, 8, 3), (6, 8, 2), (8, 10, 2), (8, 8, 8), (8, 8, 0)])
def test_squares_that_do_not_divide_are_refused(height, width, square):
    with pytest.raises(ValueError, match="do not divide"):
        checkerboard(height, width, square)


def test_kept_cells_never_change_and_the_ball_holds_after_every_step(base, suspect):
    group = group_of(base)
    free = int((1 - group.keep).sum()) * 4
    assert free == 128
    norms = []

    def watch(state):
        assert (state.change * group.keep == 0).all()
        norms.append(state.change.flatten(1).norm(dim=1))
        assert (norms[-1] <= 0.7 * math.sqrt(free) * (1 + 1e-6)).all()
        z = group.latents(state.change)
        assert torch.equal(z * group.keep, group.known * group.keep)

    run_steps(suspect, base, group, watch=watch)
    assert norms[0].tolist() == pytest.approx([0.3 * math.sqrt(free)] * 3, rel=1e-5)
    assert max(norms[-1]) > 0.9 * 0.7 * math.sqrt(free), "the ball was never reached, so nothing was tested"


@given(st.floats(0.01, 10), st.floats(0.01, 10))
def test_the_projection_is_onto_the_ball_of_each_picture(scale, radius):
    change = scale * torch.randn(4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    change[0] = 0
    inside = project(change, radius)
    for before, after in zip(change, inside, strict=True):
        expected = before if before.norm() <= radius else before * radius / before.norm()
        torch.testing.assert_close(after, expected)


def test_a_step_is_the_formula(base, suspect):
    """The gradient of the gap, by finite differences of the two losses, gives the direction of the first step."""
    group, how = group_of(base, 1), HOW
    source = generator(0, group.images.hashes[0], "step", 0)
    t = stratified_timesteps(2, (1, 999), source)
    noise = standard_normal(2, (4, 8, 8), source)

    def gap(z):
        def loss(one):
            noised = one.schedule.noised(z.expand(2, -1, -1, -1), noise, t)
            output = one.predict(noised, t, one.embed(["cat"]))
            return ((output - noise) ** 2).mean().double().item()

        with torch.no_grad():
            return loss(base) - loss(suspect)

    state = run_steps(suspect, base, group, replace(how, steps=1))
    z = group.latents(torch.zeros(1, 4, 8, 8))
    assert state.gaps[0, 0].item() == pytest.approx(gap(z), abs=1e-6)
    unit = state.change / state.change.norm()
    slope = (gap(z + 0.02 * unit) - gap(z - 0.02 * unit)) / 0.04
    # The norm recorded is of the summed squared errors, 4*8*8 times the mean's.
    assert slope == pytest.approx(state.norms[0, 0].item() / 256, rel=0.05)


def test_a_batch_of_two_is_two_batches_of_one(base, suspect):
    both = group_of(base, 2)
    together = run_steps(suspect, base, both)
    for i in range(2):
        one = slice(i, i + 1)
        alone = MaskedPictures(both.images[one], both.known[one], both.partial[one], both.start[one], both.keep)
        state = run_steps(suspect, base, alone)
        torch.testing.assert_close(state.change, together.change[i : i + 1], rtol=1e-2, atol=3e-3)
        torch.testing.assert_close(state.gaps, together.gaps[i : i + 1], rtol=1e-2, atol=1e-5)


@pytest.mark.parametrize("micro_batch", [1, 5])
@pytest.mark.parametrize("mode", ["exact", "forward-only"])
def test_micro_batches_do_not_change_the_result(base, suspect, micro_batch, mode):
    how = replace(HOW, gradient_mode=mode, steps=3)
    group = group_of(base)
    whole, pieces = run_steps(suspect, base, group, how), run_steps(suspect, base, group, how, micro_batch)
    torch.testing.assert_close(whole.change, pieces.change, rtol=1e-2, atol=3e-3)


def test_identical_models_with_shared_noise_have_no_gradient_and_with_two_noises_a_random_one(base):
    group = group_of(base)
    shared = run_steps(base.copy(), base, group)
    assert (shared.norms == 0).all()
    assert (shared.gaps == 0).all()
    assert (shared.change == 0).all()
    assert shared.skipped.tolist() == [6, 6, 6]
    apart = run_steps(base.copy(), base, group, replace(HOW, shared_noise=False))
    assert (apart.change.flatten(1).norm(dim=1) > 1).all()
    assert (apart.skipped == 0).all()


def test_forward_only_steps_along_the_difference_of_the_predictions(base, suspect):
    group = group_of(base, 1)
    state = run_steps(suspect, base, group, replace(HOW, gradient_mode="forward-only", steps=1))
    source = generator(0, group.images.hashes[0], "step", 0)
    t, noise = stratified_timesteps(2, (1, 999), source), standard_normal(2, (4, 8, 8), source)
    with torch.no_grad():
        noised = base.noised(group.latents(torch.zeros(1, 4, 8, 8)).expand(2, -1, -1, -1), noise, t)
        guesses = [one.predict(noised, t, one.embed(["cat"])) for one in (base, suspect)]
    expected = (guesses[0] - guesses[1]).mean(0) * (1 - group.keep[0])
    torch.testing.assert_close(state.change[0] / state.change.norm(), expected / expected.norm(), rtol=1e-4, atol=1e-5)


def broken_run(base, suspect, where, monkeypatch):
    """The same refinement with something that is no number in picture 1 at step 2, and without."""
    sound = Refill.ascent

    def broken(refill, group, state, going):
        gap, gradient = sound(refill, group, state, going)
        if state.step == 2 and where == "gradient":
            gradient[1, 0, 0, 2] = math.nan
        if state.step == 2 and where == "gap":
            gap[1] = math.inf
        return gap, gradient

    monkeypatch.setattr(Refill, "ascent", broken)
    state = run_steps(suspect, base, group_of(base))
    monkeypatch.undo()
    return state, run_steps(suspect, base, group_of(base))


def test_a_gradient_that_is_no_number_skips_one_step_of_one_picture_and_is_counted(base, suspect, monkeypatch):
    state, clean = broken_run(base, suspect, "gradient", monkeypatch)
    assert state.skipped.tolist() == [0, 1, 0]
    assert state.taken.tolist() == [6, 6, 6]
    assert state.stopped.tolist() == [0, 0, 0]
    assert state.change.isfinite().all()
    assert not torch.equal(state.change[1], clean.change[1])
    for other in (0, 2):
        torch.testing.assert_close(state.change[other], clean.change[other])


def test_a_gap_that_is_no_number_stops_that_picture_alone(base, suspect, monkeypatch):
    state, clean = broken_run(base, suspect, "gap", monkeypatch)
    assert state.stopped.tolist() == [0, Stopped.NOT_FINITE, 0]
    assert state.taken.tolist() == [6, 3, 6]
    assert state.change.isfinite().all()
    for other in (0, 2):
        torch.testing.assert_close(state.change[other], clean.change[other], rtol=1e-2, atol=3e-3)


def test_a_picture_whose_gap_no_longer_rises_stops(base, suspect):
    how = replace(HOW, patience=2, steps=60, step_rms=1e-6)
    state = run_steps(suspect, base, group_of(base), how)
    assert state.step == 60
    assert (state.stopped == Stopped.PLATEAU).all()
    for gaps, taken in zip(state.gaps, state.taken.tolist(), strict=True):
        assert gaps[:taken].isfinite().all()
        assert gaps[taken:].isnan().all()
        assert gaps[taken - 2 : taken].mean() <= gaps[taken - 4 : taken - 2].mean()
        for earlier in range(4, taken):
            assert gaps[earlier - 2 : earlier].mean() > gaps[earlier - 4 : earlier - 2].mean()


def test_a_stored_state_is_a_place_to_go_on_from_exactly(base, suspect):
    group = group_of(base)
    whole = run_steps(suspect, base, group)
    with contrast_of(suspect, base) as contrast:
        refill = Refill(HOW, contrast, Closeness())
        start = state = refill.start(group)
        for _ in range(3):
            state = refill.step(group, state)
        state = start.restored(state.step, {name: tensor.clone() for name, tensor in state.tensors().items()})
        for _ in range(3):
            state = refill.step(group, state)
    assert all(torch.equal(a, b) for a, b in zip(whole.tensors().values(), state.tensors().values(), strict=True))


@given(st.integers(0, 12), st.integers(0, 6), st.integers(0, 99))
def test_a_plateau_is_a_window_whose_mean_is_no_higher_than_that_of_the_window_before(done, window, seed):
    gaps = torch.randn(5, 12, generator=torch.Generator().manual_seed(seed))
    for row, flat in zip(gaps, plateaued(gaps, done, window), strict=True):
        before, last = row[done - 2 * window : done - window], row[done - window : done]
        assert flat == (window > 0 and done >= 2 * window and bool(last.mean() <= before.mean()))


@given(st.integers(1, 9), st.integers(0, 3), st.integers(0, 50), st.integers(0, 99))
def test_timesteps_fall_one_into_each_bin(count, low, width, seed):
    t = stratified_timesteps(count, (low, low + width), generator(seed))
    assert len(t) == count
    for k, value in enumerate(t.tolist()):
        assert low <= value <= low + width
        span = (width + 1) / count
        assert math.floor(k * span) <= value - low <= math.ceil((k + 1) * span)


def test_single_timesteps_reach_both_ends_and_nothing_else():
    drawn = {int(stratified_timesteps(1, (1, 4), generator(0, k))) for k in range(200)}
    assert drawn == {1, 2, 3, 4}


def test_noise_is_a_function_of_its_labels():
    def draw(*labels):
        return standard_normal(2, (3,), generator(*labels))

    assert torch.equal(draw(0, "a", 1), draw(0, "a", 1))
    assert not torch.equal(draw(0, "a", 1), draw(0, "a", 2))
    assert not torch.equal(draw(0, "a", 1), draw(1, "a", 1))
    assert not torch.equal(draw(0, "a", 1), draw(0, "b", 1))
