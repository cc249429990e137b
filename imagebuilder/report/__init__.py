"""report: a page of HTML for each build, for people."""

from imagebuilder.report.page import PAGE, write_report

__all__ = ["PAGE", "write_report"]
