"""From the bytes of an object to UTF-8 text, in bounded memory, with everything counted.

Compression is recognised by content, never by name alone; a bomb is stopped by a ratio cap; the
first bytes tell other formats (ZIP, Parquet, HTML ...) from text.
"""

from __future__ import annotations

import codecs
import gzip
import hashlib
import io
import zlib
from pathlib import PurePosixPath
from typing import Protocol, cast

import numpy as np
import pyarrow as pa

from lambda_csv_loader.contract import MEGABYTE, Contract
from lambda_csv_loader.verdict import BadFile

BLOCK = 1 << 20
"""Bytes read at a time; also the longest record accepted."""
# Small files compress absurdly well (a page of zeros); only above this does the ratio mean harm.
RATIO_FREE = 10 * MEGABYTE
_FOREIGN = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF document",
    b"Obj\x01": "an Avro file",
    b"ORC": "an ORC file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\0": "an xz file",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
}
# Looked at to tell what a file is.
_FIRST = 1024
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_SUFFIXES = {".gz": "gzip", ".gzip": "gzip", ".zst": "zstd", ".zstd": "zstd"}


class Readable(Protocol):
    """The part of a binary file that is needed."""

    def read(self, size: int = -1, /) -> bytes:
        """Return up to `size` bytes, none at the end."""

    def close(self) -> None:
        """Close it."""


class Source(Protocol):
    """An object that can be read from its start as often as needed, always the same version."""

    @property
    def name(self) -> str:
        """Return the object's key."""

    def open(self) -> Readable:
        """Open it at its first byte."""


class HashedBytes(io.RawIOBase):
    """The stored bytes, hashed and counted on their way."""

    def __init__(self, inner: Readable) -> None:
        self._inner = inner
        self._sha256 = hashlib.sha256()
        self._peeked = b""
        self.bytes = 0

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def peek(self, size: int) -> bytes:
        """Return the first `size` bytes without consuming them."""
        while len(self._peeked) < size and (more := self._take(size - len(self._peeked))):
            self._peeked += more
        return self._peeked[:size]

    def readinto(self, buffer: object) -> int:
        """Fill `buffer`; return how many bytes it got."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes."""
        if self._peeked:
            size = len(self._peeked) if size < 0 else size
            data, self._peeked = self._peeked[:size], self._peeked[size:]
            return data
        return self._take(BLOCK if size < 0 else size)

    def sha256(self, limit: int) -> str:
        """Read what is left and return the digest of the whole object; none of one larger than `limit`."""
        while self.bytes <= limit:
            if not self.read(BLOCK):
                return self._sha256.hexdigest()
        return ""

    def _take(self, size: int) -> bytes:
        data = self._inner.read(size)
        self._sha256.update(data)
        self.bytes += len(data)
        return data

    def close(self) -> None:
        """Close the object's stream."""
        self._inner.close()
        super().close()


