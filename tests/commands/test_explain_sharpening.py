"""`intaglio explain sharpening` from the command line to its report and file, and what it refuses."""

import pytest

import tiny
from intaglio.cli import main
from intaglio.explain.sharpening.result import ENCODER_FILE, SharpenedEncoder
from intaglio.images.image_set import save_png
from intaglio.metrics.similarity.encoder import save_encoder
from intaglio.metrics.similarity.measures import load_similarity
from sharpening_scenes import blind_encoder, blue_pictures

QUICK = (
    "--generator-steps 2 --encoder-steps 2 --encoder-rate 0.01 --rows 4 --width 4 --copies 1 --resolution 16 --quiet"
)


def test_an_encoder_is_sharpened_and_sharpened_again(tmp_path, capsys):
    images, _, _ = blue_pictures(14)
    for name, pixels in zip(images.names, images.pixels, strict=True):
        save_png(pixels, tmp_path / "pictures" / f"{name}.png")
    save_encoder(blind_encoder(), tmp_path / "blind.safetensors")
    tiny.sd_folder(tmp_path / "model")
    words = f"explain sharpening genhancer --images {tmp_path}/pictures --model {tmp_path}/model {QUICK}".split()
    where = ["--runs", str(tmp_path / "runs"), "--network"]
    assert main([*words, *where, str(tmp_path / "blind.safetensors")]) == 0
    said = capsys.readouterr().out
    (run,) = (tmp_path / "runs").glob("explain-sharpening-genhancer-*")
    found = SharpenedEncoder.load(run)
    assert found.statement in said
    assert found.of == "blind.safetensors"
    assert "Another encoder" in (run / "report.html").read_text()
    assert not list(run.glob("states/*"))
    assert load_similarity(run / ENCODER_FILE).embed(images.pixels).shape == (14, 8)
    assert main([*words, *where, str(run / ENCODER_FILE)]) == 0
    assert len(list((tmp_path / "runs").glob("explain-sharpening-genhancer-*"))) == 2


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--network", "nowhere.safetensors"), "nowhere.safetensors does not exist"),
        (("--network", __file__), "is no encoder that can be sharpened"),
        (("--resolution", "8"), "resolution must be 16 or more, not 8"),
    ],
)
def test_bad_input_is_told(tmp_path, capsys, given, words):
    images, _, _ = blue_pictures(1)
    save_png(images.pixels[0], tmp_path / "a.png")
    assert main(["explain", "sharpening", "genhancer", "--images", str(tmp_path), *given, "--runs", str(tmp_path)]) == 2
    assert words in " ".join(capsys.readouterr().err.split())
