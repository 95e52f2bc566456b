"""One self-contained HTML file a run."""

from intaglio.report.compare import content_hash
from intaglio.report.render import write_report

__all__ = ["content_hash", "write_report"]
