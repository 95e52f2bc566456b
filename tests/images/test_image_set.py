"""`ImageSet` as a value: hashes, slices, duplicates, and pictures written and read again."""

import hashlib
import string

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, PngImagePlugin

from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet, read_png_text, save_png, to_uint8


def noise(count=4, side=8, seed=0):
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed))


def test_slices_keep_rows_together():
    images = ImageSet.from_pixels(noise(), captions=["a", None, "c", "d"])
    part = images[[2, 0]]
    assert part.names == ("0002", "0000")
    assert part.captions == ("c", "a")
    assert torch.equal(part.pixels, images.pixels[[2, 0]])
    assert part.hashes == (images.hashes[2], images.hashes[0])
    assert images[1:-1].names == ("0001", "0002")
    assert images[[-1]].names == ("0003",)
    assert len(images[:0]) == 0
    assert images[:0].duplicates(images) == []
    with pytest.raises(IndexError):
        images[[4]]


def test_wrong_columns_are_refused():
    with pytest.raises(ValueError, match="differ"):
        ImageSet.from_pixels(noise(2), names=["a", "a"])
    with pytest.raises(ValueError, match="one name"):
        ImageSet.from_pixels(noise(2), names=["a"])


def test_hash_is_of_bytes_shape_and_type():
    pixels = noise(1, 4)
    (seen,) = ImageSet.from_pixels(pixels).hashes
    array = (pixels[0].numpy().astype(np.float64) * 255).round().astype(np.uint8)
    assert seen == hashlib.sha256(b"uint8 (3, 4, 4)\n" + array.tobytes()).hexdigest()
    (other,) = ImageSet.from_pixels(pixels.reshape(1, 3, 2, 8)).hashes
    assert other != seen
    (nudged,) = ImageSet.from_pixels((pixels + 1e-6).clamp(0, 1)).hashes
    assert nudged == seen, "what rounds to the same 8 bits is the same picture"


def test_loaded_and_wrapped_have_one_hash(tmp_path):
    pixels = noise(1, 16)
    save_png(pixels[0], tmp_path / "a.png")
    loaded = ImageSet.load(tmp_path, 16)
    assert loaded.hashes == ImageSet.from_pixels(pixels).hashes
    assert torch.equal(to_uint8(loaded.pixels), to_uint8(pixels))


@given(st.lists(st.floats(-2, 3, width=32), min_size=1, max_size=20))
def test_to_uint8_rounds_and_clips(values):
    seen = to_uint8(torch.tensor(values))
    assert [abs(int(s) - min(max(v, 0), 1) * 255) <= 0.5 + 1e-4 for s, v in zip(seen, values, strict=True)]


keys = st.text(string.ascii_letters + string.digits + " é", min_size=1, max_size=79)
values = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200)


@given(text=st.dictionaries(keys, values, max_size=4))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_png_text_comes_back(tmp_path, text):
    pixels = noise(1, 3)[0]
    save_png(pixels, tmp_path / "a.png", text)
    assert read_png_text(tmp_path / "a.png") == text
    assert (np.asarray(Image.open(tmp_path / "a.png")) == to_uint8(pixels).permute(1, 2, 0).numpy()).all()


def test_png_text_of_others_and_of_nothing(tmp_path):
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("parameters", "a cat\nSteps: 20", zip=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=chunks)
    assert read_png_text(tmp_path / "a.png") == {"parameters": "a cat\nSteps: 20"}
    Image.new("RGB", (4, 4)).save(tmp_path / "b.jpg")
    for name in ("b.jpg", "gone.png"):
        with pytest.raises(BadInput, match=name):
            read_png_text(tmp_path / name)
    for key in ("", "x" * 80, "日本", "a\0b"):
        with pytest.raises(ValueError, match="key"):
            save_png(noise(1)[0], tmp_path / "c.png", {key: "v"})
    assert not (tmp_path / "c.png").exists()


def test_exact_duplicates_by_brute_force():
    pixels = noise(6)
    pixels[3], pixels[5] = pixels[1], pixels[1]
    images = ImageSet.from_pixels(pixels)
    assert images.duplicates() == [("0001", "0003"), ("0001", "0005"), ("0003", "0005")]
    assert images.duplicates(images[[1, 0]]) == [("0000", "0000"), *[(n, "0001") for n in ("0001", "0003", "0005")]]


def test_exact_duplicates_come_first():
    pixels = noise(4, 64)
    pixels[1], pixels[3] = pixels[0] * 0.98, pixels[2]
    assert ImageSet.from_pixels(pixels).duplicates() == [("0002", "0003"), ("0000", "0001")]


def test_sizes_may_differ():
    pixels = noise(2, 64)
    small = torch.nn.functional.interpolate(pixels, (32, 32), mode="area")
    assert ImageSet.from_pixels(pixels).duplicates(ImageSet.from_pixels(small)) == []
    smooth = torch.nn.functional.interpolate(small, (64, 64), mode="bilinear")
    again = torch.nn.functional.interpolate(smooth, (128, 128), mode="bilinear")
    pairs = ImageSet.from_pixels(smooth).duplicates(ImageSet.from_pixels(again))
    assert pairs == [("0000", "0000"), ("0001", "0001")]


def drawing(kind, colour="red", side=64):
    image = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(image)
    box = (side // 6, side // 6, side - side // 6, side - side // 6)
    shapes = {
        "disc": lambda: draw.ellipse(box, fill=colour),
        "square": lambda: draw.rectangle(box, fill=colour),
        "ring": lambda: draw.ellipse(box, outline=colour, width=side // 10),
        "face": lambda: (
            draw.ellipse(box, fill=colour),
            draw.ellipse((24, 24, 30, 30), fill="black"),
            draw.ellipse((38, 24, 44, 30), fill="black"),
        ),
        "bar": lambda: draw.rectangle((box[0], 28, box[2], 36), fill=colour),
        "triangle": lambda: draw.polygon([(32, 10), (54, 54), (10, 54)], fill=colour),
    }
    shapes[kind]()
    return image


def test_simple_drawings_are_not_duplicates(tmp_path):
    for kind in ("disc", "square", "ring", "face", "bar", "triangle"):
        drawing(kind).save(tmp_path / f"{kind}.png")
    drawing("disc", "blue").save(tmp_path / "blue disc.png")
    for colour in ("white", "black", "red"):
        Image.new("RGB", (64, 64), colour).save(tmp_path / f"{colour}.png")
    assert ImageSet.load(tmp_path, 64).duplicates() == []


def test_resaved_pictures_are_duplicates(tmp_path):
    face = drawing("face", "orange", 64)
    face.save(tmp_path / "a.png")
    face.save(tmp_path / "b.jpg", quality=70)
    face.save(tmp_path / "e.webp", quality=60)
    face.resize((96, 96), Image.Resampling.BICUBIC).save(tmp_path / "c.png")
    face.point(lambda v: min(255, int(v * 0.96))).save(tmp_path / "d.png")
    drawing("disc", "orange").resize((64, 64)).save(tmp_path / "other.png")
    pairs = ImageSet.load(tmp_path, 64).duplicates()
    assert {("a.png", "b.jpg"), ("a.png", "c.png"), ("a.png", "d.png"), ("a.png", "e.webp")} <= set(pairs)
    assert not any("other.png" in pair for pair in pairs)
