"""Download the files of a data set: resumable, checked, and honest about what must be got by hand.

A download grows in `<file>.part` beside its place and takes its name when its size and checksum are the published
ones, so a file under its own name is whole. A `.part` is gone on with by an HTTP range request, which holds only
for unchanged content: the checksum proves it afterwards, or the server's ETag beforehand, kept in `<file>.part.etag`.
"""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import httpx
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from fewshot.data.catalogue.manifest import NOT_PUBLISHED, File, Manifest
from fewshot.data.catalogue.verify import FileProblem, check_file, has_samples, is_unpacked, work_progress
from fewshot.errors import DamagedDataError, DataNotFoundError, FewshotError

_TIMEOUT = httpx.Timeout(60, connect=15)  # seconds without a single byte
_HEADERS = {"User-Agent": "fewshot", "Accept-Encoding": "identity"}  # checksums are of the file as published


@dataclass(frozen=True)
class Fetched:
    """One file that is in its place.

    Attributes:
        path: Where.
        outcome: Whether it was fetched now or was there before.
        checked: What it was held against, in words.
    """

    path: Path
    outcome: Literal["fetched", "already here", "unpacked"]
    checked: str


def fetch(manifest: Manifest, folder: Path, *, only: Sequence[str] = ()) -> tuple[Fetched, ...]:
    """Bring the files of a data set into a folder; those that are there and whole are left alone.

    Args:
        manifest: What to fetch.
        folder: Where to; made if missing.
        only: Patterns of the files to fetch, such as "*small1.zip"; all for none.

    Returns:
        Every chosen file, in the manifest's order.

    Raises:
        DataNotFoundError: if the data must be got or made otherwise, and says how; or if a file cannot be fetched or
            written now: what was received stays for the next try.
        DamagedDataError: if a file that is here, or that was received, is not the published one. Either is raised
            when the other files are fetched, and names every file that failed.
    """
    if manifest.simulated:
        raise DataNotFoundError(
            f"{manifest.title} is simulated: there is nothing to fetch. Make it with"
            f" `{manifest.made_by.replace('DIR', str(folder))}`."
        )
    chosen = manifest.choose(only)
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    done: list[Fetched] = []
    failed: list[FewshotError] = []
    by_hand: list[str] = []
    with work_progress(DownloadColumn(), TransferSpeedColumn()) as progress, _client() as client:
        for file in chosen:
            target = folder / file.path
            transfer = _Transfer(client, manifest, file, target, progress)
            try:
                if target.exists():
                    done.append(transfer.check_present())
                elif is_unpacked(file, folder):
                    done.append(Fetched(target, "unpacked", "its archive's checksum cannot be checked any more"))
                elif transfer.url:
                    done.append(transfer.run())
                else:
                    by_hand.append(file.path)
            except (DataNotFoundError, DamagedDataError) as error:
                failed.append(error)  # the other files may well be there
    if failed:
        raise type(failed[0])("\n".join(map(str, failed))) from failed[0]
    if by_hand or not (chosen or has_samples(manifest, folder)):
        raise DataNotFoundError(_by_hand(manifest, folder, by_hand))
    return tuple(done)


def _by_hand(manifest: Manifest, folder: Path, missing: Sequence[str]) -> str:
    """Say what to download by hand, and where to put it."""
    files = f"\nNot there yet: {', '.join(missing)}." if missing else ""
    return (
        f"{manifest.title} cannot be fetched by a program (licence: {manifest.licence}). By hand:\n\n"
        f"{manifest.manual.replace('DIR', str(folder)).strip()}\n{files}\n"
        f"Then check it with `fewshot data verify {manifest.name} {folder}`."
    )


