"""A reader that looks at a dataset all the while and notes everything that it must never see."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.dataset import Dataset
from storage.shards import read_parquet

NAMES = {
    "data": re.compile(r"train-(\d{5})-of-\d{5}\.parquet"),
    "receipts": re.compile(r"\d{5}\.json"),
    "runs": re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}\.json"),
}
PAUSE = 0.02  # seconds between two looks: readers must not keep two cores busy


class Reader:
    """Polls a dataset folder, also before it is there."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._whole: dict[str, tuple[int, ...]] = {}  # file -> what stat said when it was read
        self._seen: set[int] = set()
        self.violations: list[str] = []
        self.polls = 0  # of a dataset that was there
        self.growths = 0  # polls that saw more rows than the last

    @property
    def rows(self) -> int:
        """How many rows were seen."""
        return len(self._seen)

    def poll(self) -> None:
        """Look once."""
        if not (self._folder / "manifest.json").exists():
            return
        try:
            for kind in NAMES:
                self._check_folder(kind)
            self._check_dataset()
        except Exception as error:  # whatever a reader gets to see of it is a violation
            self.violations.append(f"a reader failed with {type(error).__name__}: {error}")
        self.polls += 1

    def _check_folder(self, kind: str) -> None:
        folder = self._folder / kind
        for path in sorted(folder.iterdir()) if folder.is_dir() else []:
            named = NAMES[kind].fullmatch(path.name)
            if named is None:
                self.violations.append(f"{kind} holds {path.name}")
                continue
            stat = path.stat()
            mark = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
            if self._whole.get(str(path)) == mark:
                continue  # those with a receipt are read again in every poll
            if kind == "data":
                self._check_shard(path, int(named[1]))
            else:
                json.loads(path.read_bytes())
            self._whole[str(path)] = mark

    def _check_shard(self, path: Path, shard: int) -> None:
        manifest = Dataset(str(self._folder)).manifest
        rows = read_parquet(path.read_bytes()).column("index").to_pylist()
        if rows != list(manifest.rows(shard)):
            self.violations.append(f"{path.name} has {len(rows)} rows that are not its own")

    def _check_dataset(self) -> None:
        dataset = Dataset(str(self._folder))
        index: list[int] = []
        if dataset.receipts:
            index = dataset.read(["index"]).column("index").to_pylist()  # every SHA-256 is checked
        if len(index) != len(set(index)):
            self.violations.append(f"{len(index) - len(set(index))} rows are there twice")
        if gone := self._seen - set(index):
            self.violations.append(f"{len(gone)} rows have vanished, the first is {min(gone)}")
        self.growths += len(set(index)) > len(self._seen)
        self._seen |= set(index)


@contextmanager
def watched(out: Path) -> Iterator[Reader]:
    """A reader of out/dataset in a thread of its own, with a last look at the end."""
    reader, over = Reader(out / "dataset"), threading.Event()

    def look() -> None:
        while not over.wait(PAUSE):
            reader.poll()

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield reader
    finally:
        over.set()
        thread.join()
    reader.poll()
