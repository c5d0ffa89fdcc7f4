"""Work that takes long, as commands of their own: they outlive the server, and one that was stopped goes on.

jobs/map-1/
├── job.json     the command, and which process runs it
├── log.txt      what it says
└── ...          what it reads and writes

Whether one is done is seen from what it has written, so that nothing depends on who started it.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any, Literal

from fewshot.errors import ArtifactError, RecipeError
from fewshot.files import write_whole
from fewshot.mapping import is_begun, map_progress
from fewshot.tables import make_table

State = Literal["running", "done", "failed", "cancelled"]

_PROGRAM = Path(__file__).parents[2] / "cli.py"
_OFTEN = 0.5  # seconds between two looks at what runs
_HIDDEN = ("job.json", "log.txt")
_OF_TENSORFLOW = re.compile(r"[IWEF]\d{4} |WARNING: All log messages before absl|To enable the following instructions")


@dataclass(frozen=True)
class Job:
    """One piece of work.

    Attributes:
        id: Its name, and that of its folder.
        kind: What it is.
        arguments: Of `fewshot`.
        result: File that is there once it is done.
        where: Folder that it was started in.
        process: Number of the process that runs it, and when that began, in the kernel's count.
        stopped: Whether somebody stopped it.
    """

    id: str
    kind: str
    arguments: tuple[str, ...]
    result: str
    where: str
    process: tuple[int, int] = (0, 0)
    stopped: bool = False


class Jobs:
    """Starts jobs, watches them, and finds those of before again."""

    def __init__(self, folder: Path, tell: Callable[[dict[str, Any]], None]) -> None:
        """Look for the jobs in a folder.

        Args:
            folder: Of the jobs.
            tell: Called with an event when one has changed.
        """
        self.folder, self._tell = folder, tell
        self._lock = threading.RLock()
        self._jobs: dict[str, Job] = {}
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._ended = threading.Event()
        for path in sorted(folder.glob("*/job.json"), key=lambda path: path.stat().st_mtime):
            content = json.loads(path.read_text(encoding="utf-8"))
            self._jobs[path.parent.name] = make_table(Job, content, str(path), error=ArtifactError)
        self._watcher = threading.Thread(target=self._watch, name="jobs", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """Stop watching; what runs goes on, and is found again."""
        self._ended.set()
        self._watcher.join(timeout=10)

    def reserve(self, kind: str) -> Path:
        """Make the folder of a new job of a kind, which no other gets."""
        for number in count(1):
            folder = self.folder / f"{kind}-{number}"
            with suppress(FileExistsError):
                folder.mkdir(parents=True)
                break
        return folder

    def start(self, folder: Path, arguments: Sequence[str], result: Path) -> Job:
        """Start a job.

        Args:
            folder: As `reserve` made it; it holds what the job reads.
            arguments: Of `fewshot`.
            result: That is there once it is done.
        """
        kind = folder.name.rpartition("-")[0]
        job = Job(folder.name, kind, tuple(arguments), str(result.resolve()), str(Path.cwd()))
        return self._run(job, ())

    def cancel(self, name: str) -> None:
        """Ask a job to end; a map keeps what is finished."""
        with self._lock:
            job = self._find(name)
            if self.state(job) == "running":
                self._keep(replace(job, stopped=True))
                with suppress(ProcessLookupError):  # it has ended by now
                    os.killpg(job.process[0], signal.SIGTERM)

    def resume(self, name: str) -> Job:
        """Go on with a job that was stopped: from what is finished, where anything is.

        Raises:
            RecipeError: if it runs, or is done.
        """
        with self._lock:
            job = self._find(name)
            if self.state(job) in ("running", "done"):
                raise RecipeError(f"{name} is {self.state(job)}; there is nothing to resume")
            return self._run(replace(job, stopped=False), ("--resume",) if is_begun(Path(job.result)) else ())

    def latest(self, *kinds: str) -> Job | None:
        """Return the last job of some kinds that is done."""
        done = [job for job in self.all() if job.kind in kinds and self.state(job) == "done"]
        return done[-1] if done else None

    def all(self) -> list[Job]:
        """Return all jobs, the first ones first."""
        return list(self._jobs.values())

    def documents(self) -> list[dict[str, Any]]:
        """Return all jobs as plain data."""
        return [self.document(job) for job in self.all()]

    def document(self, job: Job) -> dict[str, Any]:
        """Return a job as the page shows it."""
        state = self.state(job)
        done, total = (map_progress(Path(job.result)) or (0, 0)) if state != "done" else (1, 1)
        files = [{"id": f"{job.id}.{path.name}", "name": path.name} for path in self._written(job)]
        said = {"id": job.id, "kind": job.kind, "state": state, "done": done, "total": total}
        return {**said, "message": self._last_line(job), "files": files if state == "done" else []}

    def file(self, name: str) -> Path | None:
        """Return a file by the id that a job's document gives it."""
        return {f"{job.id}.{path.name}": path for job in self.all() for path in self._written(job)}.get(name)

    def state(self, job: Job) -> State:
        """Return how a job is, from its process and from what it has written."""
        if _runs(job.process) and (job.id not in self._children or self._children[job.id].poll() is None):
            return "running"
        if Path(job.result).exists():
            return "done"
        return "cancelled" if job.stopped else "failed"

    def _find(self, name: str) -> Job:
        if name not in self._jobs:
            raise RecipeError(f"there is no job {name[:80]!r}; there are {', '.join(self._jobs) or 'none'}")
        return self._jobs[name]

    def _run(self, job: Job, more: Sequence[str]) -> Job:
        """Run a job's command in a session of its own, so that it outlives this process."""
        with self._lock, (self.folder / job.id / "log.txt").open("wb") as log:
            child = subprocess.Popen(
                [sys.executable, str(_PROGRAM), *job.arguments, *more],
                cwd=job.where,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self._children[job.id] = child
            job = replace(job, process=(child.pid, _began(child.pid)))
            self._keep(job)
            return job

    def _keep(self, job: Job) -> None:
        self._jobs[job.id] = job
        text = json.dumps(asdict(job), indent=1)
        write_whole(self.folder / job.id / "job.json", lambda path: path.write_text(text, encoding="utf-8"), flush=True)

    def _written(self, job: Job) -> list[Path]:
        """Return what a job has written and read, without its own files and what is unfinished."""
        files = sorted((self.folder / job.id).glob("*"))
        return [path for path in files if path.is_file() and path.name not in _HIDDEN and path.name[0] != "."]

    def _last_line(self, job: Job) -> str:
        """Return the last thing that a job has said."""
        try:
            text = (self.folder / job.id / "log.txt").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        lines = [line.strip() for line in text[-4000:].splitlines()]
        lines = [line for line in lines if line and not _OF_TENSORFLOW.match(line)]
        return lines[-1][:500] if lines else ""

    def _watch(self) -> None:
        """Tell the pages of every job that has changed."""
        # By process: a job that was resumed and fails again at once has news, though they read the same.
        shown = {job.id: (job.process, self.document(job)) for job in self.all()}
        while not self._ended.wait(_OFTEN):
            for job in self.all():
                known = shown.get(job.id)
                if known and known[0] == job.process and known[1]["state"] != "running" and not _runs(job.process):
                    continue
                document = self.document(job)
                if (job.process, document) != known:
                    shown[job.id] = job.process, document
                    self._tell({"type": "job", **document})


def _runs(process: tuple[int, int]) -> bool:
    """Whether a process still runs: the number may be another one's by now, the time tells."""
    return process[0] > 0 and _began(process[0]) == process[1] != 0


def _began(process: int) -> int:
    """Return when a process began, in the kernel's count; 0 if there is none, or it has ended."""
    try:
        text = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    state, *fields = text.rpartition(")")[2].split()
    return 0 if state in ("Z", "X") else int(fields[18])
