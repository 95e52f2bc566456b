"""Anti-DreamBooth: rounds and lessons in their order, what each sees, and a killed call that goes on exactly."""

import pytest
import torch

from intaglio.adapt.data import TrainingSet
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.protect.lessons import Lessons
from intaglio.protect.methods.advdm import AdvDM
from intaglio.protect.methods.anti_dreambooth import AntiDreamBooth
from intaglio.protect.protection import forget, protect
from intaglio.randomness import generator
from intaglio.runs.run import Run
from protect_scenes import model, originals, surrogate

SMALL = {"budget": 8.0, "steps": 4, "samples": 1, "rounds": 2, "lesson_steps": 1, "lesson_batch": 1, "batch": 3}
BAD = {"rounds": 0}
PIECES = {"micro_batch": 1}
VARIANTS = {
    "fsmg": {"SMALL": {"mode": "fsmg", "samples": 2}, "BAD": {"lesson_rate": 0.0}, "PIECES": {"micro_batch": 1}}
}


def made(**changes):
    return AntiDreamBooth(**{**SMALL, **changes})


def open_run(folder):
    return Run.open(folder, "protect", "x", {}, {}, seed=0, device="cpu", command=["x"], progress="none")


def test_its_gradient_is_advdms_on_the_surrogate_it_is_given():
    net, pixels = model(), torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    with surrogate(net, "cat") as given:
        ours, theirs = (m(samples=2).gradient(given, pixels, None, [generator(7)]) for m in (AntiDreamBooth, AdvDM))
    assert torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize(
    ("steps", "rounds", "stops"), [(6, 3, (2, 4, 6)), (7, 3, (2, 4, 7)), (2, 5, (1, 2)), (0, 4, (0,))]
)
def test_steps_are_split_among_rounds(steps, rounds, stops):
    assert made(steps=steps, rounds=rounds).stops() == stops
    assert made(steps=steps, rounds=rounds, mode="fsmg").stops() == (steps,)


def test_a_round_is_a_lesson_on_clean_pictures_from_what_was_kept_and_one_on_changed_ones(monkeypatch, tmp_path):
    told = []

    def after(self, number, net, data):
        told.append((number, net.name, data.images.pixels.clone()))
        copy = net.copy()
        copy.name = f"{net.name}/{number}"
        return copy

    monkeypatch.setattr(Lessons, "after", after)
    net, pictures = model(), originals(tmp_path)
    net.name = "base"
    protect(made(steps=6, rounds=3, step=4.0), net, pictures, tmp_path / "out", prompt="cat")
    # clean lessons are copies that are dropped; only lessons on changed pictures are kept
    assert [(number, name) for number, name, _ in told] == [
        (0, "base"),
        (1, "base"),
        (2, "base/1"),
        (3, "base/1"),
        (4, "base/1/3"),
    ]
    clean, first, _, second, again = (pixels for *_, pixels in told)
    assert torch.equal(clean, again)
    assert 0 < float((first - clean)[:2].abs().max()) <= 8.001 / 255  # the third is resized, which may overshoot
    assert not torch.equal(first, second)


def test_a_lesson_is_taken_up_only_where_it_was_made_from_the_same(tmp_path):
    net, images = model(), ImageSet.from_pixels(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)))
    data, tuner = TrainingSet(images, prompt="cat"), made()._tuner()
    with open_run(tmp_path) as run:
        first = Lessons(tuner, {"settings": "a"}, run).after(0, net, data)
        again = Lessons(tuner, {"settings": "a"}, run).after(0, net, TrainingSet(images[:1], prompt="dog"))
        other = Lessons(tuner, {"settings": "b"}, run).after(0, net, TrainingSet(images[:1], prompt="dog"))
    assert first.fingerprint == again.fingerprint  # read from what was stored, whatever is taught
    assert first.fingerprint != other.fingerprint


def test_the_surrogate_of_a_round_has_learned(tmp_path):
    net, images = model(), ImageSet.from_pixels(torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(1)))
    for mode in ("aspl", "fsmg"):
        learned = next(made(mode=mode).surrogates(net, images, "cat", Run.none()))
        assert learned.fingerprint != net.fingerprint
    assert model().fingerprint == net.fingerprint


@pytest.mark.parametrize(("mode", "done"), [("aspl", 7), ("fsmg", 4)])
def test_a_killed_call_goes_on_to_the_same_bytes(tmp_path, monkeypatch, mode, done):
    net, pictures = model(), originals(tmp_path)
    method = made(mode=mode, batch=1)
    whole = protect(method, net, pictures, tmp_path / "whole", prompt="cat")
    calls, original = [], AntiDreamBooth.gradient

    def dies(self, *args):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return original(self, *args)

    monkeypatch.setattr(AntiDreamBooth, "gradient", dies)
    with pytest.raises(KeyboardInterrupt), open_run(tmp_path / "runs") as run:
        protect(method, net, pictures, tmp_path / "cut", prompt="cat", run=run)
    with open_run(tmp_path / "runs") as run:
        before = len(calls)
        cut = protect(method, net, pictures, tmp_path / "cut", prompt="cat", run=run)
        forget(method, pictures, run)
        # 3 pictures of 4 steps, and 2 times 2 checks each: aspl dies in its second round, fsmg in the checks
        assert len(calls) - before == 3 * (4 + 4) - done
        assert not list((run.folder / "states").glob("lesson-*"))
        assert not [path for path in (run.folder / "states").rglob("*") if path.is_file()]
    for one, other in zip(whole.pictures, cut.pictures, strict=True):
        assert one == other or one.images != other.images
        assert (whole.folder / one.saved).read_bytes() == (cut.folder / other.saved).read_bytes()


def test_without_a_prompt_it_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"anti-dreambooth tunes the surrogate and needs the prompt .* give --prompt"):
        protect(made(), model(), originals(tmp_path), tmp_path / "out")
