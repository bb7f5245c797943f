"""Follow quotes through a text as the parser does, and refuse what it would take without a word.

pyarrow closes an open quote at the end of the file by itself, and reads `"a"b` as `ab`: rows would
vanish into one value. https://arrow.apache.org/docs/cpp/api/formats.html#csv
"""

from __future__ import annotations

import re
import threading
from typing import Any, NoReturn

import numpy as np

from lambda_csv_loader.contract import Contract
from lambda_csv_loader.verdict import BadFile

_LINE_END = re.compile(rb"[\r\n]")


class QuoteScanner:
    """Looks at a text piece by piece; holds back at most two bytes.

    Attributes:
        inside: a quoted value is open.
        fault: where in the text the quote stands for which `BadFile` was raised.
    """

    def __init__(self, contract: Contract, *, lenient: bool = False) -> None:
        """Start before the first byte.

        Args:
            contract: tells delimiter, quote, escape, and whether values may hold line ends.
            lenient: only follow; raise nothing.
        """
        self._quote = (contract.quote or "").encode()
        self._escape = (contract.escape or "").encode()
        after_value = b"\r\n" + contract.delimiter.encode()
        self._opening = re.compile(b"[" + re.escape(after_value) + b"]" + re.escape(self._quote))
        self._escaped = re.compile(re.escape(self._escape) + b".", re.DOTALL)
        self._ends_value = np.zeros(256, bool)
        self._ends_value[list(after_value)] = True
        self._multiline, self._lenient = contract.multiline or lenient, lenient
        self._text_columns = any(column.column_type.is_text for column in contract.columns)
        self._held = b""
        self._before = b"\n"
        self._done = self._opened_at = 0
        self.inside = False
        self.fault: int | None = None

    def feed(self, piece: bytes, *, last: bool = False) -> None:
        """Look at the next piece of the text.

        Args:
            piece: of any length.
            last: nothing follows it.

        Raises:
            BadFile: a quote is not closed where it must be, or text follows a closed one.
        """
        text = self._held + piece if self._held else piece
        self._held = b""
        if self._escape and self._escape in text:
            text = self._without_escapes(text, last)
        if self._quote and (self.inside or self._quote in text):
            text = self._follow(text, last)
        self._done += len(text)
        self._before = text[-1:] or self._before
        if last and self.inside and not self._lenient:
            self._refuse(self._opened_at, "unclosed_quote", "a quote is opened and never closed")

    def goes_on_after(self, line: str) -> bool:
        """Feed a line with its end; tell whether the next line belongs to the same record."""
        text = line.encode()
        self.feed(text)
        # Of CRLF only the CR is escaped, so that the record ends nevertheless.
        escaped = self._escape and _LINE_END.search(self._escaped.sub(b"..", text)[-1:]) is None
        return self.inside or bool(escaped)

    def _without_escapes(self, text: bytes, last: bool) -> bytes:
        """Put something harmless in the place of each escape and what it escapes."""
        plain = self._escaped.sub(b"..", text)
        if not self._multiline and len(_LINE_END.findall(plain)) < len(_LINE_END.findall(text)):
            at = next(found.start() for found in self._escaped.finditer(text) if _LINE_END.search(found[0]))
            self._refuse_line_end(self._done + at, "a line end is escaped")
        if plain.endswith(self._escape) and not last:
            plain, self._held = plain[:-1], self._escape
        return plain

    def _follow(self, text: bytes, last: bool) -> bytes:
        """Bring `inside` to the end of `text`; return it without a quote that has to be held back."""
        held = self._follow_all(text, last)
        if held is None:
            held = self._follow_each(text, last)
        if not held:
            return text
        self._held = self._quote + self._held
        return text[:-1]

    def _follow_all(self, text: bytes, last: bool) -> bool | None:
        """Follow all quotes at once where each opens, closes or is doubled, as most do.

        Returns:
            Whether the last quote has to be held back; None where the quotes are not so plain.
        """
        content = np.frombuffer(text, np.uint8)
        quotes = np.flatnonzero(content == self._quote[0])
        opening, closing = quotes[int(self.inside) :: 2], quotes[1 - int(self.inside) :: 2]
        # By turns they open and close, so a quote before an opening one closes: together they are one
        # doubled quote. Not so at the start of a piece, since a closing one at its end is held back.
        before = np.where(opening > 0, content[opening - 1], self._before[0])
        doubled = (before == self._quote[0]) & (opening > 0)
        followed = content[closing[closing + 1 < len(content)] + 1]
        if (
            not (doubled | self._ends_value[before]).all()
            or not ((followed == self._quote[0]) | self._ends_value[followed]).all()
        ):
            return None
        if not self._multiline:
            ends = np.flatnonzero((content == 10) | (content == 13))
            if ((np.searchsorted(quotes, ends) + self.inside) % 2).any():
                return None
        if len(starts := opening[~doubled]):
            self._opened_at = self._done + int(starts[-1])
        self.inside ^= bool(len(quotes) % 2)
        # A closing quote at the end may be half of a doubled one: the next piece tells.
        held = bool(len(quotes)) and quotes[-1] == len(text) - 1 and not self.inside and not last
        self.inside |= held
        return held

    def _follow_each(self, text: bytes, last: bool) -> bool:
        """Follow the quotes one by one, exact for every text; return whether the last is held back."""
        at = 0
        while True:
            if not self.inside:
                start = self._opens(text, at)
                if start is None:
                    return False
                self.inside, self._opened_at, at = True, self._done + start, start + 1
            end = text.find(self._quote, at)
            if not self._multiline and _LINE_END.search(text, at, end if end >= 0 else len(text)):
                self._refuse_line_end(self._opened_at, "a quote is opened and not closed on its line")
            if end < 0:
                return False
            if end + 1 == len(text) and not last:
                return True
            at = end + 1
            if text.startswith(self._quote, at):
                at += 1
                continue
            self.inside = False
            if at < len(text) and not self._ends_value[text[at]] and not self._lenient:
                self._refuse(self._opened_at, "stray_quote", "text follows the quote that closes a value")

    def _opens(self, text: bytes, at: int) -> int | None:
        """Return where the next quoted value begins; a quote inside plain text is only a character."""
        if at == 0 and text.startswith(self._quote) and self._ends_value[self._before[0]]:
            return 0
        found = self._opening.search(text, at)
        return None if found is None else found.end() - 1

    def _refuse_line_end(self, at: int, message: str) -> NoReturn:
        hint = "; `multiline: true` in the contract allows values of several lines"
        self._refuse(at, "unclosed_quote", message + (hint if self._text_columns else ""))

    def _refuse(self, at: int, rule: str, message: str) -> NoReturn:
        self.fault = at
        raise BadFile(rule, message)


class ScannedText:
    """Lends a text to pyarrow, which closes what it is given, and scans what it reads.

    pyarrow reads ahead in a thread of its own, also for a while after it has refused the text.
    """

    def __init__(self, inner: Any, scanner: QuoteScanner) -> None:
        self._inner, self._scanner = inner, scanner
        self._reading, self._taken_back = threading.Lock(), False
        self.closed = False

    def readable(self) -> bool:
        """Tell that this can be read."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        with self._reading:
            if self._taken_back:
                return b""
            data: bytes = self._inner.read(size)
            self._scanner.feed(data)
            return data

    def take_back(self) -> None:
        """Await a read that is going on, and let none follow: the text is its owner's again."""
        with self._reading:
            self._taken_back = True

    def close(self) -> None:
        """Only note it: the text is closed by who opened it."""
        self.closed = True
