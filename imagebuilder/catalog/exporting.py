"""What a catalog hands on to other tools, with each change or when it is asked to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from imagebuilder import files
from imagebuilder.catalog import read
from imagebuilder.catalog.reader import CatalogReader, reporter_of
from imagebuilder.catalog.verify import Finding, Verification
from imagebuilder.errors import HostError, InputError, Location
from imagebuilder.policies import Exports
from imagebuilder.progress import Cancel, Observer, Reporter, ignore
from imagebuilder.stores import FileStore, ObjectStore
from imagebuilder.stores.overlay import OverlayStore

# Imported in place where they are used, since they take a while.
if TYPE_CHECKING:
    from imagebuilder.catalog.presign import Presigned
    from imagebuilder.catalog.trust import Trust


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogExporting(CatalogReader):
    """Exports of a catalog."""

    def export(
        self,
        exports: Exports | None = None,
        *,
        output_dir: Path | None = None,
        dry_run: bool = False,
        observer: Observer = ignore,
        cancel: Cancel | None = None,
    ) -> int:
        """Write what other tools read, where it is not as it should be.

        Args:
            exports: which formats; by default those that the catalog was opened with.
            output_dir: a folder that gets the files, at the same paths; by default they go into
                the catalog.
            dry_run: only find out how many; nothing is written.
            observer: gets the step ``export``.
            cancel: looked at all the time.

        Returns:
            How many files were written, or would be.

        Raises:
            InputError: no format is asked for, or one cannot be made of this catalog.
            CatalogError: something cannot be read or written.
        """
        from imagebuilder.catalog import exports as exporting

        exports = exports or self.exports
        if not exports.formats:
            raise InputError(
                "no format is named",
                fix='name some, or say in imagebuilder.toml: [exports] formats = ["fcos"]',
            )
        place = exporting.place_of(self.store, exports, whole=output_dir is not None)
        read.check_marker(self.store)
        reporter = reporter_of("catalog", observer, cancel)
        target: ObjectStore = FileStore(output_dir) if output_dir else self.store
        if dry_run:
            target = OverlayStore(target)
        else:
            target.prepare(reporter.cancel)
        return exporting.write(
            self.store, exports.formats, place, None, reporter, target=target, strict=True
        )

    def presign(
        self, name: str, version_or_channel: str, *, seconds: int, trust: Trust | None = None
    ) -> Presigned:
        """Let machines boot a release from a bucket that is not public, for a while.

        Args:
            name: the recipe's name.
            version_or_channel: which release.
            seconds: for how long, at most 7 days.
            trust: whose signatures are needed; None: nobody's.

        Returns:
            A boot script and the URLs; who has them can read these files until then.

        Raises:
            InputError: S3 signs no URL for such a time.
            CatalogError: the catalog is a folder, or a file is missing, or there are no
                credentials, or the URL is too long for a kernel's command line.
        """
        from imagebuilder.catalog import presign as signing

        release = self.show(name, version_or_channel, trust=trust)
        title = " ".join(dict.fromkeys((name, version_or_channel, release.version)))
        return signing.presign(self.store, release, title, seconds)

    def write_page(
        self,
        output: Path,
        *,
        url: str = "",
        observer: Observer = ignore,
        cancel: Cancel | None = None,
    ) -> Path:
        """Write a page of HTML that shows the catalog to people: one file that needs no other.

        Args:
            output: the file; it is replaced at once if it is there.
            url: where readers find the catalog, ending in a slash; by default a bucket's own.
                Without it the page has no links.
            observer: gets the step ``export``.
            cancel: looked at all the time.

        Returns:
            The file.

        Raises:
            CatalogError: the catalog cannot be read.
            HostError: the file cannot be written.
        """
        from imagebuilder.catalog.exports import page
        from imagebuilder.catalog.exports.view import Reader

        read.check_marker(self.store)
        reporter = reporter_of("catalog", observer, cancel)
        reader = Reader(store=self.store)
        base = url or self.store.public_url or None
        with reporter.step("export", "page"):
            text = page.page(reader, page.state_of(reader), base, reporter)
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            files.replace(output, text)
        except OSError as error:
            raise HostError(
                f"cannot be written: {error.strerror or error}", where=Location(file=str(output))
            ) from error
        return output

    def verify(
        self,
        *,
        contents: bool = True,
        trust: Trust | None = None,
        observer: Observer = ignore,
        cancel: Cancel | None = None,
    ) -> Verification:
        """Look whether everything is what it should be, and with it the exports.

        See :meth:`imagebuilder.catalog.reader.CatalogReader.verify`; the exports are those that
        the catalog was opened with.
        """
        found = super(CatalogExporting, self).verify(
            contents=contents, trust=trust, observer=observer, cancel=cancel
        )
        if not self.exports.formats:
            return found
        from imagebuilder.catalog import exports as exporting

        place = exporting.place_of(self.store, self.exports)
        reporter = reporter_of("catalog", observer, cancel)
        due = exporting.due(self.store, self.exports.formats, place, reporter)
        more = [
            Finding(
                kind="broken",
                where=self.store.url_of(key),
                what="does not say what the catalog has now",
                fix="imagebuilder catalog export writes it",
            )
            for key in due
        ]
        return replace(found, findings=(*found.findings, *more))

    def _check_exports(self) -> None:
        """Refuse, before anything is done, what cannot be exported."""
        if self.exports.formats:
            from imagebuilder.catalog import exports as exporting

            exporting.place_of(self.store, self.exports)

    def _export(self, names: Sequence[str] | None, reporter: Reporter) -> None:
        """Let the exports follow after something of these recipes (None: of any) was changed."""
        if self.exports.formats:
            from imagebuilder.catalog import exports as exporting

            place = exporting.place_of(self.store, self.exports)
            exporting.write(self.store, self.exports.formats, place, names, reporter, strict=False)
