"""Pictures of strangers: other formats under a picture's name, long notes, odd names, captions, repeats, pipes."""

import ast
import json
import os
import re
import struct
import unicodedata
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image, PngImagePlugin

import intaglio
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet, read_png_text
from intaglio.images.picture_file import open_picture
from intaglio.report.kit.thumbnails import Album


def picture(path: Path, chunks: PngImagePlugin.PngInfo | None = None, **more) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (32, 32), "red").save(path, "PNG", pnginfo=chunks, **more)
    return path


def chunk(kind: bytes, content: bytes, checksum: bytes | None = None) -> bytes:
    sum_ = struct.pack(">I", zlib.crc32(kind + content)) if checksum is None else checksum
    return struct.pack(">I", len(content)) + kind + content + sum_


def with_chunk(path: Path, made: bytes, *, at_end: bool = False) -> Path:
    png = picture(path).read_bytes()
    place = png.index(b"IEND") - 4 if at_end else 33  # behind the header
    path.write_bytes(png[:place] + made + png[place:])
    return path


# Formats


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.eps", "x.gif"])
def test_postscript_is_never_handed_to_another_program(tmp_path, monkeypatch, name):
    started = []
    monkeypatch.setattr("subprocess.check_call", lambda *words, **_: started.append(words))
    monkeypatch.setattr("subprocess.Popen", lambda *words, **_: started.append(words))
    path = tmp_path / name
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")
    assert Album(tmp_path, 1).thumb(path) is None
    with pytest.raises(BadInput):
        ImageSet.load(path, 16)
    assert started == []


@pytest.mark.parametrize("kind", ["PPM", "TGA", "ICO", "PCX", "SGI", "JPEG2000", "PDF"])
def test_further_formats_of_the_library_are_not_tried(tmp_path, kind):
    path = tmp_path / "x.png"
    Image.new("RGB", (32, 32), "red").save(path, kind)
    assert Album(tmp_path, 1).thumb(path) is None
    with pytest.raises(BadInput, match="is not a PNG, JPEG"):
        ImageSet.load(path, 16)


def test_every_picture_is_opened_in_one_place():
    root = Path(intaglio.__file__).parent
    found = [
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("Image.open")
    ]
    # the second reads what ships, the third what it has written itself
    assert set(found) == {"images/picture_file.py", "models/testbed.py", "images/filters.py"}


def test_a_thumbnail_never_comes_from_outside_the_run(tmp_path):
    run, secret = tmp_path / "run", picture(tmp_path / "secret.png")
    inside = picture(run / "images/x.png")
    (run / "link.png").symlink_to(secret)
    (run / "way").symlink_to(tmp_path)
    album = Album(tmp_path, 9, run=run)
    assert album.thumb(inside) is not None
    for path in (secret, run / "../secret.png", run / "link.png", run / "way/secret.png"):
        assert path.is_file()
        assert album.thumb(path) is None


# Notes in a PNG


def long_texts() -> dict[str, bytes]:
    long = b"x" * 1_500_000
    return {
        "compressed itxt": chunk(b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(long)),
        "plain itxt": chunk(b"iTXt", b"workflow\0\0\0\0\0" + long),
        "ztxt": chunk(b"zTXt", b"workflow\0\0" + zlib.compress(long)),
        "text": chunk(b"tEXt", b"workflow\0" + long),
        "profile": chunk(b"iCCP", b"screen\0\0" + zlib.compress(long)),
        "no zlib": chunk(b"iCCP", b"screen\0\0none"),
        "checksum": chunk(b"tEXt", b"Comment\0hello", b"\0\0\0\0"),
        "no text at all": chunk(b"iTXt", b"x"),
        "many": chunk(b"zTXt", b"part\0\0" + zlib.compress(b"x" * 900_000)) * 80,
    }


