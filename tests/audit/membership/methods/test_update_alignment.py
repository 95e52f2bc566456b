from dataclasses import replace

import pytest
import torch

import tiny
from audit_scenes import model, nudged, pictures, planted
from intaglio.audit.membership.methods.update_alignment import UpdateAlignment
from intaglio.denoising.samples import fixed_samples
from intaglio.denoising.weight_update import update_bases
from intaglio.errors import BadInput, IntaglioError
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion

SMALL = {"levels": 3, "pilot": 2}
BAD = {"pilot": -1}
PIECES = {"micro_batch": 1}

FEW = UpdateAlignment(levels=3, noises=2, pilot=2)


@pytest.fixture(scope="module")
def base():
    return model()


@pytest.fixture(scope="module")
def suspect(base):
    return nudged(base)


def gradients(middle: LatentDiffusion, images: ImageSet, paths: list[str]) -> list[dict[str, torch.Tensor]]:
    """Of each picture's mean error, one sample at a time."""
    weights = dict(middle.denoiser.named_parameters())
    samples = [fixed_samples(3, (4, 8, 8), (1, 600), seed) for seed in (0, 1)]
    found = []
    for i in range(len(images)):
        middle.denoiser.zero_grad()
        z = middle.encode(images.pixels[i : i + 1]).detach()
        for noise, t in samples:
            for k in range(3):
                noisy = middle.schedule.noised(z, noise[0, k : k + 1], t[0, k : k + 1])
                predicted = middle.predict(noisy, t[0, k : k + 1], middle.embed(["cat"]).detach())
                (((predicted - noise[0, k]) ** 2).mean() / 6).backward()
        found.append({path: weights[path].grad.flatten(1).clone() for path in paths})
    return found


def test_the_score_is_the_weighted_cosine_in_the_updates_own_basis(base, suspect):
    images = pictures(3)
    found = FEW(suspect, base, images, prompt="cat")
    ours, theirs = (dict(one.denoiser.named_parameters()) for one in (suspect, base))
    updates = {path: (ours[path] - w).detach().flatten(1) for path, w in theirs.items() if w.ndim > 1}
    middle = base.copy()
    with torch.no_grad():
        for path, weight in middle.denoiser.named_parameters():
            weight.copy_((ours[path] + theirs[path]) / 2)
    every = gradients(middle, images, list(updates))
    pilot = sorted(range(3), key=lambda i: images.hashes[i])[:2]
    turned, seen = {}, [{} for _ in every]
    for path, update in updates.items():
        _, values, right = torch.linalg.svd(update, full_matrices=False)
        kept = right[values > 1e-3 * values[0]].T
        turned[path] = update @ kept
        for one, gradient in zip(seen, every, strict=True):
            one[path] = gradient[path] @ kept
    squares = {path: sum(seen[i][path] ** 2 for i in pilot) for path in updates}
    mean = torch.cat([s.flatten() for s in squares.values()]).mean()
    weights = {path: 1 / (s + 1e-3 * mean).sqrt() for path, s in squares.items()}
    product = torch.stack([-sum((one[path] * turned[path] * weights[path]).sum() for path in updates) for one in seen])
    square = torch.stack([sum((one[path] ** 2 * weights[path]).sum() for path in updates) for one in seen])
    # The code scales gradients and weighting by constants, which ratios between pictures do not see.
    for values, expected in ((found.scores, product / square.sqrt()), (found.signals["coefficient"], product / square)):
        torch.testing.assert_close(values / values[0], expected / expected[0], rtol=5e-3, atol=1e-4)


@pytest.fixture(scope="module")
def scene():
    return planted()


def test_the_picture_that_a_suspect_was_overfitted_on_scores_highest(scene):
    suspect, base, images, member = scene
    assert UpdateAlignment(levels=6, timesteps=(1, 999))(suspect, base, images, prompt="cat").scores.argmax() == member


def test_a_step_along_one_pictures_gradient_is_traced_to_it(base):
    """Plain gradient descent on one picture, whose step is its gradient by definition."""
    images = pictures(4, seed=2)
    suspect = base.copy()
    weights = dict(suspect.denoiser.named_parameters())
    paths = [path for path, weight in weights.items() if weight.ndim > 1]
    step = gradients(suspect, images[[2]], paths)[0]
    with torch.no_grad():
        for path in paths:
            weights[path] -= 1e-3 * step[path].view_as(weights[path])
    suspect.name = "suspect"
    scores = replace(FEW, pilot=0)(suspect, base, images, prompt="cat").scores
    assert scores.argmax() == 2


def test_a_low_rank_update_is_seen_in_its_own_rank(base):
    suspect = base.copy()
    path, weight = next((p, w) for p, w in suspect.denoiser.named_parameters() if w.ndim == 2)
    up, down = torch.randn(weight.shape[0], 1), torch.randn(1, weight.shape[1])
    with torch.no_grad():
        weight += up @ down
    (basis,) = update_bases(suspect, base).values()
    assert basis.directions.shape == (weight.shape[1], 1)
    torch.testing.assert_close(basis.update @ basis.directions.T, up @ down, rtol=1e-4, atol=1e-5)
    assert update_bases(suspect, base).keys() == {path}


def test_a_suspect_whose_text_encoder_alone_learned_is_refused(base):
    suspect = base.copy()
    suspect.name = "suspect"
    with torch.no_grad():
        next(suspect.parts["text_encoder"].parameters()).add_(0.1)
    with pytest.raises(BadInput, match="no matrix of suspect's denoiser differs .* use loss-gap"):
        FEW(suspect, base, pictures(2), prompt="cat")


def test_a_gradient_that_is_not_finite_names_the_picture(base, suspect, monkeypatch):
    images = pictures(2)
    worst = images.names[1]
    encode = LatentDiffusion.encode
    broken = images.pixels[1:2]
    monkeypatch.setattr(
        LatentDiffusion, "encode", lambda self, x, *more: encode(self, x, *more) * (torch.nan if x.equal(broken) else 1)
    )
    for pilot in (1, 2):
        with pytest.raises(IntaglioError, match=f"the gradient of {worst} is zero or not finite; try --precision"):
            replace(FEW, pilot=pilot)(suspect, base, images, prompt="cat")


def test_order_and_micro_batch_do_not_matter(base, suspect):
    images = pictures(4)
    found = FEW(suspect, base, images, prompt="cat")
    assert set(found.signals) == set(FEW.signals)
    turned = FEW(suspect, base, images[[2, 0, 3, 1]], prompt="cat")
    assert torch.equal(found.scores[[2, 0, 3, 1]], turned.scores)
    pieces = replace(FEW, micro_batch=1)(suspect, base, images, prompt="cat")
    torch.testing.assert_close(found.scores, pieces.scores, rtol=1e-3, atol=1e-6)


def test_sdxl_half_precision_and_no_trace():
    base = model(0, build=tiny.sdxl_pipeline)
    suspect = nudged(base)
    before = suspect.fingerprint, base.fingerprint
    found = replace(FEW, precision="bfloat16")(suspect, base, pictures(2), prompt="")
    assert found.scores.isfinite().all()
    assert (suspect.fingerprint, base.fingerprint) == before
    assert all(w.requires_grad and w.grad is None for w in suspect.parts["denoiser"].parameters())


@pytest.mark.parametrize(
    "changes", [{"levels": 0}, {"noises": 0}, {"pilot": -1}, {"micro_batch": 0}, {"timesteps": (3, 1)}]
)
def test_wrong_settings_are_refused_by_name(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        UpdateAlignment(**changes)
