"""The pages of one run: its curves, pictures, figures and settings as they are now, its report, its files."""

import base64
import hashlib
import re
import shlex
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, Response

from intaglio.errors import BadInput
from intaglio.printable import one_line
from intaglio.report.kit.format import moment_rows, settings_rows, version_rows
from intaglio.report.pages.run_pages import result_rows
from intaglio.report.render import report_text
from intaglio.runs.header import checked_header
from intaglio.view.guarding import POLICY
from intaglio.view.index import RunEntry, RunIndex
from intaglio.view.lineage_page import LineagePage
from intaglio.view.live import Tails, curves
from intaglio.view.rendering import answered, rendered, run_address
from intaglio.view.run_files import downloads, file_within, is_pixel_art, is_png, picture_groups, thumbnail

FILE_POLICY = {"Content-Security-Policy": "default-src 'none'; sandbox"}
"""A file of a run runs nothing and loads nothing, whatever it holds."""
SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)


class RunPages:
    """The pages below `/run/`, over the runs of an index."""

    def __init__(self, index: RunIndex, lineage: LineagePage):
        self.index, self.lineage, self.tails = index, lineage, Tails()

    def page(self, request: Request) -> Response:
        """A run's page, or with `part=live` only what changes while it runs."""
        entry = self.entry(request)
        if request.query_params.get("part") == "live":
            return answered(request, rendered("run_live.html.j2", **self._live(entry)))
        return answered(request, rendered("run.html.j2", **self._live(entry), **self._settled(entry)))

    def graph(self, request: Request) -> Response:
        """The causal graph that the run found."""
        entry = self.entry(request)
        if not has_graph(entry.folder):
            raise HTTPException(404, "This run has found no causal graph.")
        # Imported late: it takes as long to import as all the rest.
        from intaglio.view.graph_page import STYLE_SHEET, graph_view

        text = rendered("graph.html.j2", entry=entry, view=graph_view(entry.folder))
        styles = f" 'sha256-{_digest(STYLE_SHEET)}'"
        return answered(request, text, headers={"Content-Security-Policy": POLICY.format(styles=styles)})

    def report(self, request: Request) -> Response:
        """The run's report, as `intaglio report` writes it, with links that lead back to the page."""
        entry = self.entry(request)
        text = report_text(entry.folder, entry.folder, back=run_address(entry.key))
        return answered(request, text, headers={"Content-Security-Policy": report_policy()})

    def thumb(self, request: Request) -> Response:
        """A small version of a picture of the run."""
        path = file_within(self.entry(request).folder, request.path_params["path"])
        small = thumbnail(path) if path is not None and is_png(path) else None
        if small is None:
            raise HTTPException(404, "This picture is not there, or cannot be read.")
        return Response(small.data, media_type=f"image/{small.kind}", headers=FILE_POLICY)

    def file(self, request: Request) -> Response:
        """A file of the run: a PNG as a picture, anything else as a download."""
        path = file_within(self.entry(request).folder, request.path_params["path"])
        if path is None:
            raise HTTPException(404, "This run has no such file.")
        if is_png(path):
            return FileResponse(path, media_type="image/png", headers=FILE_POLICY)
        return FileResponse(path, media_type="application/octet-stream", filename=path.name, headers=FILE_POLICY)

    def entry(self, request: Request) -> RunEntry:
        """The run that an address names."""
        key = request.path_params["key"]
        found = self.index.find(key)
        if found is None:  # it may be new, or not yet read
            self.index.refresh()
            found = self.index.find(key)
        if found is None:
            raise HTTPException(404, f"There is no run {one_line(key)} in this folder.")
        return found

    def _live(self, entry: RunEntry) -> dict[str, Any]:
        groups = picture_groups(entry.folder)
        drawn = curves(self.tails.series(entry.folder))
        return {"entry": entry, "curves": drawn, "groups": groups, "sizes": _sizes(entry, groups)}

    def _settled(self, entry: RunEntry) -> dict[str, Any]:
        try:
            header: Mapping[str, Any] = checked_header(entry.folder)
        except BadInput as error:
            return {"damage": str(error)}
        command = header.get("command") or []
        summary = header.get("summary") or {}
        makers = self.lineage.lineage().makers.get(entry.key, {})
        return {
            "damage": "",
            "graph": has_graph(entry.folder),
            "made_by": {one.role: makers.get(one.role) for one in entry.inputs},
            "finding": str(summary.get("finding") or summary.get("reading") or ""),
            "result": result_rows(summary),
            "settings": settings_rows(header.get("settings") or {}),
            "moment": [*moment_rows(header), *version_rows(header)],
            "files": downloads(entry.folder, header.get("results")),
            "command": shlex.join(["intaglio", *command]) if command else "",
            "warnings": header.get("warnings") or (),
        }


def _sizes(entry: RunEntry, groups: Any) -> dict[str, tuple[int, int, bool]]:
    """Width and height of the thumbnails, and whether each has hard pixel edges; a picture that is damaged has none."""
    found = {}
    for group in groups:
        for name in group.pictures:
            path = file_within(entry.folder, name)
            if path is not None and (small := thumbnail(path)) is not None:
                found[name] = (*small.size, is_pixel_art(small.size))
    return found


def has_graph(folder: Path) -> bool:
    """Whether a run's folder holds a found causal graph."""
    return (folder / "result" / "graph.json").is_file()


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def report_policy() -> str:
    """The content policy of reports: their own style and script, embedded pictures, and nothing from elsewhere."""
    templates = files("intaglio.report").joinpath("templates")
    texts = [templates.joinpath(name).read_text(encoding="utf-8") for name in ("base.html.j2", "treemap.js.j2")]
    found = [*SCRIPT.findall(texts[0]), texts[1]]
    scripts = " ".join(f"'sha256-{_digest(script)}'" for script in found)
    return (
        f"default-src 'none'; script-src {scripts}; style-src 'unsafe-inline'; img-src 'self' data:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    )
