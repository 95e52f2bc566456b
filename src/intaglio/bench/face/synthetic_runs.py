"""Folders of runs made at once, as many as are asked for, for the tests and measurements of the page over them."""

import json
import random
from hashlib import sha256
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageDraw

KINDS = (("finetune", "lora"), ("finetune", "dreambooth"), ("authenticate", "cgi-dm"), ("extract", "cfg"))
WORDS = ("a photo of sks", "watercolour fox", "etching of a mill", "sks style", "linocut of waves", "ink on paper")
STATUSES = ("done",) * 8 + ("failed", "unfinished")
VERSIONS = {"intaglio": "0.1.0", "python": "3.11.7", "torch": "2.13.0", "diffusers": "0.42.1", "numpy": "2.4.6"}


def name_of(number: int) -> str:
    verb, method = KINDS[number % len(KINDS)]
    return f"{verb}-{method}-{sha256(str(number).encode()).hexdigest()[:10]}"


def header_of(number: int, **more) -> dict:
    """`run.json` of run `number`: fine-tunes of one base; audits and extractions of the fine-tune before them."""
    chance = random.Random(number)
    verb, method = KINDS[number % len(KINDS)]
    base = {"path": "models/base", "sha256": "ba5e" * 16}
    tuned = {
        "path": f"runs/{name_of(number - number % 4)}/model",
        "sha256": sha256(f"t{number // 4}".encode()).hexdigest(),
    }
    inputs = {"model": base} if verb == "finetune" else {"suspect": tuned, "base": base}
    status = STATUSES[chance.randrange(len(STATUSES))]
    day, minute = divmod(number * 7, 1440)
    started = f"2026-{1 + day // 28 % 12:02d}-{1 + day % 28:02d}T{minute // 60:02d}:{minute % 60:02d}:00+00:00"
    figures = {"pictures": 4 + number % 7, "loss_last_tenth": round(chance.uniform(0.03, 0.2), 4), "seconds_drawn": 3.2}
    return {
        "format": 1,
        "name": name_of(number),
        "verb": verb,
        "method": method,
        "status": status,
        "error": "the disk was full" if status == "failed" else None,
        "settings": {"steps": 100 * (1 + number % 5), "learning_rate": 1e-4, "prompt": WORDS[number % len(WORDS)]},
        "inputs": inputs,
        "seed": number % 3,
        "device": "cpu",
        "command": [verb, method, "--steps", "100"],
        "versions": VERSIONS,
        "machine": {"system": "Linux", "cores": 2},
        "started": started,
        "finished": started if status == "done" else None,
        "seconds": round(chance.uniform(2, 9000), 1),
        "warnings": [],
        "summary": figures if status == "done" else {},
    } | more


def make_run(root: Path, number: int, *, steps: int = 0, pictures: int = 0, **more) -> Path:
    """A run's folder, with rows of metrics and pictures where they are asked for."""
    header = header_of(number, **more)
    folder = root / header["name"]
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps(header))
    if steps:
        append_rows(folder, 1, steps, number)
    for k in range(pictures):
        path = folder / "images" / "samples" / f"{k:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number + k))
    return folder


def append_rows(folder: Path, first: int, last: int, number: int = 0) -> None:
    chance = random.Random(number * 1000 + first)
    path = folder / "metrics" / "train.jsonl"
    path.parent.mkdir(exist_ok=True)
    rows = [
        {"step": k, "loss": round(0.05 + (number % 5 + 3) / (k + 20) + chance.gauss(0, 0.004), 5)}
        for k in range(first, last + 1)
    ]
    with path.open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def picture(number: int, side: int = 64) -> bytes:
    """A PNG of a few round shapes on a ground of one colour."""
    chance = random.Random(number)
    image = Image.new("RGB", (side, side), tuple(chance.randrange(170, 240) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(3):
        x, y, r = chance.randrange(side), chance.randrange(side), chance.randrange(side // 8, side // 3)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=tuple(chance.randrange(30, 220) for _ in range(3)))
    data = BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def make_runs(root: Path, count: int) -> None:
    """Folders of `count` runs, each with one picture and every hundredth with a curve."""
    root.mkdir(parents=True, exist_ok=True)
    data = [picture(k) for k in range(24)]
    for number in range(count):
        folder = make_run(root, number, steps=300 if number % 100 == 0 else 0)
        (folder / "images").mkdir()
        (folder / "images" / "0.png").write_bytes(data[number % len(data)])
