"""A watched fine-tune: the same weights, a curve that survives a kill, the best step kept, a stop where asked."""

import dataclasses
import functools

import pytest
import torch

from adapt_scenes import model, same, training_set, weights
from intaglio.adapt import watching
from intaglio.adapt.corruption import Judgement
from intaglio.adapt.methods.dreambooth import DreamBooth
from intaglio.adapt.methods.lora import LoRATuning
from intaglio.adapt.settings import Watch
from intaglio.errors import BadInput
from intaglio.metrics.quality import roughness
from intaglio.metrics.similarity.measures import load_similarity
from intaglio.runs.run import Run
from intaglio.sampling.loop import sample

STEPS = 6
METHODS = {
    "dreambooth": DreamBooth(steps=STEPS, learning_rate=1e-3),
    "averaged": DreamBooth(steps=STEPS, learning_rate=1e-3, ema=0.5, gradient_checkpointing=True),
    "bayesian": DreamBooth(steps=STEPS, batch=2, micro_batch=1, learning_rate=1e-3, bayesian=True, kl_weight=1e-3),
    "lora": LoRATuning(steps=STEPS, learning_rate=1e-2, bayesian=True),
}
every_method = pytest.mark.parametrize("name", METHODS)
WATCH = Watch(sample_count=0, checkpoint_every=4, watch_every=2, watch_count=2, watch_steps=2)
BEST = dataclasses.replace(WATCH, keep="best")


@pytest.fixture(autouse=True)
def ssim(monkeypatch):
    monkeypatch.setattr(
        watching, "load_similarity", lambda name, _: load_similarity("ssim" if name == "embedded" else name)
    )


def opened(root):
    return Run.open(root, "finetune", "x", {}, {}, seed=0, device="cpu", command=(), progress="none")


def call(name, run, watch):
    found = METHODS[name](model(), training_set(3), run=run, watch=watch)
    return found, {key: value.clone() for key, value in weights(found.model).items()}


@functools.cache
def undisturbed(name, keep):
    """A whole call: tests only read what it gives."""
    return call(name, Run.none(), dataclasses.replace(WATCH, keep=keep))


@pytest.fixture(scope="module", autouse=True)
def _forgotten():
    yield
    undisturbed.cache_clear()


@every_method
def test_watching_changes_no_bit(name):
    seen, watched = undisturbed(name, WATCH.keep)
    _, unseen = call(name, Run.none(), Watch(sample_count=0))
    assert same(watched, unseen)
    assert [now.step for now in seen.trained.curve] == [0, 2, 4, 6]
    assert seen.trained.kept is None


@every_method
def test_the_best_step_is_kept_as_if_the_run_had_ended_there(name, monkeypatch):
    scores = iter((0.1, 0.2, 0.9, 0.3))
    judge = watching.Judge._judged
    monkeypatch.setattr(
        watching.Judge, "_judged", lambda *args: dataclasses.replace(judge(*args), fidelity=next(scores))
    )
    found, kept = call(name, Run.none(), BEST)
    assert found.trained.kept == 4
    short = dataclasses.replace(METHODS[name], steps=4)
    ended = weights(short(model(), training_set(3)).model)
    assert same(kept, ended)


@every_method
def test_what_is_judged_at_the_end_is_what_is_exported(name):
    """Means and averages, never a draw of the random weights."""
    found, _ = undisturbed(name, WATCH.keep)
    watcher = watching.Judge(found.model, training_set(3), METHODS[name], Run.none(), WATCH)
    watcher.curve = [found.trained.curve[0]]
    exported = sample(
        found.model, watcher._prompts, watcher._seeds, sampler=watching.SAMPLER, steps=2, guidance_scale=5.0
    )
    again, last = (
        dataclasses.replace(watcher._judged(STEPS, exported.pixels), **dataclasses.asdict(watcher._probed())),
        found.trained.curve[-1],
    )
    assert dataclasses.astuple(again) == pytest.approx(dataclasses.astuple(last), rel=1e-3, abs=1e-4)


