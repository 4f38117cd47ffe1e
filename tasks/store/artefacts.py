"""Content-addressed files: checkpoints, pools, raw outputs.

A file is written under a temporary name, synced, renamed, and only then can a
record refer to it; so a reference never names a file that is not whole. What a killed
process left under a temporary name goes a day later, with the next file put beside it.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from contextlib import suppress
from pathlib import Path

import fsspec

from leadline.tasks.errors import StoreError
from leadline.tasks.store.records import ArtefactRef
from leadline.tasks.writing import PART, remove_left_over

_DIGEST = re.compile(r"[0-9a-f]{64}")


class Artefacts:
    """A folder of such files, on any file system that fsspec knows.

    Parameters
    ----------
    url
        Path or fsspec URL of the folder; made when the first file comes.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._files, self._root = fsspec.url_to_fs(url)
        self._local = "file" in self._files.protocol

    def put(self, data: bytes, media_type: str) -> ArtefactRef:
        """Keep some bytes, and return the reference that a record may hold.

        Raises
        ------
        StoreError
            If the folder or the disk does not take them.
        """
        ref = ArtefactRef(hashlib.sha256(data).hexdigest(), len(data), media_type)
        path = self.path(ref)
        try:
            if not self._is_whole(path, ref):
                self._write(path, data)
        except OSError as error:
            raise StoreError(
                f"an artefact of {len(data)} bytes cannot be written to {self.url}: {error}; "
                "check the disk and the folder, and run again"
            ) from error
        return ref

    def get(self, ref: ArtefactRef) -> bytes:
        """Return the bytes of a reference.

        Raises
        ------
        StoreError
            If the file is missing, or is no longer what was put.
        """
        path = self.path(ref)
        try:
            data = bytes(self._files.cat_file(path))
        except OSError as error:
            raise StoreError(
                f"the artefact {path} cannot be read: {error}; put a copy of the folder back"
            ) from error
        if hashlib.sha256(data).hexdigest() != ref.sha256:
            raise StoreError(
                f"the artefact {path} is damaged: {len(data)} bytes were found, {ref.size} with "
                "another checksum were put; put a copy of the file back"
            )
        return data

    def path(self, ref: ArtefactRef) -> str:
        """Return where the file of a reference stands: inside the folder, whatever a record says.

        Raises
        ------
        StoreError
            If the reference is by something else than a digest.
        """
        if not _DIGEST.fullmatch(ref.sha256):
            raise StoreError(
                f"a record refers to an artefact as {ref.sha256[:80]!r}, which is no sha256: it "
                "was changed by something else than leadline; restore it from a backup"
            )
        return f"{self._root}/{ref.sha256[:2]}/{ref.sha256[2:]}"

    def _is_whole(self, path: str, ref: ArtefactRef) -> bool:
        return bool(self._files.exists(path)) and self._files.size(path) == ref.size

    def _write(self, path: str, data: bytes) -> None:
        folder = path.rpartition("/")[0]
        self._files.makedirs(folder, exist_ok=True)
        temporary = f"{path}.{secrets.token_hex(4)}{PART}"
        if self._local:
            remove_left_over(Path(folder))
        try:
            with self._files.open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                if self._local:
                    os.fsync(file.fileno())
            self._files.mv(temporary, path)
        except BaseException:
            with suppress(OSError):
                self._files.rm(temporary)
            raise
        if self._local:
            _sync_folder(Path(folder))


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
