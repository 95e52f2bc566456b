"""Net protection: its formula on planted numbers, equal seeds, shares, verdicts, and resumption after the last."""

from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import torch
from PIL import Image

from intaglio.adapt.methods.lora import LoRATuning
from intaglio.images.image_set import ImageSet
from intaglio.protect import imitation
from intaglio.protect.imitation import Imitations, Imitator, NetProtection, net_protection, worst
from intaglio.protect.latent_similarity import latent_similarity
from intaglio.protect.purifiers import PURIFIERS
from intaglio.protect.robustness import Robustness
from intaglio.runs.run import Run
from protect_scenes import PlantedPurifier, model

ORIGINALS = ImageSet.from_pixels(torch.full((4, 3, 8, 8), 0.5))
PROTECTED = torch.full((4, 3, 8, 8), 0.9)
CHOSEN = (PURIFIERS["none"], PURIFIERS["blur"])


@dataclass
class Planted:
    """An imitator that draws its pictures anew, brighter by each seed; unlikeness is how bright they are."""

    model: None = None
    calls: list = field(default_factory=list)
    dies_at: int = -1
    audited: bool | None = None

    def imitations(self, pictures, originals, seed):
        if len(self.calls) == self.dies_at:
            raise KeyboardInterrupt
        self.calls.append((float(pictures.pixels.mean()), seed))
        return Imitations(pictures.pixels + 0.1 * seed, None if self.audited is None else float(pictures.pixels.mean()))

    def unlikeness(self, drawn, originals):
        assert originals is ORIGINALS
        return float(drawn.mean())


def measured(imitator, run=None, **more):
    unchecked = getattr(net_protection, "__wrapped__", net_protection)  # the planted imitator has no model
    return unchecked(imitator, ORIGINALS, PROTECTED, CHOSEN, run=run or Run.none(), **more)


def test_net_protection_is_what_protected_pictures_cost_beyond_clean_ones():
    found = measured(Planted(), seeds=(0, 1, 2))
    assert [one.purifier for one in found] == ["none", "blur"]
    for one in found:
        assert one.clean == pytest.approx((0.5, 0.6, 0.7), abs=1e-6)
        assert one.protected == pytest.approx((0.9, 1.0, 1.1), abs=1e-6)
        assert one.net == pytest.approx(0.4, abs=1e-6)
        assert one.spread == pytest.approx(0, abs=1e-6)
        assert one.noise == pytest.approx(0.1, abs=1e-6)


def test_clean_pictures_are_imitated_once_for_all_shares():
    imitator = Planted()
    found = measured(imitator, shares=(1.0, 0.5, 0.25), seeds=(0,))
    assert len(imitator.calls) == 2 * (1 + 3)
    assert {one.share: round(one.net, 4) for one in found if one.purifier == "none"} == {1.0: 0.4, 0.5: 0.2, 0.25: 0.1}


def test_a_killed_measurement_goes_on_after_the_last_fine_tune(tmp_path):
    def run():
        return Run.open(tmp_path, "protect evaluate", "", {}, {}, seed=0, device="cpu", command=(), progress="none")

    first = Planted(dies_at=3)
    with pytest.raises(KeyboardInterrupt), run() as opened:
        measured(first, opened, seeds=(0, 1))
    second = Planted()
    with run() as opened:
        found = measured(second, opened, seeds=(0, 1))
    assert len(first.calls) == 3
    assert len(second.calls) == 8 - 3
    assert [one.net for one in found] == pytest.approx([0.4, 0.4], abs=1e-6)
    shown = {path.name for path in next(tmp_path.iterdir()).joinpath("images").iterdir()}
    assert shown == {
        *(f"{name}-100-{arm}-{k}.png" for name in ("none", "blur") for arm in ("clean", "protected") for k in range(4)),
        *(f"{kind}-{k}.png" for kind in ("original", "protected", "difference") for k in range(4)),
    }
    with Image.open(next(tmp_path.iterdir()) / "images/difference-0.png") as image:
        assert image.getextrema() == ((255, 255),) * 3  # 0.4 brighter everywhere: the largest change of all


@pytest.mark.parametrize(
    ("clean", "protected", "survives"),
    [
        ((0.5, 0.52, 0.48), (0.7, 0.71, 0.69), True),
        ((0.5, 0.52, 0.48), (0.5, 0.53, 0.47), False),
        ((0.3, 0.7, 0.5), (0.4, 0.8, 0.6), False),  # surely above, but less than clean fine-tunes differ
        ((0.5, 0.5, 0.5), (0.9, 0.4, 0.5), False),
        ((0.5,), (0.6,), False),  # one seed tells no noise
        ((0.5,), (0.4,), False),
    ],
)
def test_a_protection_survives_where_it_is_above_chance_and_noise(clean, protected, survives):
    assert NetProtection("x", 1.0, clean, protected).survives is survives


