import shutil
from pathlib import Path

import pytest

from embedded_pair import embedded_pair
from intaglio.commands.kit.png_settings import PictureSettings, place
from intaglio.commands.sample import Sample
from intaglio.errors import BadInput
from intaglio.models import embedded_models
from intaglio.sampling.methods.plain import Plain


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """A picture by the model `little`, which is known by its name alone."""
    embedded_pair(monkeypatch, tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    command = Sample(method=Plain(), model=Path("little"), prompt=("dog",), seed=3, steps=2, out=Path("out"))
    assert command() == 0
    return tmp_path / "out/dog-3.png"


def test_a_picture_names_the_model_and_any_installation_finds_it(drawn, monkeypatch, tmp_path, capsys):
    recorded = PictureSettings.read(drawn)
    assert (recorded.model.name, recorded.model.path) == ("little", "embedded:little")
    moved = tmp_path / "elsewhere/deep/a.png"
    moved.parent.mkdir(parents=True)
    shutil.move(drawn, moved)
    (moved.parent / "little").mkdir()  # is not what is meant
    shutil.move(tmp_path / "package", tmp_path / "other")
    monkeypatch.setattr(embedded_models, "FOLDER", tmp_path / "other")
    assert Sample(method=Plain(), replay=moved, out=Path("again"))() == 0
    assert "values are the same" in capsys.readouterr().out


def test_a_package_without_the_model_says_so(drawn, tmp_path):
    shutil.rmtree(tmp_path / "package/little")
    with pytest.raises(BadInput, match=r"no model at .*little, with which .* was drawn; give it by --model"):
        Sample(method=Plain(), replay=drawn)()


def test_a_folder_of_that_name_is_a_path(monkeypatch, tmp_path):
    embedded_pair(monkeypatch, tmp_path / "package")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "little").mkdir()
    assert place(Path("little"), tmp_path / "out") == "../little"


def test_a_scene_s_prompt_is_refused_before_anything_is_drawn(monkeypatch, tmp_path):
    embedded_pair(monkeypatch, tmp_path / "package")
    search = {"search": "random", "budget": 8, "search_verifier": "scene", "steps": 2}
    with pytest.raises(BadInput, match="'dog' is no caption of a scene"):
        Sample(method=Plain(), model=Path("little"), prompt=("a red circle", "dog"), out=tmp_path / "out", **search)()
    assert not (tmp_path / "out").exists()