@every_method
@pytest.mark.parametrize("at", [3, 5])
def test_a_killed_watch_goes_on_with_its_curve_and_ends_with_the_same_step(tmp_path, monkeypatch, name, at):
    expected, bits = undisturbed(name, BEST.keep)
    log = Run.log

    def dying(self, stream, step, **numbers):
        log(self, stream, step, **numbers)
        if stream == "train" and step == at:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, opened(tmp_path / "killed") as run:
        patch.setattr(Run, "log", dying)
        with pytest.raises(KeyboardInterrupt):
            call(name, run, BEST)
    with opened(tmp_path / "killed") as run:
        found, again = call(name, run, BEST)
        assert [row["step"] for row in run.logged("watch")] == [0, 2, 4, 6]
    assert found.trained.curve == expected.trained.curve
    assert found.trained.kept == expected.trained.kept
    assert same(bits, again)


def test_it_stops_where_asked_and_stays_stopped(tmp_path, monkeypatch):
    likeness = {0: 0.9, 1: 0.9, 2: 0.9, 3: 0.5, 4: 0.5, 5: 0.9, 6: 0.9}

    def judged(self, step, pictures):
        return Judgement(step, likeness[step], 0.0, likeness[step], 0.0, 0.5)

    monkeypatch.setattr(watching.Judge, "_judged", judged)
    watch = dataclasses.replace(WATCH, watch_every=1)
    found, _ = call("dreambooth", Run.none(), watch)
    assert len(found.losses) == STEPS
    watch = dataclasses.replace(watch, on_corruption="stop", keep="best")
    with opened(tmp_path) as run:
        found, bits = call("dreambooth", run, watch)
        assert any("corruption stage since step 3" in warning for warning in run.warnings)
    assert (len(found.losses), found.trained.kept) == (4, 1)
    assert len(found.to_frame()) == 4
    with opened(tmp_path) as run, monkeypatch.context() as patch:
        patch.setattr("intaglio.adapt.training.accumulate", None)
        _, again = call("dreambooth", run, watch)
    assert same(bits, again)
    saved = found.save(tmp_path / "out")
    card = (saved.parent / "README.md").read_text()
    assert "of step 1, which was judged best" in card
    assert "Corruption stage: from step 3 to 4" in card


def test_what_a_judgement_says(tmp_path):
    data = training_set(3)
    with opened(tmp_path) as run:
        found = DreamBooth(steps=2, learning_rate=1e-2)(model(), data, run=run, watch=WATCH)
        files = sorted(path.name for path in (tmp_path / run.name / "images" / "watch").iterdir())
    assert files == ["000000.png", "000002.png"]
    ssim = load_similarity("ssim")
    watcher = watching.Judge(model(), data, DreamBooth(steps=2), Run.none(), WATCH)
    watcher.curve = [found.trained.curve[0]]
    pictures = torch.rand(4, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    now = watcher._judged(7, pictures)
    assert now.fidelity == pytest.approx(float(ssim.matrix(pictures, data.images.pixels).max(1).values.mean()))
    usual = max(float(roughness(data.images.pixels).mean()), found.trained.curve[0].roughness)
    assert now.quality == pytest.approx(float((usual / roughness(pictures)).clamp(max=1).mean()))
    assert 0 < now.quality < 1
    own = ssim.matrix(pictures, pictures)
    assert now.diversity == pytest.approx(1 - float(own.sum() - 4) / 12, abs=1e-5)


def test_likeness_is_measured_as_asked():
    with pytest.raises(BadInput, match="no similarity called nowhere"):
        call("lora", Run.none(), dataclasses.replace(WATCH, watch_similarity="nowhere"))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"watch_every": -1}, "watch_every must not be negative"),
        ({"watch_count": 1}, "watch_count must be at least 2"),
        ({"watch_steps": 0}, "watch_steps must be at least 1"),
        ({"keep": "best"}, "keep best needs judgements"),
        ({"on_corruption": "stop"}, "on_corruption stop needs judgements"),
    ],
)
def test_what_cannot_be_watched_is_refused(changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        Watch(**changes)


def test_the_interval_follows_the_pictures_and_the_steps():
    usual = Watch(watch_every=None)
    assert [usual.interval(*case) for case in ((1, 5000), (10, 5000), (10, 1000), (1, 4))] == [100, 400, 100, 1]
    assert (Watch().interval(3, 100), Watch(watch_every=7).interval(3, 100)) == (0, 7)