def test_the_worst_purifier_is_the_one_that_leaves_least_of_full_protection():
    rows = [
        NetProtection("none", 1.0, (0.5,), (0.9,)),
        NetProtection("blur", 1.0, (0.5,), (0.6,)),
        NetProtection("blur", 0.5, (0.5,), (0.5,)),
    ]
    assert worst(rows) is rows[1]
    assert worst(rows, ["blur"]) is rows[0]
    assert worst(rows, ["blur", "none"]) is rows[1]


def test_a_verdict_needs_seeds_and_imitations_that_could_be_spoilt():
    def said(clean=(), protected=(), found=None):
        row = NetProtection("none", 1.0, clean, protected)
        return Robustness("lora", "base", "cat", 4, found or (row,)).statement

    assert said((0.2,), (0.6,)).startswith("There is no verdict from one seed; after none it left +0.400")
    assert said((0.7, 0.7), (0.9, 0.91)).startswith("There is no verdict: fine-tunes on clean pictures already")
    assert said((0.2, 0.21), (0.6, 0.61)).startswith("The protection survives every purifier")
    assert said((0.2, 0.21), (0.2, 0.21)).startswith("The protection does not protect here even without")
    rows = (NetProtection("none", 1.0, (0.2, 0.21), (0.6, 0.61)), NetProtection("blur", 1.0, (0.2, 0.21), (0.2, 0.22)))
    assert said(found=rows).startswith("The protection does not survive: after blur +0.005")
    found = Robustness("lora", "base", "cat", 4, (NetProtection("none", 1.0, (0.7, 0.7), (0.9, 0.9)),))
    assert found.figures()["survives"] is None


def test_each_fine_tune_has_its_own_draw_of_a_purifiers_noise():
    seeds = []
    noisy = PlantedPurifier(does=lambda pictures, net, seed: seeds.append(seed) or pictures)
    unchecked = getattr(net_protection, "__wrapped__", net_protection)
    unchecked(Planted(), ORIGINALS, PROTECTED, (noisy,), seeds=(0, 1, 2))
    assert seeds == [0, 0, 1, 1, 2, 2]


def test_an_audit_of_the_fine_tunes_is_kept_by_seed_and_arm(tmp_path):
    def run():
        return Run.open(tmp_path, "protect evaluate", "", {}, {}, seed=0, device="cpu", command=(), progress="none")

    for _ in range(2):  # measured, and read from the records
        with run() as opened:
            (found, _) = measured(Planted(audited=True), opened, seeds=(0, 1))
        assert found.membership == (pytest.approx((0.5, 0.9)),) * 2
        about = Robustness("x", "base", "cat", 4, (found,))
        assert about.membership == pytest.approx((0.5, 0.9))
        assert about.about_membership.startswith("An audit does not find the originals even in fine-tunes on clean")
    assert Robustness("x", "base", "cat", 4, measured(Planted())).about_membership is None
    for pair, words in {(0.9, 0.6): "hides membership", (0.9, 0.8): "does not hide membership"}.items():
        row = NetProtection("none", 1.0, (0.2, 0.2), (0.6, 0.6), (pair, pair))
        assert words in Robustness("x", "base", "cat", 4, (row,)).about_membership


def test_captions_are_taught_and_drawn_in_turns_and_others_are_told_from_originals(monkeypatch):
    net, said = model(), {}
    originals = ImageSet.from_pixels(torch.rand(3, 3, 16, 16), captions=["a cat", None, "a dog"])

    def sampled(tuned, prompts, seeds, **_):
        said["drawn"], said["tuned"] = prompts, tuned.fingerprint
        return ImageSet.from_pixels(torch.rand(len(prompts), 3, 16, 16))

    monkeypatch.setattr(imitation, "sample", sampled)
    monkeypatch.setattr(imitation, "loss_difference", lambda tuned, base, pixels, prompt: pixels.mean((1, 2, 3)))
    others = ImageSet.from_pixels(torch.zeros(2, 3, 16, 16))
    tuner = LoRATuning(steps=1, learning_rate=0.1)
    imitator = Imitator(net, tuner, "sks", latent_similarity(net), drawn=5, others=others)
    found = imitator.imitations(originals, originals, 0)
    assert said["drawn"] == ["a cat", "sks", "a dog", "a cat", "sks"]
    assert said["tuned"] != net.fingerprint
    assert found.membership == 1.0
    assert replace(imitator, others=None).imitations(originals, originals, 0).membership is None


def test_likeness_by_latents_is_their_correlation():
    net, pixels = model(), torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        z = net.encode(pixels).numpy()
    z = z - z.mean((2, 3), keepdims=True)
    flat = z.reshape(6, -1)
    wanted = flat @ flat.T / np.sqrt((flat**2).sum(1)[:, None] * (flat**2).sum(1)[None])
    found = latent_similarity(net).matrix(pixels, pixels)
    torch.testing.assert_close(found, torch.from_numpy(wanted), rtol=1e-4, atol=1e-5)
