"""Calls of denoisers that an audit says it makes, against those that are seen."""

from collections import Counter

import pytest
import torch

import tiny
from audit_scenes import audited
from intaglio.audit.membership.cost import in_micro_batches
from intaglio.audit.membership.methods.cgi_dm import CGIDM
from intaglio.audit.membership.methods.gsa import GSA
from intaglio.audit.membership.methods.lira import LiRA
from intaglio.audit.membership.methods.loss_gap import LossGap
from intaglio.audit.membership.methods.pia import PIA
from intaglio.audit.membership.methods.secmi import SecMI
from intaglio.audit.membership.methods.update_alignment import UpdateAlignment
from intaglio.models.diffusion.latent_diffusion import LatentDiffusion
from intaglio.models.diffusion.loading import load_model

SMALL = [
    LossGap(levels=3, noises=2, micro_batch=4),
    PIA(timesteps=(100, 200), batch=2, micro_batch=64),
    SecMI(timestep=30, batch=3, micro_batch=2),
    UpdateAlignment(levels=2, noises=1, pilot=2),
    CGIDM(steps=2, samples_per_step=2, gap_samples=3, batch=2, micro_batch=3),
    CGIDM(steps=2, gap_samples=1, gradient_mode="forward-only"),
    LiRA(levels=3, noises=1, batch=2, micro_batch=4),
    GSA(levels=3, micro_batch=2),
    GSA(levels=2, aggregate="mean-norm"),
]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    base, suspect = tiny.pair_folders(tmp_path_factory.mktemp("models"))
    return load_model(suspect), load_model(base)


@pytest.fixture
def asked(monkeypatch):
    """Calls of any model's network by (rows, whether a backward pass can follow)."""
    calls, whole = Counter(), LatentDiffusion.output

    def output(self, latents, *rest):
        calls[len(latents), torch.is_grad_enabled()] += 1
        return whole(self, latents, *rest)

    monkeypatch.setattr(LatentDiffusion, "output", output)
    return calls


@pytest.mark.parametrize("method", SMALL, ids=lambda one: type(one).__name__)
def test_the_calls_are_those_that_are_seen(method, pair, asked):
    images = tiny.some_pictures(1, 3)
    audited(method, *pair, images, prompt="dog")
    told = Counter()
    for calls in method.calls(3, 5 if method.needs_shadows else 2):
        for rows, count in calls.batches.items():
            told[rows, calls.gradient != "none"] += count
    assert told == asked


@pytest.mark.parametrize("method", SMALL[1:3], ids=lambda one: type(one).__name__)
def test_the_suspect_alone_is_asked_half_as_often(method, pair, asked):
    method(pair[0], None, tiny.some_pictures(1, 3))
    (calls,) = method.calls(3, 1)
    assert sum(calls.batches.values()) == asked.total()


def test_a_pilot_of_all_pictures_is_all_of_them():
    (calls,) = UpdateAlignment(pilot=0).calls(5, 2)
    assert calls.encoded == 10
    assert calls.rows == 10 * 12 * 2


def test_groups_are_cut_into_micro_batches():
    assert in_micro_batches([5, 2], 2, times=3) == {2: 9, 1: 3}
    assert in_micro_batches([], 4) == {}
