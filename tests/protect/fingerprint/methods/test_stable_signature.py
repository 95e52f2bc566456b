"""stable-signature: the loss and one update by hand, a planted extractor that a decoder learns, wrong keys."""

from functools import cache

import pytest
import torch
from scipy.stats import binom
from torch import nn
from torch.nn.functional import normalize

from audit_scenes import model
from intaglio.errors import BadInput
from intaglio.images.filters import jpeg
from intaglio.images.image_set import ImageSet
from intaglio.metrics.similarity.encoder import load_encoder
from intaglio.models import testbed
from intaglio.protect.fingerprint.decoder_tuning import DecoderTuning, decoder_of, picture_distance, with_own_decoder
from intaglio.protect.fingerprint.jpeg_loop import compressed
from intaglio.protect.fingerprint.mark_key import MarkKey
from intaglio.protect.fingerprint.marked_model import held_back, mark_model
from intaglio.protect.fingerprint.methods import stable_signature
from intaglio.protect.fingerprint.methods.stable_signature import StableSignature

SMALL = {"updates": 4, "rows": 2, "bits": 8}
BAD = {"bits": 33}
PIECES = {}

KEY = MarkKey.of_seed(0)


class Linear(nn.Module):
    """An extractor whose logits are linear in the mean colour."""

    def __init__(self, bits):
        super().__init__()
        self.weight = torch.randn(bits, 3, generator=torch.Generator().manual_seed(1))

    def forward(self, pixels):
        return pixels.mean((2, 3)) @ self.weight.T


@pytest.fixture
def linear(monkeypatch):
    monkeypatch.setattr(stable_signature, "extractor", cache(lambda device: Linear(4)))


@cache
def net():
    return model()


def latents(count=3):
    return torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(2))


def test_one_update_is_adam_s_on_the_loss_by_hand(linear):
    """The first step of Adam moves every weight by the rate against its gradient's sign, after the decay."""
    mark = StableSignature(bits=4, updates=1, rows=3, nearness=0.0, sharpness=2.0, learning_rate=1e-3, hardened=False)
    given, z, bits = net(), latents(), KEY.bits(4, "message", 5).float()
    changed = mark.apply(given, z, KEY, 5)
    before = dict(given.autoencoder.decoder.named_parameters())
    logits = 2 * Linear(4)(given.decode(z, clamp=False).clamp(0, 1))
    loss = (bits * torch.log1p((-logits).exp()) + (1 - bits) * torch.log1p(logits.exp())).mean()
    slopes = torch.autograd.grad(loss, list(before.values()), allow_unused=True)
    moved = 0
    for (name, weight), slope in zip(before.items(), slopes, strict=True):
        clear = slope.abs() > 1e-6  # below, Adam's epsilon counts
        expected = weight * (1 - 1e-3 * 0.01) - 1e-3 * slope.sign()
        found = dict(changed.autoencoder.decoder.named_parameters())[name]
        torch.testing.assert_close(found[clear], expected[clear], rtol=0, atol=3e-5)
        moved += int(clear.sum())
    assert moved > 1000


def test_the_distance_from_the_old_decoder_counts_as_much_as_nearness_says():
    given, z = model(), latents()
    changed = with_own_decoder(given, "changed")
    with torch.no_grad():
        for weight in changed.autoencoder.decoder.parameters():
            weight += 0.05
        old, new = given.decode(z), changed.decode(z, clamp=False)
        distance = float(picture_distance(new, old))
    assert distance > 0.01
    for nearness in (0.0, 2.0):
        decoder_of(changed).requires_grad_(True)
        tuning = DecoderTuning(given, changed, z, lambda pixels, step: pixels.mean(), nearness, 3, 0)
        wanted = float(new.clamp(0, 1).mean()) + nearness * distance
        assert tuning.objective()(0).value == pytest.approx(wanted, rel=1e-4)


def test_the_distance_is_that_of_features_and_of_pixels_by_hand():
    one, other = (torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(k)) for k in (3, 4))
    network = load_encoder(testbed.encoder_path())
    found, maps = [], [1 - one, 1 - other]
    for stage in (network.stem, network.middle, network.coarse):
        maps = [stage(each) for each in maps]
        a, b = (normalize(each, dim=1) for each in maps)
        found.append(float((2 - 2 * (a * b).sum(1)).mean()))
    expected = sum(found) / 3 + 100 * float(((one - other) ** 2).mean())
    assert float(picture_distance(one, other)) == pytest.approx(expected, rel=1e-5)


def test_jpeg_in_the_loop_is_seen_and_lets_gradients_through():
    pixels = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(6)).requires_grad_(True)
    found = [compressed(pixels, 0, step) for step in range(8)]
    assert len({float(one.detach().sum()) for one in found}) > 4, "the quality is drawn for each step"
    assert torch.equal(found[3], compressed(pixels, 0, 3))
    known = torch.stack([jpeg(pixels.detach(), quality) for quality in range(40, 96)])
    assert min(float((known - found[3].detach()).abs().amax((1, 2, 3, 4)).min()), 1) < 1e-6
    (slope,) = torch.autograd.grad((2 * found[3]).sum(), pixels)
    assert torch.equal(slope, torch.full_like(pixels, 2.0))


def test_a_decoder_learns_to_say_what_a_planted_extractor_reads(linear, tmp_path):
    """Bits of a linear extractor of four bits and three colours; the sign of one may be out of reach."""
    mark = StableSignature(bits=2, updates=30, nearness=0.0, learning_rate=5e-3)
    images = ImageSet.from_pixels(torch.rand(6, 3, net().resolution, net().resolution))
    made = mark_model(mark, net(), images, tmp_path, KEY, user=3)
    assert [one.bits for one in made.marks.pictures] == [1.0]
    assert made.marks.pictures[0].p == 0.25
    assert made.model.part_fingerprint("denoiser") == net().part_fingerprint("denoiser")
    assert made.model.fingerprint != net().fingerprint
    torch.testing.assert_close(made.model.encode(images.pixels), net().encode(images.pixels))


def test_of_wrong_keys_right_bits_are_binomial():
    """The embedded extractor on one white picture, 400 keys: a law over keys, whatever the picture."""
    mark = StableSignature(bits=32)
    with torch.no_grad():
        reading = mark.read(torch.ones(1, 3, 64, 64))
    found = [mark.agreement(reading, mark.meant(MarkKey.of_seed(k), [0], ()), KEY) for k in range(400)]
    right, p = (torch.stack([one[place][0, 0] for one in found]) for place in (1, 0))
    assert abs(float(right.mean()) - 16) < 4 * (32 / 4 / 400) ** 0.5
    torch.testing.assert_close(p[7], torch.tensor(binom.sf(float(right[7]) - 1, 32, 0.5)), rtol=1e-9, atol=0)
    for rate in (0.5, 0.1, 0.02):
        assert float((p <= rate).double().mean()) <= rate + 3 * (rate * (1 - rate) / 400) ** 0.5


def test_pictures_are_held_back_and_one_is_too_few(tmp_path):
    assert held_back(12) == [4, 9]
    assert held_back(3) == [2]
    one = ImageSet.from_pixels(torch.rand(1, 3, 16, 16))
    with pytest.raises(BadInput, match="x.png has 64x12 pixels"):
        StableSignature().check_shape((3, 12, 64), "x.png")
    with pytest.raises(BadInput, match="1 picture is too few"):
        mark_model(StableSignature(), net(), one, tmp_path, KEY)
