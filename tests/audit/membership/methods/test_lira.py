"""LiRA: its error rates on normal numbers, the formulas anew, and what shadows it refuses."""

import pytest
import torch
from scipy.stats import norm

from audit_scenes import audited, model, nudged, pictures, shadows
from intaglio.audit.membership.methods import lira
from intaglio.audit.membership.methods.lira import LiRA, deviations, log_likelihood_ratios
from intaglio.denoising.samples import fixed_samples
from intaglio.errors import BadInput
from intaglio.metrics.statistics.roc import row_aucs

SMALL = {"levels": 2, "noises": 1, "batch": 1}
BAD = {"levels": 0}
PIECES = {"micro_batch": 1}


def planted(shift: float, count: int, members: int, seed: int = 0):
    """Losses of pictures of very different difficulty, each easier by `shift` deviations where it was learned."""
    source = torch.Generator().manual_seed(seed)
    hard = 20 * torch.randn(members, generator=source)
    kept = torch.rand(count + 1, members, generator=source) < 0.5
    psi = hard + 0.5 * (torch.randn(count + 1, members, generator=source) + shift * kept)
    return psi[0], psi[1:], kept[0], kept[1:]


@pytest.mark.parametrize(
    ("shift", "rate", "area"), [(1, 0.0924, 0.760), (2, 0.3721, 0.921), (3, 0.7497, 0.983)], ids=str
)
def test_of_normal_losses_the_rates_are_those_of_theory(shift, rate, area):
    """A shift of d deviations: power Phi(d - 2.326) at 1%, area Phi(d / sqrt 2); the difficulty hides it otherwise.

    The median of half of 63 normal numbers has a variance of pi / 63, by which the deviations are wider.
    """
    wider = (1 + torch.pi / 63) ** 0.5
    assert (norm.cdf(shift - 2.326), norm.cdf(shift / 2**0.5)) == pytest.approx((rate, area), abs=1e-3)
    rate, area = norm.cdf(shift / wider - 2.326), norm.cdf(shift / wider / 2**0.5)
    fit, others, member, kept = planted(shift, 63, 10_000)
    for score in (deviations, log_likelihood_ratios):
        scores = score(fit, others, kept)
        inside, outside = scores[member], scores[~member]
        above = inside > torch.quantile(outside, 0.99)
        assert float(above.double().mean()) == pytest.approx(rate, abs=0.05)
        assert row_aucs(inside[None].numpy(), outside[None].numpy())[0] == pytest.approx(area, abs=0.015)
    assert row_aucs(fit[member][None].numpy(), fit[~member][None].numpy())[0] < 0.55


def test_the_scores_are_those_of_the_formulas(monkeypatch):
    fit, others, _, kept = planted(2, 12, 5, seed=3)
    fit, others = fit.double(), others.double()

    def pooled(known):
        groups = [others[known[:, i], i] for i in range(5)]
        squares = sum(float(((group - group.mean()) ** 2).sum()) for group in groups)
        return [float(group.quantile(0.5)) for group in groups], (squares / sum(len(g) - 1 for g in groups)) ** 0.5

    middle, spread = pooled(~kept)
    own = [(f - m) / spread for f, m in zip(fit.tolist(), middle, strict=True)]
    assert deviations(fit, others, kept).tolist() == pytest.approx(own)
    inside, wide = pooled(kept)
    each = zip(fit.tolist(), inside, middle, strict=True)
    ratios = [norm.logpdf(f, a, wide) - norm.logpdf(f, b, spread) for f, a, b in each]
    assert log_likelihood_ratios(fit, others, kept).tolist() == pytest.approx(ratios)
    monkeypatch.setattr(lira, "OWN_DEVIATIONS", 12)
    spreads = [float(others[~kept[:, i], i].std()) for i in range(5)]
    alone = [(f - m) / s for f, m, s in zip(fit.tolist(), middle, spreads, strict=True)]
    assert deviations(fit, others, kept).tolist() == pytest.approx(alone)


def test_the_losses_are_of_the_same_samples_for_every_model():
    base = model()
    suspect, images = nudged(base), pictures(2)
    order = sorted(range(2), key=lambda k: images.hashes[k])
    found = audited(LiRA(**SMALL), suspect, base, images)
    with torch.no_grad():
        latents, text = base.encode(images.pixels), base.embed(["cat"])
        noise, t = fixed_samples(2, tuple(latents.shape[1:]), (1, 999), 0)

        def fit(one):
            errors = [one.error(z.expand(2, -1, -1, -1), noise[0], t[0], text).mean() for z in latents]
            return -torch.stack(errors)

        others = torch.stack([fit(one.load()) for one in shadows(base, images[order])])
        kept = shadows(base, images[order]).kept(images)
    torch.testing.assert_close(found.signals["suspect"], fit(suspect), rtol=1e-4, atol=1e-6)
    expected = deviations(fit(suspect), others, kept).float()
    torch.testing.assert_close(found.scores, expected, rtol=1e-2, atol=1e-2)


def test_shadows_that_do_not_serve_are_refused(monkeypatch):
    base, images = model(), pictures(2)
    suspect = nudged(base)
    monkeypatch.setattr(LiRA, "numbers", lambda *args: pytest.fail("worked"))

    def refused(said, *, online=False, **given):
        with pytest.raises(BadInput, match=said):
            LiRA(**SMALL, online=online)(suspect, base, images, **given)

    refused("lira compares the suspect with models of the same recipe.*--half 1")
    refused(
        "3 shadow models are too few for lira, which takes 4 or more; 16 are usual", shadows=shadows(base, images, 3)
    )
    every = shadows(base, images)
    one, two = images.hashes
    for shadow, members in zip(every, ({one, two}, {one, two}, {one}, {two}), strict=True):
        object.__setattr__(shadow, "members", frozenset(members))
    refused("1 of 4 shadows is tuned without 0000, and 2 or more must be", shadows=every)
    fresh = shadows(base, pictures(2, seed=9))
    refused("none of 4 shadows are tuned with 0000", online=True, shadows=fresh)
