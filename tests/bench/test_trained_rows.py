import pytest
import torch

import tiny
from intaglio.bench.sample import bench as trained_bench
from intaglio.bench.sample import trained_rows as rows_of
from intaglio.bench.sample.bench import SampleBench
from intaglio.bench.sample.trained_rows import TrainedParts, student_figures, student_sampling, trained_rows
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet
from intaglio.models.diffusion.baked_sampling import BakedSampling
from intaglio.models.diffusion.loading import load_model
from intaglio.sampling.calls import Calls
from intaglio.sampling.starts.analytic import AnalyticStart
from intaglio.sampling.starts.transport import TransportStart


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return load_model(tiny.sd_folder(tmp_path_factory.mktemp("models") / "base"))


@pytest.fixture
def parts(model, tmp_path):
    pictures = ImageSet.from_pixels(tiny.pixels(2), captions=["dog", "cat"])
    return TrainedParts(model, pictures, tmp_path, quick=True, seed=0, device="cpu", progress="none")


def test_a_student_is_trained_once_and_found_again_by_another_bench(parts, monkeypatch):
    student, calls = parts.student("guided")
    assert student.sampling.timesteps == (999, 749, 499, 249)
    assert calls.backward == 8 * (10 + 5 + 5)
    monkeypatch.setattr(rows_of, "distil", None)
    again, same = parts.student("guided")
    assert (again.fingerprint, same) == (student.fingerprint, calls)


def test_starts_are_the_pictures_moments_and_states_for_their_captions(parts, model, monkeypatch):
    analytic = parts.start("analytic")
    assert isinstance(analytic, AnalyticStart)
    assert analytic.first == 800
    assert torch.allclose(analytic.moments.mean.float(), model.encode(parts.pictures.pixels).mean(0), atol=1e-4)
    ot = parts.start("ot")
    assert isinstance(ot, TransportStart)
    assert list(ot.part.settings["prompts"]) == ["dog", "cat"]
    assert ot.part.settings["scale"] == 4.0
    assert parts.start("ot").hash == ot.hash


def test_rows_of_nothing_are_none_and_the_model_stands_beside_any():
    assert trained_rows((), ()) == {}
    assert list(trained_rows(("guided",), ("ot",)))[-3:] == [
        "plain guidance 4 steps 20",
        "student guided",
        "start ot steps 8",
    ]


def test_students_are_drawn_at_the_scale_of_the_rows_where_they_take_it(model):
    def made_for(scales):
        return model.made_for(BakedSampling((900, 400), "ddim", "baked", scales), model.denoiser, "student")

    assert student_sampling(made_for((1.0, 8.0))) == (2, 4.0)
    assert student_sampling(made_for((5.0, 8.0))) == (2, 5.0)
    assert student_sampling(made_for((1.0, 1.0))) == (2, 1.0)


def test_a_given_student_has_a_row_of_its_own_and_another_model_is_refused(parts, model, tmp_path):
    """Rows of the model stand beside it; it counts no calls of a training that was not made here."""
    parts.student("guided")
    (folder,) = tmp_path.glob("distill-guided-*/model")
    rows = trained_rows((), (), (folder,))
    (name,) = set(rows) - set(trained_rows(("guided",), ()))
    assert (len(rows), name) == (6, f"given {folder.parent.name}/model")
    row = dict(rows[name])
    student, calls = parts.row_student(row)
    assert "given" not in row
    assert (student.sampling.timesteps, calls) == ((999, 749, 499, 249), Calls())
    with pytest.raises(BadInput, match="is no student"):
        parts.row_student({"given": str(tiny.sd_folder(tmp_path / "plain"))})
    told = {"kid": {"mean": 0.5}, "calls": 4.0, "settings": rows[name]}
    assert student_figures({name: told}) == {}


def test_figures_are_named_by_steps_and_only_the_models_own_are_its():
    def row(kid, calls, **settings):
        return {"kid": {"mean": kid}, "calls": calls, "settings": {"method": "plain", "guidance": 4.0, **settings}}

    rows = {
        "a": row(0.5, 8.0, steps=4),
        "b": row(0.3, 40.0),
        "c": row(0.2, 4.0, student="guided"),
        "d": row(0.1, 16.0, start="ot", steps=8),
        "e": row(0.9, 40.0, guidance=7.0),
        "f": row(0.8, 60.0, method="perp-neg"),
    }
    assert student_figures(rows) == {
        "base_4step_kid": 0.5,
        "base_20step_kid": 0.3,
        "guided_4step_kid": 0.2,
        "guided_calls": 4.0,
    }


@pytest.mark.parametrize("wrong", [{"students": ("nobody",)}, {"starts": ("nowhere",)}])
def test_unknown_names_are_refused_with_those_there_are(wrong, tmp_path):
    with pytest.raises(BadInput, match="guided" if "students" in wrong else "analytic, ot"):
        SampleBench(**wrong, runs=tmp_path)(progress="none")


def test_a_student_that_was_made_for_a_method_is_drawn_by_it(model, parts, tmp_path, monkeypatch):
    """Its row is drawn by the method of its `sampling.json`, which `plain` refuses."""
    sampling = BakedSampling((900, 400), "ddim", "baked", (3.0, 3.0), "loopfree")
    student = model.made_for(sampling, model.denoiser, "student")
    monkeypatch.setattr(TrainedParts, "student", lambda self, name: (student, Calls(forward=7)))
    bench = SampleBench(runs=tmp_path, prompts=2, seeds=2, batch=2)
    monkeypatch.setattr(type(bench), "_prompts", ["dog", "cat"])
    monkeypatch.setattr(trained_bench, "parted", lambda prompt: (prompt, ""))
    pixels, prompts, cost = bench._drawn({"method": "plain", "student": "tiue", "guidance": 4.0}, parts)
    assert pixels.shape[0] == 4
    assert prompts == ["dog", "dog", "cat", "cat"]
    assert (cost["calls"], cost["fit_calls"]) == (2.0, 7.0)
