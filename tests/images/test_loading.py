"""A folder of pictures, good and bad, through `ImageSet.load`; every bad file is made here."""

import json
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet, to_uint8


def gradient(width=16, height=16):
    x, y = np.meshgrid(np.arange(width), np.arange(height))
    return np.stack([x * 255 // max(1, width - 1), y * 255 // max(1, height - 1), (x + y) % 256], -1).astype(np.uint8)


def save(path, array=None, **options):
    Image.fromarray(gradient() if array is None else array).save(path, **options)
    return path


def png(width, height, depth, colour, raw):
    """A PNG by hand: signature, header, one data chunk, end."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def only(path, resolution=16):
    """The one picture's 8-bit pixels as [h, w, 3]."""
    images = ImageSet.load(path, resolution)
    assert images.pixels.shape == (1, 3, resolution, resolution)
    assert images.pixels.dtype == torch.float32
    return to_uint8(images.pixels[0]).permute(1, 2, 0).numpy()


def test_right_size_is_taken_as_it_is(tmp_path):
    for suffix in ("png", "bmp", "tiff"):
        assert (only(save(tmp_path / f"a.{suffix}")) == gradient()).all()
    assert (only(save(tmp_path / "a.webp", lossless=True)) == gradient()).all()
    assert abs(only(save(tmp_path / "a.jpg", quality=95)).astype(int) - gradient()).mean() < 12
    named_wrongly = save(tmp_path / "b.png").rename(tmp_path / "b.jpg")
    assert (only(named_wrongly) == gradient()).all()


def test_names_captions_and_repeats(tmp_path):
    for name in ("b.png", "a.jpg", "c.png", "d.PNG"):
        save(tmp_path / name, format="PNG")
    (tmp_path / "a.txt").write_text("\ufeffein Kätzchen \n", encoding="utf-8")
    rows = [{"file_name": "a.jpg", "text": "not this"}, {"file_name": "b.png", "text": "a dog"}, {"file_name": "d.PNG"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n")
    (tmp_path / "10_sks cat").mkdir()
    save(tmp_path / "10_sks cat" / "a.png")
    (tmp_path / "10_sks cat" / "a.txt").write_text("sks cat")
    images = ImageSet.load(tmp_path, 16)
    assert images.names == ("10_sks cat/a.png", "a.jpg", "b.png", "c.png", "d.PNG")
    assert images.captions == ("sks cat", "ein Kätzchen", "a dog", None, None)
    assert images.repeats == (10, 1, 1, 1, 1)
    (warning,) = images.warnings
    assert "different captions for a.jpg: that of the text file is used" in warning


def test_only_kohya_subfolders_are_read(tmp_path):
    for folder in ("3_x", "other", "0_off", "10_"):
        (tmp_path / folder).mkdir()
        save(tmp_path / folder / "a.png")
    images = ImageSet.load(tmp_path, 16)
    assert images.names == ("3_x/a.png",)
    assert any("10_, other" in line for line in images.warnings)
    assert any("0_off" in line for line in images.warnings)


def test_foreign_files_get_one_warning(tmp_path):
    save(tmp_path / "a.png")
    for name in ("notes.md", "README.txt", "model.safetensors"):
        (tmp_path / name).write_text("x")
    (tmp_path / ".DS_Store").write_text("x")
    (line,) = ImageSet.load(tmp_path, 16).warnings
    assert all(name in line for name in ("notes.md", "README.txt", "model.safetensors"))
    assert ".DS_Store" not in line


def test_paths_and_files(tmp_path):
    (tmp_path / "x").mkdir()
    one, two, three = save(tmp_path / "z.png"), save(tmp_path / "a.png"), save(tmp_path / "x" / "a.png")
    assert ImageSet.load(one, 16).names == ("z.png",)
    assert ImageSet.load([one, two], 16).names == ("a.png", "z.png")
    assert len(set(ImageSet.load([two, three], 16).names)) == 2
    with pytest.raises(BadInput, match="named twice"):
        ImageSet.load([one, one], 16)
    with pytest.raises(BadInput, match="does not exist"):
        ImageSet.load([one, tmp_path / "gone.png"], 16)


def test_missing_and_empty(tmp_path):
    with pytest.raises(BadInput, match=r"nowhere does not exist; check"):
        ImageSet.load(tmp_path / "nowhere", 16)
    with pytest.raises(BadInput, match="holds no PNG"):
        ImageSet.load(tmp_path, 16)
    with pytest.raises(BadInput, match="empty"):
        ImageSet.load([], 16)
    (tmp_path / "a.heic").write_text("x")
    with pytest.raises(BadInput, match=r"a\.heic"):
        ImageSet.load(tmp_path, 16)
    with pytest.raises(ValueError, match="resolution"):
        ImageSet.load(tmp_path, 0)


def spoil(folder):
    """One bad file of each kind beside a good one; returns what each line of the refusal must say."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    whole = save(folder / "good.png", noise).read_bytes()
    jpeg = save(folder / "cut.jpg", noise).read_bytes()
    (folder / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (folder / "cut.png").write_bytes(whole[: len(whole) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.png").write_text("this is a text")
    (folder / "wide.png").write_bytes(png(50_000, 10, 8, 0, b"\0" * 100))
    (folder / "bomb.png").write_bytes(png(12_000, 12_000, 8, 2, b"\0" * 100))
    (folder / "huge.png").write_bytes(png(29_000, 29_000, 8, 2, b"\0" * 100))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 0xFF
    (folder / "flipped.png").write_bytes(flipped)
    save(folder / "dot.png", gradient(1, 1))
    (folder / "good.txt").write_bytes(b"caf\xe9")
    (folder / "metadata.jsonl").write_text('{"file_name": "gone.png", "text": "x"}\n{"file_name":\n[1]\n')
    return {
        "cut.jpg": "cut short",
        "cut.png": "cut short",
        "flipped.png": "damaged",
        "empty.png": "is not a PNG",
        "text.png": "is not a PNG",
        "wide.png": "50000x10",
        "bomb.png": "12000x12000",
        "huge.png": "megapixels",
        "dot.png": "1x1 pixels, too small for 64",
        "good.txt": "UTF-8",
        "metadata.jsonl": "gone.png",
    }


def test_every_bad_file_is_named_at_once(tmp_path):
    expected = spoil(tmp_path)
    with pytest.raises(BadInput) as caught:
        ImageSet.load(tmp_path, 64)
    head, *lines = str(caught.value).splitlines()
    assert head.startswith("13 problems among the 10 pictures in ")
    assert len(lines) == 13
    for name, reason in expected.items():
        mine = [line for line in lines if line.strip().startswith(f"{name}: ")]
        assert any(reason in line for line in mine), name
        assert all(";" in line for line in mine), "each line has its remedy"
    assert not any("good.png" in line for line in lines)


def test_skip_bad_keeps_the_rest(tmp_path):
    expected = spoil(tmp_path)
    images = ImageSet.load(tmp_path, 64, skip_bad=True)
    assert images.names == ("good.png",)
    assert all(any(name in line for line in images.warnings) for name in expected)
    (tmp_path / "good.png").unlink()
    with pytest.raises(BadInput, match="none of the 9 pictures"):
        ImageSet.load(tmp_path, 64, skip_bad=True)


def test_no_permission(tmp_path, monkeypatch):
    path = save(tmp_path / "a.png")

    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(BadInput, match=r"a\.png: it may not be read; change its permissions"):
        ImageSet.load(path, 16)


def test_limits_are_where_they_are_said_to_be(tmp_path):
    for side, good in ((8, True), (7, False)):
        path = save(tmp_path / f"{side}.png", gradient(side, 200))
        if good:
            (note, ratio) = ImageSet.load(path, 64).warnings
            assert "8.png (8x200)" in note
            assert "enlarged" in note
            assert "8.png (8x200)" in ratio
        else:
            with pytest.raises(BadInput, match="too small"):
                ImageSet.load(path, 64)
    (tmp_path / "long.png").write_bytes(png(30_000, 8, 1, 0, b"\0" * 3751 * 8))
    assert len(ImageSet.load(tmp_path / "long.png", 64)) == 1
    (tmp_path / "long.png").write_bytes(png(30_001, 8, 1, 0, b"\0" * 3752 * 8))
    with pytest.raises(BadInput, match="30001x8"):
        ImageSet.load(tmp_path / "long.png", 64)


def test_aspect_warning_begins_above_two(tmp_path):
    assert ImageSet.load(save(tmp_path / "a.png", gradient(32, 16)), 16).warnings == ()
    (line,) = ImageSet.load(save(tmp_path / "b.png", gradient(33, 16)), 16).warnings
    assert "b.png (33x16)" in line


def test_resize_then_crop_of_the_centre(tmp_path):
    array = np.zeros((40, 80, 3), np.uint8)
    array[:, 20:60] = (200, 100, 50)
    path = save(tmp_path / "a.png", array)
    seen = only(path, 20)
    assert (abs(seen[:, 3:-3].astype(int) - (200, 100, 50)) <= 1).all(), "only the centre square is left"
    reference = Image.fromarray(gradient(90, 60)).resize((30, 20), Image.Resampling.LANCZOS).crop((5, 0, 25, 20))
    seen = only(save(tmp_path / "b.png", gradient(90, 60)), 20)
    assert abs(seen.astype(int) - np.asarray(reference)).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, orientation):
    upright = gradient(24, 16)
    # How a camera stores it: the inverse of what each EXIF value asks the viewer to do.
    stored = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: np.rot90(a, 2).transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = only(save(tmp_path / "a.png", np.ascontiguousarray(stored), exif=exif))
    assert (seen == upright[:, 4:20]).all()


def test_alpha_is_composited_on_white(tmp_path):
    rgba = np.dstack([gradient(), np.full((16, 16), 255, np.uint8)])
    rgba[:8, :, 3] = 0
    rgba[8, :] = (0, 0, 0, 128)
    seen = only(save(tmp_path / "a.png", rgba))
    assert (seen[:8] == 255).all()
    assert (abs(seen[8].astype(int) - 127) <= 1).all()
    assert (seen[9:] == gradient()[9:]).all()


def test_palette_with_alpha(tmp_path):
    image = Image.new("P", (16, 16), 0)
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    for x in range(16):
        image.putpixel((x, 0), 1)
        image.putpixel((x, 1), 2)
    image.save(tmp_path / "a.png", transparency=bytes([255, 0, 128]))
    seen = only(tmp_path / "a.png")
    assert (seen[2:] == (255, 0, 0)).all()
    assert (seen[0] == 255).all()
    assert (abs(seen[1].astype(int) - (127, 127, 255)) <= 1).all()


@pytest.mark.parametrize("mode", ["L", "LA", "1"])
def test_grey(tmp_path, mode):
    grey = Image.fromarray(gradient()).convert("L").convert(mode)
    grey.save(tmp_path / "a.png")
    assert (only(tmp_path / "a.png") == np.asarray(grey.convert("L"))[..., None]).all()


def test_cmyk(tmp_path):
    ink = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    ink.save(tmp_path / "cyan.tif")
    assert (only(tmp_path / "cyan.tif") == (0, 255, 255)).all()
    ink.save(tmp_path / "cyan.jpg", quality=95)
    assert b"Adobe" in (tmp_path / "cyan.jpg").read_bytes()[:300], "stored inverted, and marked so"
    assert (abs(only(tmp_path / "cyan.jpg").astype(int) - (0, 255, 255)) <= 3).all()


def test_sixteen_bits_are_scaled(tmp_path):
    wide = np.random.default_rng(0).integers(0, 65536, (16, 16)).astype(np.uint16)
    wide[0, :2] = 0, 65535
    expected = (wide / 65535 * 255).round()
    for suffix in ("png", "tif"):
        Image.fromarray(wide).save(tmp_path / f"a.{suffix}")
        assert (only(tmp_path / f"a.{suffix}")[..., 1] == expected).all()
    rows = b"".join(b"\0" + np.repeat(row[:, None], 3, 1).astype(">u2").tobytes() for row in wide)
    (tmp_path / "rgb.png").write_bytes(png(16, 16, 16, 2, rows))
    assert (abs(only(tmp_path / "rgb.png")[..., 0] - expected) <= 1).all()
    Image.fromarray(wide.astype(np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(BadInput, match="no fixed range"):
        ImageSet.load(tmp_path / "f.tif", 16)


def test_first_frame_with_a_warning(tmp_path):
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for suffix in ("gif", "webp", "tif"):
        path = tmp_path / f"a.{suffix}"
        options = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
        images = ImageSet.load(path, 16)
        assert (to_uint8(images.pixels[0, :, 0, 0]) == torch.tensor([255, 0, 0])).all()
        (line,) = images.warnings
        assert path.name in line
