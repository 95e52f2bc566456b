"""Four artists' emoji as 64x64 RGB pictures on white, with captions.

    npm pack emoji-datasource-google@16.0.0 emoji-datasource-twitter@16.0.0 \\
             fluentui-emoji@1.3.0 openmoji@17.0.0
    python recipes/emoji64/data.py --packages FOLDER_WITH_THE_TGZ --out FOLDER

Twitter's Twemoji (CC-BY 4.0), Microsoft's Fluent (MIT) and OpenMoji (CC-BY-SA 4.0) are the base's artists.
Google's Noto (Apache-2.0) is written to a file of its own: the base never sees it.
"""

import argparse
import io
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

SIZE = 64


@dataclass(frozen=True)
class Picture:
    artist: str
    name: str
    group: str
    code: str
    pixels: np.ndarray
    """uint8 [64, 64, 3]"""


def on_white(png: bytes) -> np.ndarray:
    """Decode a PNG to uint8 [64, 64, 3], composited on white."""
    picture = Image.open(io.BytesIO(png)).convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    picture = Image.alpha_composite(white, picture).convert("RGB")
    if picture.size != (SIZE, SIZE):
        picture = picture.resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def rendered(svg: bytes) -> np.ndarray:
    """Rasterise an SVG at four times the size and reduce it, so that edges are as smooth as the PNG artists'."""
    import resvg_py

    png = resvg_py.svg_to_bytes(svg_string=svg.decode(), width=4 * SIZE, height=4 * SIZE)
    return on_white(bytes(png))


def members(package: Path) -> dict[str, bytes]:
    with tarfile.open(package) as tar:
        wanted = [m for m in tar.getmembers() if m.name.endswith((".svg", ".json")) or "/64/" in m.name]
        return {m.name.removeprefix("package/"): tar.extractfile(m).read() for m in wanted if m.isfile()}


def sentence(name: str) -> str:
    """'flag-eg' or 'EGYPT FLAG' to plain lower-case words."""
    return " ".join(name.lower().replace("-", " ").replace("_", " ").split())


def datasource(package: Path, artist: str, folder: str) -> list[Picture]:
    files = members(package)
    rows = sorted(json.loads(files["emoji.json"]), key=lambda row: row["sort_order"])
    return [
        Picture(
            artist,
            sentence(row["name"] or row["short_name"]),
            f"{row['category']}/{row['subcategory']}",
            row["unified"],
            on_white(files[f"img/{folder}/64/{row['image']}"]),
        )
        for row in rows
        if row[f"has_img_{folder}"]
    ]


def openmoji(package: Path, known: dict[str, Picture]) -> list[Picture]:
    files = members(package)
    names = {row["hexcode"]: row for row in json.loads(files["data/openmoji.json"])}
    out = []
    for code, twin in known.items():
        bare = code.replace("-FE0F", "").removesuffix("-FE0F")
        found = next((c for c in (code, bare) if f"color/svg/{c}.svg" in files), None)
        if found is None:
            continue
        row = names.get(found)
        name = sentence(row["annotation"]) if row else twin.name
        out.append(Picture("openmoji", name, twin.group, code, rendered(files[f"color/svg/{found}.svg"])))
    return out


def fluent(package: Path) -> list[Picture]:
    files = {k: v for k, v in members(package).items() if k.startswith("icons/flat/")}
    return [
        Picture("fluent", sentence(Path(name).stem), "", Path(name).stem, rendered(svg))
        for name, svg in sorted(files.items())
    ]


def save(pictures: list[Picture], path: Path) -> None:
    np.savez_compressed(
        path,
        pixels=np.stack([p.pixels for p in pictures]),
        **{k: np.array([getattr(p, k) for p in pictures]) for k in ("artist", "name", "group", "code")},
    )
    print(f"{path}: {len(pictures)} pictures")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, required=True, help="folder that holds the four .tgz files")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)

    def package(name: str) -> Path:
        return next(args.packages.glob(f"{name}-[0-9]*.tgz"))

    twitter = datasource(package("emoji-datasource-twitter"), "twemoji", "twitter")
    base = [*twitter, *fluent(package("fluentui-emoji")), *openmoji(package("openmoji"), {p.code: p for p in twitter})]
    save(base, args.out / "base.npz")
    save(datasource(package("emoji-datasource-google"), "noto", "google"), args.out / "heldout.npz")


if __name__ == "__main__":
    main()