@pytest.mark.parametrize("at_end", [False, True])
@pytest.mark.parametrize("kind", list(long_texts()))
def test_a_sound_picture_is_read_whatever_its_notes(tmp_path, kind, at_end):
    path = with_chunk(tmp_path / "a.png", long_texts()[kind], at_end=at_end)
    loaded = ImageSet.load(path, 16)
    assert loaded.pixels.mean((0, 2, 3)).tolist() == [1, 0, 0]
    assert Album(tmp_path, 1).thumb(path) is not None


def test_short_notes_are_kept_beside_a_long_one(tmp_path):
    path = tmp_path / "a.png"
    chunks = PngImagePlugin.PngInfo()
    chunks.add_itxt("intaglio", "{}")
    chunks.add_itxt("workflow", "x" * 1_500_000, zip=True)
    picture(path, chunks)
    assert read_png_text(path) == {"intaglio": "{}"}
    sideways = with_chunk(tmp_path / "b.png", long_texts()["profile"])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (40, 32)).save(sideways, exif=exif)
    sideways.write_bytes(sideways.read_bytes()[:33] + long_texts()["profile"] + sideways.read_bytes()[33:])
    with open_picture(sideways) as opened:
        assert opened.getexif()[0x0112] == 6


def test_damage_in_the_pixels_is_still_refused(tmp_path):
    path = with_chunk(tmp_path / "a.png", long_texts()["text"])
    cut = path.read_bytes()
    for content in (cut[:-40], cut[: len(cut) - 20] + b"\0" * 20, cut[:33] + b"\xff\xff\xff\xfftEXt"):
        path.write_bytes(content)
        with pytest.raises(BadInput, match="damaged or cut short|is not a PNG"):
            ImageSet.load(path, 16)


# Names


def test_names_that_are_not_utf_8_are_used_and_spelt(tmp_path):
    folder = tmp_path / "pots"
    picture(folder / "0.png")
    (folder / "0.png").rename(os.fsdecode(bytes(folder) + b"/caf\xe9.png"))
    Path(os.fsdecode(bytes(folder) + b"/caf\xe9.txt")).write_text("a pot")
    loaded = ImageSet.load(folder, 16)
    assert (loaded.names, loaded.captions, len(loaded.fingerprint)) == ((r"caf\xe9.png",), ("a pot",), 64)
    assert json.loads(json.dumps(loaded.names).encode()) == [r"caf\xe9.png"]


def test_names_with_control_characters_are_spelt(tmp_path):
    for name, shown in {
        "\x1b]0;owned\a\x1b[2Jx.png": r"\x1b]0;owned\x07\x1b[2Jx.png",
        "line\nbreak.png": r"line\nbreak.png",
        "gpj.\u202egnp.png": r"gpj.\u202egnp.png",
        "\u2066x.png": r"\u2066x.png",
        "\x9bx.png": r"\x9bx.png",
        "café 猫 👩‍🚀.png": "café 猫 👩‍🚀.png",
    }.items():
        path = picture(tmp_path / "one" / name)
        assert ImageSet.load(path.parent, 16).names == (shown,)
        path.write_bytes(b"broken")
        with pytest.raises(BadInput) as caught:
            ImageSet.load(path.parent, 16)
        assert f"\n  {shown}: it is not a PNG" in str(caught.value)
        path.unlink()


def test_names_that_would_be_shown_alike_are_refused(tmp_path):
    picture(tmp_path / "a\a.png")
    picture(tmp_path / r"a\x07.png")
    with pytest.raises(BadInput, match=r"the names of two files are shown like this; rename one"):
        ImageSet.load(tmp_path, 16)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_captions_and_boxes_are_found_in_either_form_of_unicode(tmp_path, forms):
    on_disk, in_table = (unicodedata.normalize(form, "café.png") for form in forms)
    picture(tmp_path / "a" / on_disk)
    (tmp_path / "a" / "metadata.jsonl").write_text(json.dumps({"file_name": in_table, "text": "a cup"}))
    assert ImageSet.load(tmp_path / "a", 16).captions == ("a cup",)
    assert len(ImageSet.load(tmp_path / "a", 16, boxes={in_table: (0, 0, 16, 16)})) == 1
    picture(tmp_path / "b" / on_disk)
    (tmp_path / "b" / in_table).with_suffix(".txt").write_text("a mug")
    assert (ImageSet.load(tmp_path / "b", 16).captions, ImageSet.load(tmp_path / "b", 16).warnings) == (("a mug",), ())


