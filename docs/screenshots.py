"""Write the pictures of docs/view.md: runs are made on the spot, and every page over them is shot in a browser.

usage: python docs/screenshots.py [RUNS]      (RUNS keeps the runs there, so that a second call makes none again)

It wants Chromium and the group `test` of packages; the runs take some minutes.
"""

import io
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "support"))

from intaglio.bench.face.browsers import launched  # noqa: E402
from intaglio.models.testbed import materialise  # noqa: E402

IMAGES = ROOT / "docs" / "images"
DESKTOP, PHONE = (1120, 600), (390, 600)
COMMON, COLOURS = 12, 20
"""Colours of a stored picture: the most common ones as they are, and others that cover the rest."""
SCALE = 0.56
"""Size of a stored picture, as a share of the page's."""
STEPS = "160"
"""Of the fine-tunes."""


def make_runs(root: Path) -> dict[str, str]:
    """Two fine-tunes of one artist, an audit and an extraction of the first, and a graph; names by what they are."""
    pictures = root / "pictures" / "mammals"
    materialise("mammals", pictures, captions=False)
    given = ["--images", str(pictures / "members"), "--prompt", "sks style"]
    tuning = [*given, "--steps", STEPS, "--batch", "4", "--sample-every", "40"]
    full = run(root, "finetune", "dreambooth", *tuning, "--learning-rate", "0.0001")
    lora = run(root, "finetune", "lora", *tuning, "--learning-rate", "0.001")
    suspect = ["--suspect", str(full / "model")]
    controls = ["--known-holdouts", str(pictures / "holdouts"), "--controls", str(pictures / "controls")]
    audit = run(root, "authenticate", "loss-gap", *suspect, *given, *controls)
    mine = ["--authority", "my own model", "--prompt", "sks style", "--generations", "60", "--steps", "12"]
    run(root, "extract", "cfg", *suspect, *mine)
    graph = run(root, "discover", "sicl", str(garden(root / "garden.csv")))
    return {"full": full.name, "lora": lora.name, "audit": audit.name, "graph": graph.name}


def run(root: Path, *words: str) -> Path:
    """Runs a command and finds the folder of its run by the run that is new, or named."""
    command = [sys.executable, "-m", "intaglio", *words, "--runs", str(root), "--quiet"]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    paths = [parent for word in said for parent in (root / word, Path(word), *Path(word).parents)]
    return next(path for path in paths if (path / "run.json").is_file())


def garden(path: Path) -> Path:
    """A table of 500 rows whose causes are known: the weather, what it wets, and what comes of that."""
    chance = random.Random(3)
    lines = ["season,rain,sprinkler,wet,slippery,traffic,accidents"]
    for _ in range(500):
        season = chance.gauss(0, 1)
        rain, sprinkler = 0.8 * season + chance.gauss(0, 0.6), -0.7 * season + chance.gauss(0, 0.7)
        wet = 0.8 * rain + 0.6 * sprinkler + chance.gauss(0, 0.5)
        slippery, traffic = 0.9 * wet + chance.gauss(0, 0.4), 0.5 * rain + chance.gauss(0, 0.8)
        accidents = 0.6 * slippery + 0.5 * traffic + chance.gauss(0, 0.6)
        row = (season, rain, sprinkler, wet, slippery, traffic, accidents)
        lines.append(",".join(f"{value:.4f}" for value in row))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@contextmanager
def served(root: Path) -> Iterator[str]:
    """The address of the page over a folder of runs."""
    words = [sys.executable, "-m", "intaglio", "view", str(root), "--no-open"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        yield server.stdout.readline().strip() if server.stdout else ""
        server.terminate()


def shoot(address: str, names: dict[str, str]) -> None:
    """Writes every picture."""
    both = f"/compare?run={names['full']}&run={names['lora']}"
    tuned, graph = f"/run/{names['full']}", f"/run/{names['graph']}/graph"
    with launched() as browser:

        def shot(path: str, size: tuple[int, int], scheme: str) -> Image.Image:
            window = browser.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
            page = window.new_page()
            page.goto(address)
            page.wait_for_selector("h1")
            page.goto(f"{address.partition('/?')[0]}{path}", wait_until="networkidle")
            # The folder's own place is of this machine alone.
            page.evaluate("document.querySelectorAll('.root').forEach(place => place.textContent = 'runs')")
            if path == graph:
                page.locator(".canvas a").nth(3).focus()
                page.keyboard.press("Enter")
                page.evaluate("document.activeElement.blur(); scrollTo(0, 0)")
            made = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            window.close()
            return made

        def both_sizes(name: str, path: str, desktop: str, phone: str) -> None:
            beside(name, shot(path, DESKTOP, desktop), shot(path, PHONE, phone))

        both_sizes("view-list", "/", "light", "light")
        both_sizes("view-list-dark", "/", "dark", "dark")
        both_sizes("view-run", tuned, "light", "dark")
        both_sizes("view-compare", both, "light", "dark")
        both_sizes("view-graph", graph, "light", "dark")
        audit = f"/run/{names['audit']}/report"
        beside("view-lineage-report", shot("/lineage", (540, 560), "light"), shot(audit, (970, 560), "light"))


def beside(name: str, *pictures: Image.Image) -> None:
    """Stores pictures side by side as one, smaller and in few colours."""
    gap = 24
    sheet = Image.new("RGB", (sum(p.width + gap for p in pictures) - gap, max(p.height for p in pictures)), "#8b8f86")
    place = 0
    for picture in pictures:
        sheet.paste(picture, (place, 0))
        place += picture.width + gap
    few(sheet.resize((round(sheet.width * SCALE), round(sheet.height * SCALE)), Image.Resampling.LANCZOS)).save(
        IMAGES / f"{name}.png", optimize=True
    )


def few(picture: Image.Image) -> Image.Image:
    """The picture in few colours, its grounds untinted."""
    counts = sorted(picture.getcolors(picture.width * picture.height) or [], reverse=True)
    common = [channel for _, colour in counts[:COMMON] for channel in colour]
    covering = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*common, *covering[: 3 * COLOURS]])
    return picture.quantize(palette=palette, dither=Image.Dither.NONE)


def main() -> None:
    """Makes the runs and the pictures."""
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(scratch) / "runs"
        root.mkdir(parents=True, exist_ok=True)
        names = make_runs(root)
        with served(root) as address:
            shoot(address, names)


if __name__ == "__main__":
    main()
