"""Reports of runs, each as one self-contained HTML file."""

from intaglio.report.kit.content_hash import content_hash
from intaglio.report.render import write_report

__all__ = ["content_hash", "write_report"]