def test_two_files_that_differ_in_form_alone_keep_their_own_captions(tmp_path):
    names = [unicodedata.normalize(form, "café.png") for form in ("NFC", "NFD")]
    for name in names:
        picture(tmp_path / name)
    lines = [json.dumps({"file_name": name, "text": str(k)}) for k, name in enumerate(names)]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    found = ImageSet.load(tmp_path, 16)
    assert dict(zip(found.names, found.captions, strict=True)) == {names[0]: "0", names[1]: "1"}


# Captions


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            ['{"file_name": "0.png", "prompt": "a"}', '{"file_name": "1.png", "caption": "b"}'],
            "no `text` for 0.png and 1 more, .* columns are caption, prompt: rename",
        ),
        (
            ['{"file_name": "0.png", "text": "a"}', '{"file_name": "1.png", "Text": "b"}'],
            "no `text` for 1.png, .* columns are Text: rename",
        ),
        (['{"file_name": "0.png", "text": null, "label": "b"}'], "no `text` for 0.png, .* columns are label"),
    ],
)
def test_captions_in_another_column_get_a_word(tmp_path, lines, words):
    for k in range(2):
        picture(tmp_path / f"{k}.png")
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    (warning,) = ImageSet.load(tmp_path, 16).warnings
    assert re.search(words, warning)


def test_lines_without_any_caption_and_with_one_are_quiet(tmp_path):
    for k in range(3):
        picture(tmp_path / f"{k}.png")
    rows = [
        {"file_name": "0.png"},
        {"file_name": "1.png", "text": "a\u2028b", "artist": "x"},
        {"file_name": "2.png", "n": 3},
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), "utf-8")
    found = ImageSet.load(tmp_path, 16)
    assert (found.captions, found.warnings) == ((None, "a\u2028b", None), ())


@pytest.mark.parametrize(
    "line",
    [
        '{"file_name": ["0.png"], "text": "x"}',
        '{"file_name": 5}',
        '{"text": "x"}',
        "[" * 100_000,
        '"0.png"',
        "NaN",
        '{"file_name": "0.png", "text": NaN}',
        '{"file_name": "0.png", "text": 1e999}',
    ],
    ids=range(8),
)
def test_lines_that_are_no_captions_are_named(tmp_path, line):
    picture(tmp_path / "0.png")
    (tmp_path / "metadata.jsonl").write_text(line)
    with pytest.raises(BadInput, match=r"metadata.jsonl: line 1 is not like"):
        ImageSet.load(tmp_path, 16)


def test_a_caption_with_half_a_letter_is_named(tmp_path):
    picture(tmp_path / "0.png")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.png", "text": "a \\ud800"}')
    with pytest.raises(BadInput, match="line 1 has a text with half a surrogate pair"):
        ImageSet.load(tmp_path, 16)


def test_a_text_file_beside_it_makes_another_column_no_matter(tmp_path):
    picture(tmp_path / "0.png")
    (tmp_path / "0.txt").write_text("a cat")
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "0.png", "label": "x"}')
    assert (ImageSet.load(tmp_path, 16).captions, ImageSet.load(tmp_path, 16).warnings) == (("a cat",), ())


def test_a_caption_of_megabytes_is_refused(tmp_path):
    picture(tmp_path / "0.png")
    (tmp_path / "0.txt").write_text("cat " * 3_000_000)
    with pytest.raises(BadInput, match=r"0.txt: it is larger than 64 kB"):
        ImageSet.load(tmp_path, 16)
    (tmp_path / "0.txt").unlink()
    (tmp_path / "metadata.jsonl").write_text(json.dumps({"file_name": "0.png", "text": "cat " * 3_000_000}))
    with pytest.raises(BadInput, match=r"line 1 has a text of 12,000,000 letters"):
        ImageSet.load(tmp_path, 16)


# Folders