class PlainText(io.RawIOBase):
    """The file's text as UTF-8 without a byte order mark.

    Reading raises `BadFile` for what makes a file unreadable: a foreign format, a broken or
    exploding compression, a wrong encoding, a NUL byte, a file over the contract's limit.

    Attributes:
        compression: gzip, zstd or None.
        bytes: decompressed bytes read so far.
        line_ends: line ends read so far.
    """

    def __init__(self, source: Source, contract: Contract, size: int | None = None) -> None:
        """Open `source`; nothing is read yet.

        Args:
            source: the object.
            contract: of its dataset.
            size: of the stored object, where it is known.
        """
        self._contract, self._size = contract, size
        self._name = source.name
        self.stored = HashedBytes(source.open())
        self._pending = b""
        self._ended = False
        self._after_cr = self._ends_line = False
        self.bytes = self.line_ends = 0
        self._before_text = 0
        self.compression: str | None = None
        self._decoder = codecs.getincrementaldecoder(contract.encoding)()
        self._is_utf8 = codecs.lookup(contract.encoding).name == "utf-8"
        self._inner: Readable | None = None

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        wanted = BLOCK if size < 0 else size
        parts, have = [], 0
        while have < wanted:
            if not self._pending and not self._fill():
                break
            part = self._pending[: wanted - have]
            self._pending = self._pending[len(part) :]
            parts.append(part)
            have += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def readinto(self, buffer: object) -> int:
        """Fill `buffer`; return how many bytes it got."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)

    def take_line(self) -> bytes:
        """Return the first line without its end, and leave the stream after it.

        Raises:
            BadFile: it is longer than a record may be.
        """
        while True:
            ends = [at for at in (self._pending.find(b"\n"), self._pending.find(b"\r")) if at >= 0]
            # A CR at the very end may be half of CRLF.
            if ends and (min(ends) + 1 < len(self._pending) or self._ended):
                break
            if len(self._pending) > BLOCK:
                raise BadFile("long_line", f"the first line is longer than {BLOCK} bytes", line=1)
            if not self._grow():
                break
        if not ends:
            line, self._pending = self._pending, b""
            return line
        at = min(ends)
        line = self._pending[:at]
        skip = 2 if self._pending[at : at + 2] == b"\r\n" else 1
        self._pending = self._pending[at + skip :]
        return line

    def lines(self) -> int:
        """Return how many lines were read, the last one with or without a line end."""
        return self.line_ends + (self.bytes > 0 and not self._ends_line)

    def close(self) -> None:
        """Close the object's stream."""
        self.stored.close()
        super().close()

    def _grow(self) -> bool:
        before = self._pending
        self._pending = b""
        grown = self._fill()
        self._pending = before + self._pending
        return grown

    def _fill(self) -> bool:
        while not self._ended:
            self._pending = self._checked(self._read_inner(BLOCK))
            if self._pending:
                return True
        return False

    def _decompressor(self) -> Readable:
        if self.compression == "gzip":
            return gzip.GzipFile(fileobj=self.stored)
        if self.compression == "zstd":
            return cast(Readable, pa.CompressedInputStream(pa.PythonFile(self.stored, mode="r"), "zstd"))
        return self.stored

    def _read_inner(self, size: int) -> bytes:
        if self._inner is None:
            self.compression = _compression(self._name, self.stored.peek(_FIRST))
            if self.compression is None and self._size is not None:
                self._check_size(self._size)
            self._inner = self._decompressor()
        try:
            data: bytes = self._inner.read(size)
        except EOFError:
            raise BadFile("truncated", f"the {self.compression} file ends before its end mark") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise BadFile("compression", f"the gzip file is broken: {error}") from None
        except OSError as error:
            # Arrow reports a broken zstd stream as OSError; from anything else it is the network.
            if self.compression != "zstd" or error.errno is not None:
                raise
            rule = "truncated" if "Truncated" in str(error) else "compression"
            raise BadFile(rule, f"the zstd file is broken: {error}") from None
        self._ended = not data
        return data

    def _checked(self, data: bytes) -> bytes:
        if self.bytes == 0:
            data = self._sniff(data)
        self.bytes += len(data)
        self._check_limits()
        text = self._to_utf8(data)
        if b"\0" in text:
            at = self._before_text + self.bytes - len(data) + text.index(b"\0")
            raise BadFile("nul", f"a NUL byte at offset {at}: not text, or text in UTF-16")
        ends = _line_feeds(text) + text.count(b"\r") - text.count(b"\r\n")
        self.line_ends += ends - (self._after_cr and text.startswith(b"\n"))
        if text:
            self._after_cr = text.endswith(b"\r")
            self._ends_line = text.endswith((b"\n", b"\r"))
        return text

    def _sniff(self, data: bytes) -> bytes:
        if not data:
            raise BadFile("empty_file", "empty file: 0 bytes")
        for magic, what in _FOREIGN.items():
            # A column may be called ORCID: what is text up to its first line's end is no binary file.
            if data.startswith(magic) and not (magic.isalnum() and _is_text(data)):
                raise BadFile("foreign_format", f"not CSV: this is {what}")
        if self._is_utf8:
            for mark, name in ((codecs.BOM_UTF16_LE, "UTF-16LE"), (codecs.BOM_UTF16_BE, "UTF-16BE")):
                if data.startswith(mark):
                    raise BadFile(
                        "encoding",
                        f"the file is encoded in {name}, the contract says {self._contract.encoding}",
                    )
            if data.startswith(codecs.BOM_UTF8):
                data = data.removeprefix(codecs.BOM_UTF8)
                self._before_text = len(codecs.BOM_UTF8)
        start = data[:_FIRST].lstrip()
        if start[:1] in (b"{", b"["):
            raise BadFile("foreign_format", "not CSV: this looks like JSON")
        if start[:1] == b"<":
            raise BadFile("foreign_format", "not CSV: this looks like HTML or XML")
        return data

    def _check_limits(self) -> None:
        self._check_size(self.bytes)
        ratio = self._contract.max_compression_ratio
        if self.compression and self.bytes > RATIO_FREE and self.bytes > ratio * max(self.stored.bytes, 1):
            raise BadFile(
                "compression_ratio",
                f"the {self.compression} file unpacks to more than {ratio} times its size",
            )

    def _check_size(self, size: int) -> None:
        if size > self._contract.max_megabytes * MEGABYTE:
            raise BadFile("too_large", f"the file is larger than {self._contract.max_megabytes} MB")

    def _to_utf8(self, data: bytes) -> bytes:
        held = self._decoder.getstate()[0]
        if self._is_utf8 and not held and data.isascii():
            return data
        try:
            text = self._decoder.decode(data, final=self._ended)
        except UnicodeDecodeError as error:
            at = self._before_text + self.bytes - len(data) - len(held) + error.start
            raise BadFile(
                "encoding", f"not {self._contract.encoding} at byte {at}: 0x{error.object[error.start]:02x}"
            ) from None
        return text.encode()


def _line_feeds(text: bytes) -> int:
    # `bytes.count` looks for one after the other, which takes many times as long where lines are short.
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord("\n")))


def _is_text(data: bytes) -> bool:
    """Tell whether the first line is plain text, and longer than the magic alone."""
    line = data[:4096].splitlines()[0]
    return len(line) > 4 and line.isascii() and all(byte >= 32 or byte == 9 for byte in line)


def _compression(name: str, start: bytes) -> str | None:
    found = "gzip" if start.startswith(_GZIP) else "zstd" if start.startswith(_ZSTD) else None
    named = _SUFFIXES.get(PurePosixPath(name).suffix.lower())
    if named and start and found != named:
        raise BadFile("compression", f"named {PurePosixPath(name).suffix} but not {named}")
    return found
