"""`intaglio explain encodings` from the command line to its report and its files, and what it refuses."""

import csv

import pytest
import torch

import feature_scenes
import tiny
from intaglio.cli import main
from intaglio.errors import IntaglioError
from intaglio.explain.encodings.result import PictureEncodings
from intaglio.explain.picture_columns import read_features
from intaglio.images.image_set import ImageSet, save_png

FEW = "--numbers 8 --width 8 --steps 2 --batch 4 --levels 3 --pairs 1 --swap-steps 2 --folds 2 --quiet"


def write_inputs(folder) -> ImageSet:
    images, labels = feature_scenes.labelled()
    for name, pixels in zip(images.names, images.pixels, strict=True):
        save_png(pixels, folder / "pictures" / name)
    lines = [f"{name},{light}" for name, light in zip(images.names, labels["light"], strict=True)]
    (folder / "l.csv").write_text("\n".join(["picture,light", *lines]))
    tiny.sd_folder(folder / "model")
    return images


def test_pictures_get_codes_an_encoder_and_a_report(tmp_path, capsys):
    images = write_inputs(tmp_path)
    words = f"explain encodings diti --parts 2 --model {tmp_path}/model --images {tmp_path}/pictures {FEW}"
    further = f"--labels {tmp_path}/l.csv --runs {tmp_path}/runs"
    assert main([*words.split(), *further.split()]) == 0
    said = capsys.readouterr().out
    (run,) = (tmp_path / "runs").glob("explain-encodings-diti-*")
    found = PictureEncodings.load(run)
    assert found.statement in said
    rows = torch.from_numpy(read_features(run / "codes.csv", images.names)).float()
    mine = torch.stack([found.codes[found.names.index(name)] for name in images.names])
    torch.testing.assert_close(rows, mine)
    loaded = ImageSet.load(tmp_path / "pictures", tiny.RESOLUTION)
    torch.testing.assert_close(found.encoder(loaded.pixels), mine, atol=1e-5, rtol=1e-4)
    with (run / "slots.csv").open() as table:
        assert [row["slot"] for row in csv.DictReader(table)] == ["1", "2", "all"]
    page = (run / "report.html").read_text()
    assert "early slots of" in page
    assert page.count("<img") >= 6
    assert main([*words.split(), *further.split()]) == 0  # the second time it is found


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--columns", "kind"), "--columns and --group are of labels; give --labels FILE"),
        (("--labels", "{l}", "--columns", "kind"), "has no column kind for --columns; it has: light"),
        (("--levels", "0"), "levels must be at least 1, not 0"),
        (("--levels", "2000"), "give --levels 1000 or fewer"),
    ],
)
def test_bad_input_is_told(tmp_path, capsys, given, words):
    write_inputs(tmp_path)
    given = [one.replace("{l}", f"{tmp_path}/l.csv") for one in given]
    line = f"explain encodings one-slot --model {tmp_path}/model --images {tmp_path}/pictures --runs {tmp_path}/runs"
    assert main([*line.split(), *given]) == 2
    assert words in " ".join(capsys.readouterr().err.split())


def test_a_damaged_result_is_told(tmp_path):
    (tmp_path / PictureEncodings.file).write_bytes(b"nothing")
    with pytest.raises(IntaglioError, match="damaged"):
        PictureEncodings.load(tmp_path)
    assert PictureEncodings.load(tmp_path / "nowhere") is None
