import pytest
import torch

import tiny
from adapt_scenes import model, training_set
from intaglio.adapt.data import TrainingSet, epoch_order, generate_class_images, training_hash
from intaglio.errors import BadInput
from intaglio.images.image_set import ImageSet, save_png
from intaglio.runs.run import Run


def pictures(folder, *names):
    for index, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        save_png(tiny.pixels(1, seed=index)[0], folder / name)
    return folder


def test_captions_come_before_the_prompt_and_the_prompt_before_a_kohya_name(tmp_path):
    folder = pictures(tmp_path, "a.png", "3_red dog/b.png")
    (folder / "a.txt").write_text("a cat")
    images = ImageSet.load(folder, 16)
    named = dict(zip(images.names, TrainingSet(images).prompts, strict=True))
    assert named == {"a.png": "a cat", "3_red dog/b.png": "red dog"}
    prompted = dict(zip(images.names, TrainingSet(images, "dog").prompts, strict=True))
    assert prompted == {"a.png": "a cat", "3_red dog/b.png": "dog"}
    assert sorted(epoch_order(images)) == sorted(
        [images.names.index("a.png")] + 3 * [images.names.index("3_red dog/b.png")]
    )


def test_an_empty_prompt_is_a_prompt():
    assert TrainingSet(ImageSet.from_pixels(tiny.pixels(1)), "").prompts == ("",)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "0000 and 1 more have no caption; give --prompt"),
        ({"prompt": "x", "class_prompt": "y"}, "--class-count"),
        ({"prompt": "x", "class_images": ImageSet.from_pixels(tiny.pixels(1))}, "--class-prompt"),
    ],
)
def test_what_lacks_a_prompt_is_named(arguments, words):
    with pytest.raises(BadInput, match=words):
        TrainingSet(ImageSet.from_pixels(tiny.pixels(2)), **arguments)


def test_no_pictures_at_all_is_refused():
    none = ImageSet.from_pixels(torch.zeros(0, 3, 16, 16))
    with pytest.raises(BadInput, match="no pictures to train on"):
        TrainingSet(none, "x")
    with pytest.raises(BadInput, match="no class pictures"):
        TrainingSet(ImageSet.from_pixels(tiny.pixels(1)), "x", none, "y")


def test_the_hash_sees_pictures_prompts_and_order():
    images = ImageSet.from_pixels(tiny.pixels(2))
    base = training_hash(images, ("a", "b"))
    assert base != training_hash(images, ("b", "a"))
    assert base != training_hash(images[[1, 0]], ("a", "b"))
    assert base == training_hash(ImageSet.from_pixels(tiny.pixels(2), names=("x", "y")), ("a", "b"))


def test_the_head_of_a_set_keeps_prompts():
    head = training_set(3, classes=3).head(2)
    assert (len(head.images), head.prompts, head.class_prompts) == (2, ("red cat",) * 2, ("cat",) * 2)


def test_class_pictures_are_drawn_once_and_read_again(tmp_path, monkeypatch):
    base = model()

    def run():
        return Run.open(tmp_path, "finetune", "dreambooth", {}, {}, seed=0, device="cpu", command=["x"])

    whole = generate_class_images(base, "cat", 3, seed=4, batch=2)
    drawn = generate_class_images(base, "cat", 3, seed=4, run=run(), batch=3)
    folder = run().folder
    (folder / "images" / "class" / "0001.png").unlink()
    mended = generate_class_images(base, "cat", 3, seed=4, run=run(), batch=2)
    assert torch.equal(whole.pixels, drawn.pixels)
    assert torch.equal(whole.pixels, mended.pixels)
    assert whole.hashes == mended.hashes
    monkeypatch.setattr("intaglio.adapt.data.sample", None)
    assert torch.equal(generate_class_images(base, "cat", 3, seed=4, run=run()).pixels, whole.pixels)
    assert len(set(whole.hashes)) == 3
