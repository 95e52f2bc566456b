"""Pictures given back: geometry, EXIF, transparency, profile and mode as they were; what cannot be is said."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from intaglio.errors import BadInput
from intaglio.protect.originals import NOTES, read_originals

RANDOM = np.random.default_rng(0)
PIXELS = RANDOM.integers(0, 256, (20, 30, 4), np.uint8)
RGB = Image.fromarray(PIXELS[..., :3], "RGB")
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif(orientation=1):
    made = Image.Exif()
    made[0x0112], made[0x010E] = orientation, "a hand's own words"
    return made


def one(folder, name="a.png", resolution=64):
    (found,), warnings = read_originals(folder, resolution)
    assert not warnings
    assert found.name == name
    return found


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.bmp"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_a_picture_comes_back_bit_for_bit(tmp_path, name, mode):
    if (name, mode) in (("a.bmp", "RGBA"), ("a.webp", "L")):
        return  # these formats have no such pictures
    picture = Image.fromarray(PIXELS, "RGBA").convert(mode)
    (tmp_path / "in").mkdir()
    picture.save(tmp_path / "in" / name, **({"lossless": True, "exact": True} if name == "a.webp" else {}))
    found = one(tmp_path / "in", name)
    saved = found.save(found.pixels, tmp_path / "out")
    assert saved == tmp_path / "out" / name
    with Image.open(saved) as again:
        assert again.mode == mode
        assert np.array_equal(np.asarray(again), np.asarray(picture))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_it_is_worked_on_upright_and_stored_as_it_was(tmp_path, orientation):
    (tmp_path / "in").mkdir()
    RGB.save(tmp_path / "in/a.png", exif=exif(orientation))
    found = one(tmp_path / "in")
    with Image.open(tmp_path / "in/a.png") as stored:
        upright = np.asarray(ImageOps.exif_transpose(stored))
    assert np.array_equal(found.pixels, upright)
    changed = (255 - found.pixels).astype(np.uint8)
    with Image.open(found.save(changed, tmp_path / "out")) as again:
        assert again.getexif()[0x0112] == orientation
        assert np.array_equal(np.asarray(again), 255 - np.asarray(RGB))
        assert np.array_equal(np.asarray(ImageOps.exif_transpose(again)), changed)


def test_exif_profile_and_resolution_stay(tmp_path):
    (tmp_path / "in").mkdir()
    RGB.save(tmp_path / "in/a.png", exif=exif(), icc_profile=PROFILE, dpi=(300, 300))
    found = one(tmp_path / "in")
    with Image.open(found.save(found.pixels, tmp_path / "out")) as again:
        assert again.getexif()[0x010E] == "a hand's own words"
        assert again.info["icc_profile"] == PROFILE
        assert again.info["dpi"] == pytest.approx((300, 300), abs=0.1)


def test_a_format_that_loses_is_given_back_as_png_and_said(tmp_path):
    (tmp_path / "in/10_deep").mkdir(parents=True)
    RGB.save(tmp_path / "in/10_deep/a.jpg", exif=exif(6), quality=90)
    found = one(tmp_path / "in", "10_deep/a.jpg")
    assert found.notes == {"lossy"}
    assert "PNG" in NOTES["lossy"]
    saved = found.save(found.pixels, tmp_path / "out")
    assert saved == tmp_path / "out/10_deep/a.png"
    with Image.open(saved) as again, Image.open(tmp_path / "in/10_deep/a.jpg") as first:
        assert np.array_equal(np.asarray(again), np.asarray(first.convert("RGB")))
        assert again.getexif()[0x0112] == 6


def test_other_modes_are_read_and_said(tmp_path):
    (tmp_path / "in").mkdir()
    wide = (PIXELS[..., 0].astype(np.uint16) << 8) | PIXELS[..., 1]
    Image.fromarray(wide).save(tmp_path / "in/wide.png")
    RGB.quantize(16).save(tmp_path / "in/few.png")
    RGB.convert("CMYK").save(tmp_path / "in/print.tif")
    found = {one.name: one for one in read_originals(tmp_path / "in", 64)[0]}
    assert {name: set(one.notes) for name, one in found.items()} == {
        "wide.png": {"sixteen bits"},
        "few.png": {"palette"},
        "print.tif": {"cmyk"},
    }
    assert found["wide.png"].grey
    assert all(one.pixels.shape == (20, 30, 3) for one in found.values())


@pytest.mark.parametrize("mode", ["RGB", "CMYK", "P", "YCbCr", "LAB", "1", "I;16"])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_a_tiff_keeps_what_speaks_of_the_picture_and_not_how_its_file_was_laid_out(tmp_path, mode, compression):
    (tmp_path / "in").mkdir()
    picture = Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257) if mode == "I;16" else RGB.convert(mode)
    picture.save(tmp_path / "in/a.tif", compression=compression, description="a hand's own words")
    found = one(tmp_path / "in", "a.tif")
    changed = np.ascontiguousarray(255 - found.pixels)
    with Image.open(found.save(changed, tmp_path / "out")) as again:
        assert np.array_equal(np.asarray(again.convert("RGB")), changed)
        assert again.getexif()[270] == "a hand's own words"


@pytest.mark.parametrize("depth", [8, 16])
def test_a_png_of_sixteen_bits_in_colour_is_said(tmp_path, depth):
    (tmp_path / "in").mkdir()
    raw = b"".join(b"\0" + bytes(20 * 3 * depth // 8) for _ in range(20))
    header = struct.pack(">IIBBBBB", 20, 20, depth, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(raw)), (b"IEND", b""))
    packed = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks
    )
    (tmp_path / "in/a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + packed)
    assert one(tmp_path / "in").notes == ({"sixteen bits"} if depth == 16 else set())


def test_transparency_is_given_back_and_colour_below_it_too(tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(PIXELS, "RGBA").save(tmp_path / "in/a.png")
    found = one(tmp_path / "in")
    changed = (found.pixels ^ 1).astype(np.uint8)
    with Image.open(found.save(changed, tmp_path / "out")) as again:
        assert np.array_equal(np.asarray(again)[..., 3], PIXELS[..., 3])
        assert np.array_equal(np.asarray(again)[..., :3], PIXELS[..., :3] ^ 1)


def test_all_pictures_that_cannot_be_used_are_named_at_once(tmp_path):
    frames = [RGB, RGB.rotate(90)]
    frames[0].save(tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    Image.new("RGB", (5, 100)).save(tmp_path / "thin.png")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    RGB.save(tmp_path / "good.png")
    with pytest.raises(BadInput) as refused:
        read_originals(tmp_path, 64)
    for words in (
        "3 pictures",
        "moving.gif: it has several frames",
        "thin.png: it is 5x100 pixels, too small",
        "bad.png",
    ):
        assert words in str(refused.value)


def test_what_is_passed_over_is_said(tmp_path):
    RGB.save(tmp_path / "a.png")
    (tmp_path / "b.txt").write_text("x")
    (tmp_path / "deep").mkdir()
    RGB.save(tmp_path / "deep/c.png")
    found, warnings = read_originals(tmp_path, 64)
    assert len(found) == 1
    assert "deep" in " ".join(warnings)


def test_two_that_would_share_a_name_are_refused(tmp_path):
    for name in ("a.jpg", "a.png"):
        RGB.save(tmp_path / name)
    with pytest.raises(BadInput, match=r"a\.jpg and a\.png would both be given back as a\.png; rename"):
        read_originals(tmp_path, 64)
