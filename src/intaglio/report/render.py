"""From a run folder to one HTML file that needs nothing beside it."""

from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from intaglio.files import atomic_write
from intaglio.report.kit.run_data import RunData, read_audit, read_run
from intaglio.report.kit.views import Page
from intaglio.report.pages.audit_page import audit_page
from intaglio.report.pages.discover_page import discover_page, read_discovery
from intaglio.report.pages.extract_page import extract_page, read_extraction
from intaglio.report.pages.run_pages import finetune_page, plain_page


def write_report(folder: Path, out: Path | None = None) -> Path:
    """Write the report of the run in `folder`; returns its path, `folder/report.html` where `out` is None.

    The page is one file without network access; pictures are embedded as thumbnails and link to the originals where
    the page lies in the run folder or beside it. Raises `BadInput` where the folder is no run.
    """
    folder = Path(folder)
    out = folder / "report.html" if out is None else Path(out)
    page = page_of(read_run(folder), out.parent)
    atomic_write(out, _templates().get_template(page.template).render(page=page))
    return out


def page_of(run: RunData, page_folder: Path) -> Page:
    """The page for a run: an audit with a verdict, an extraction, a found graph, a fine-tune, or any other."""
    verb = run.run.get("verb")
    if verb == "authenticate" and (audit := read_audit(run)) is not None:
        return audit_page(run, audit, page_folder)
    if verb == "extract" and (found := read_extraction(run)) is not None:
        return extract_page(run, found, page_folder)
    if verb == "discover" and (graph := read_discovery(run)) is not None:
        return discover_page(run, graph, page_folder)
    return finetune_page(run, page_folder) if verb == "finetune" else plain_page(run, page_folder)


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("intaglio.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