def _client() -> httpx.Client:
    return httpx.Client(follow_redirects=True, timeout=_TIMEOUT, headers=_HEADERS)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Turn a full disk, a missing permission and the like into a kind error."""
    try:
        yield
    except FewshotError:
        raise
    except OSError as error:
        raise DataNotFoundError(
            f"{path} cannot be written: {error.strerror}. Make room or name another folder, and give the same command"
            " again: what was received so far is kept."
        ) from error


class _Transfer:
    """One file on its way from its URL to its place."""

    def __init__(self, client: httpx.Client, manifest: Manifest, file: File, target: Path, progress: Progress) -> None:
        self.url = manifest.url_of(file)
        self._client, self._file, self._target = client, file, target
        self._homepage = manifest.homepage
        self._part = target.with_name(target.name + ".part")
        self._etag = target.with_name(target.name + ".part.etag")
        self._progress = progress
        self._bar = progress.add_task(file.path, total=file.size, start=False)

    def check_present(self) -> Fetched:
        """Refuse a file that was there before and is not the published one."""
        problem = self._check(self._target)
        if problem:
            raise DamagedDataError(
                f"{self._target} is already here, but {problem.kind}: {problem.detail}. Move it away and fetch again."
            )
        return Fetched(self._target, "already here", self._checks())

    def run(self) -> Fetched:
        """Download the file, or the rest of it, and let it take its name if it is the published one."""
        with _writing(self._part):
            self._target.parent.mkdir(parents=True, exist_ok=True)
        self._download()
        problem = self._check(self._part)
        if problem:
            self._part.unlink()
            self._etag.unlink(missing_ok=True)
            raise DamagedDataError(
                f"{self.url} is not the published file, {problem.kind}: {problem.detail}. The download was removed. Try"
                f" again; if it stays so, the file has changed: look at {self._homepage}."
            )
        self._part.replace(self._target)
        self._etag.unlink(missing_ok=True)
        return Fetched(self._target, "fetched", self._checks())

    def _check(self, path: Path) -> FileProblem | None:
        """Hold a file against what is published of it."""
        self._progress.start_task(self._bar)
        self._progress.update(
            self._bar, description=f"checking {self._file.path}", total=path.stat().st_size, completed=0
        )
        problem = check_file(path, self._file, lambda read: self._progress.advance(self._bar, read))
        self._progress.update(self._bar, completed=path.stat().st_size)
        return problem

    def _checks(self) -> str:
        """Say what the file was held against."""
        if self._file.digest:
            return f"{self._file.digest[0]} as published"
        return "size as published" if self._file.size is not None else f"not checked: checksum {NOT_PUBLISHED}"

    def _download(self) -> None:
        """Receive what is missing of the file."""
        start = self._received()
        if start and start == self._file.size:
            return
        headers = {"Range": f"bytes={start}-"} if start else {}
        if start and self._etag.exists():
            headers["If-Range"] = self._etag.read_text(encoding="utf-8")
        try:
            with self._client.stream("GET", self.url, headers=headers) as response:
                if start and response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
                    # Either all of it is here, or what is here is of another file.
                    if response.headers.get("Content-Range") == f"bytes */{start}":
                        return
                    self._part.unlink()
                else:
                    self._receive(response, self._accept(response, start))
                    return
        except httpx.HTTPError as error:
            received = self._size_of_part()
            kept = f" {received:,} bytes are kept in {self._part}." if received else ""
            raise DataNotFoundError(
                f"{self.url} could not be fetched: {str(error) or type(error).__name__}.{kept} Give the same command"
                f" again to go on, or download it by hand to {self._target}."
            ) from error
        self._download()

    def _received(self) -> int:
        """Return how many bytes of an earlier try can be gone on with."""
        if not self._part.exists() or not (self._file.digest or self._etag.exists()):
            return 0
        size = self._part.stat().st_size
        return size if self._file.size is None or size <= self._file.size else 0

    def _accept(self, response: httpx.Response, start: int) -> int:
        """Refuse an answer that is not the file, or has no room here; return the byte at which it begins."""
        if response.status_code == httpx.codes.PARTIAL_CONTENT:
            begins = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
            wrong = "" if begins == str(start) else f"sent bytes from {begins or 'nowhere'}, not from {start}"
        else:
            start = 0
            wrong = "" if response.status_code == httpx.codes.OK else f"answers {response.status_code}"
        page = response.headers.get("Content-Type", "").startswith("text/html")
        if not wrong and page and not self._target.suffix.startswith(".htm"):
            wrong = "answers with a web page, perhaps to log in"
        if wrong:
            raise DataNotFoundError(
                f"{self.url} could not be fetched: the server {wrong}. Look at {self._homepage} for where the file is"
                f" now, and download it by hand to {self._target}."
            )
        length = response.headers.get("Content-Length", "")
        rest = int(length) if length.isdigit() else 0
        free = shutil.disk_usage(self._target.parent).free + (0 if start else self._size_of_part())
        if rest > free:
            raise DataNotFoundError(
                f"no room for {self._target}: {rest:,} bytes are to come, {free:,} are free. Make room or name another"
                " folder with --to; what was received so far is kept."
            )
        self._progress.start_task(self._bar)
        self._progress.update(self._bar, total=start + rest if rest else None, completed=start)
        return start

    def _size_of_part(self) -> int:
        return self._part.stat().st_size if self._part.exists() else 0

    def _receive(self, response: httpx.Response, start: int) -> None:
        """Append what the server sends to what is here, or begin anew."""
        with _writing(self._part):
            if start == 0:
                etag = response.headers.get("ETag", "")
                self._etag.unlink(missing_ok=True)
                if etag and not etag.startswith("W/"):  # a weak one does not promise the same bytes
                    self._etag.write_text(etag, encoding="utf-8")
            with self._part.open("ab" if start else "wb") as content:
                for chunk in response.iter_raw():  # as it comes: what waits for a full chunk is lost with the line
                    content.write(chunk)
                    self._progress.advance(self._bar, len(chunk))