@pytest.mark.parametrize("repeats", ["2000000000", "100001", "9" * 200])
def test_repeats_beyond_reason_are_refused_by_name(tmp_path, repeats):
    picture(tmp_path / f"{repeats}_cat" / "0.png")
    with pytest.raises(BadInput, match=rf"{repeats}_cat asks for {repeats} repeats, where 100,000 are the most"):
        ImageSet.load(tmp_path, 16)
    picture(tmp_path / "100000_dog" / "0.png")
    with pytest.raises(BadInput, match="repeats"):
        ImageSet.load(tmp_path, 16)
    loaded = ImageSet.load(tmp_path, 16, skip_bad=True)
    assert (loaded.repeats, [w for w in loaded.warnings if "asks for" in w] != []) == ((100_000,), True)


def test_a_number_in_other_digits_is_no_number_of_repeats(tmp_path):
    picture(tmp_path / "0.png")
    picture(tmp_path / "٣_cat" / "0.png")
    assert ImageSet.load(tmp_path, 16).repeats == (1,)


@pytest.mark.parametrize("name", ["bad.png", "0.txt", "metadata.jsonl"])
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_pipes_and_devices_among_pictures_are_refused_unread(tmp_path, name, kind):
    picture(tmp_path / "0.png")
    if kind == "pipe":
        os.mkfifo(tmp_path / name)
    else:
        (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(BadInput, match=rf"{name}: it is a {kind}"):
        ImageSet.load(tmp_path, 16)
    assert ImageSet.load(tmp_path, 16, skip_bad=True).names == ("0.png",)


def captioned(folder: Path, lines: Sequence[str] = (), **texts: str) -> ImageSet:
    for k in range(2):
        picture(folder / f"{k}.png")
    for name, text in texts.items():
        (folder / name).write_text(text)
    if lines:
        (folder / "metadata.jsonl").write_text("\n".join(lines))
    return ImageSet.load(folder, 16)


def test_a_text_file_and_a_line_that_differ_get_a_word(tmp_path):
    lines = ['{"file_name": "0.png", "text": "a cup"}', '{"file_name": "1.png", "text": "a mug"}']
    found = captioned(tmp_path, lines, **{"0.txt": "a cat", "1.txt": "a mug\n"})
    assert found.captions == ("a cat", "a mug")
    (warning,) = found.warnings
    assert "different captions for 0.png: that of the text file is used" in warning


def test_two_lines_of_one_picture_get_a_word_where_they_differ(tmp_path):
    lines = [f'{{"file_name": "{k}.png", "text": "{text}"}}' for k, text in ((0, "a"), (0, "b"), (1, "c"), (1, "c"))]
    found = captioned(tmp_path, lines)
    assert found.captions == ("b", "c")
    (warning,) = found.warnings
    assert "several lines with different texts for 0.png: the last one is used" in warning


def test_a_line_that_has_its_text_twice_is_named(tmp_path):
    with pytest.raises(BadInput, match=r"metadata.jsonl: line 1 has 'text' twice; keep one"):
        captioned(tmp_path, ['{"file_name": "0.png", "text": "a", "text": "b"}'])


def test_a_name_with_a_dot_for_its_folder_is_beside_it(tmp_path):
    assert captioned(tmp_path, ['{"file_name": "./0.png", "text": "a"}']).captions == ("a", None)


def test_captions_are_read_from_the_suffixes_of_other_trainers(tmp_path):
    found = captioned(tmp_path, **{"0.caption": "a cat", "1.TXT": "a mug"})
    assert (found.captions, found.warnings) == (("a cat", "a mug"), ())
    assert ImageSet.load(tmp_path / "0.png", 16).captions == ("a cat",)
    assert ImageSet.load(tmp_path / "1.png", 16).captions == ("a mug",)
    found = captioned(tmp_path, **{"0.txt": "a hat", "metadata.csv": "file_name,text"})
    assert found.captions == ("a hat", "a mug")
    assert "metadata.csv looks like captions and is not read" in found.warnings[0]
    assert "ignored: 0.caption" in found.warnings[1]
