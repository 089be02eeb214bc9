"""What must hold of a text file before an engine reads it as a table: one pass over its bytes, in blocks.

The engine's CSV reader is strict about quotes and widths; this pass finds what it takes without a word (a NUL byte, a
file that ends inside a line) and gives what it refuses a sentence without cells.
"""

from __future__ import annotations

import codecs
import csv
import io
from typing import BinaryIO

from secure_ml.errors import MalformedError

__all__ = [
    "MAX_COLUMNS",
    "MAX_LINE_BYTES",
    "MAX_NAME",
    "column_names",
    "inspect_text",
    "require_names",
    "separator_hint",
]

MAX_LINE_BYTES = 1 << 20
MAX_COLUMNS = 4096
MAX_NAME = 40
_BLOCK_BYTES = 1 << 20


def inspect_text(stream: BinaryIO, where: str, *, quoted: bool) -> None:
    """Read a text file once, from its start.

    Args:
        stream: Read in blocks to its end.
        where: What to call the file in an error.
        quoted: Whether `"` quotes line ends, as in CSV.

    Raises:
        MalformedError: Not UTF-8, a NUL byte, a line that is too long, mixed line ends, a quote that does not close, or
            a last line without an end.
    """
    decoder = codecs.getincrementaldecoder("utf-8")()
    position = windows = unix = lone = line = 0
    inside, carry, last = False, b"", b""
    while block := stream.read(_BLOCK_BYTES):
        if b"\x00" in block:
            raise MalformedError(f"{where}: expected text, found a NUL byte at position {position + block.index(0)}")
        try:
            decoder.decode(block)
        except UnicodeDecodeError as error:
            at = position + error.start - len(error.object) + len(block)
            raise MalformedError(f"{where}: expected UTF-8 text, found an invalid byte at position {at}") from None
        line = _open_line(block, line, where)
        text = carry + block
        carry = text[-1:] if text.endswith(b"\r") else b""
        text = text[: len(text) - len(carry)]
        for index, part in enumerate(text.split(b'"') if quoted else [text]):
            inside ^= index > 0
            if not inside:
                ends = part.count(b"\r\n")
                windows, unix, lone = (
                    windows + ends,
                    unix + part.count(b"\n") - ends,
                    lone + part.count(b"\r") - ends,
                )
        position += len(block)
        last = block[-1:]
    if inside:
        row = _line_of_quote(stream)
        raise MalformedError(f"{where}{row}: expected CSV, found a quote that does not close or is out of place")
    try:
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise MalformedError(f"{where}: expected UTF-8 text, found half a character at its end") from None
    if last != b"\n":
        raise MalformedError(f"{where}: truncated, or the last line has no line end: add one if the file is whole")
    if lone or (windows and unix):
        raise MalformedError(
            f"{where}: mixed line ends ({windows} CR LF, {unix} LF, {lone} lone CR); use one kind in the whole file"
        )


def _line_of_quote(stream: BinaryIO) -> str:
    """Say in which line the row begins whose quotes are wrong, where it can be told."""
    stream.seek(0)
    reader, begins = csv.reader(codecs.getreader("utf-8")(stream, "replace"), strict=True), 1
    try:
        for _ in reader:
            begins = reader.line_num + 1
    except csv.Error:
        return f", line {begins}"
    return ""


def separator_hint(names: list[str]) -> str:
    """Ask what stands between the names of a CSV file where it may be no comma, without a name."""
    for separator, said in ((";", "semicolons"), ("\t", "tabs")):
        if any(separator in name for name in names):
            return f"; do {said} stand between the names? commas are expected"
    return ""


def _open_line(block: bytes, line: int, where: str) -> int:
    """Return the bytes of the line that is still open at the end of the block, `line` of them from before it."""
    sizes = [len(part) for part in block.split(b"\n")]
    sizes[0] += line
    if max(sizes) > MAX_LINE_BYTES:
        raise MalformedError(f"{where}: a line of more than {MAX_LINE_BYTES} bytes, at most that many are read")
    return sizes[-1]


def column_names(stream: BinaryIO, where: str) -> list[str]:
    """Read the first record of a CSV file that was inspected, stripped.

    Raises:
        MalformedError: Empty, or more than `MAX_COLUMNS` columns.
    """
    head = stream.read(MAX_LINE_BYTES + 1)
    text = io.StringIO(head.decode("utf-8-sig", errors="replace"), newline="")
    try:
        record = next((row for row in csv.reader(text, strict=True) if row), None)
    except csv.Error:
        raise MalformedError(f"{where}: expected CSV, the first line is none") from None
    if record is None:
        raise MalformedError(f"{where}: no rows, found only empty lines")
    if text.getvalue()[:1] in "\r\n":
        raise MalformedError(f"{where}: the first line is empty, expected the names of the columns")
    if len(record) > MAX_COLUMNS:
        raise MalformedError(f"{where}: {len(record)} columns, at most {MAX_COLUMNS} are read")
    return [cell.strip() for cell in record]


def require_names(names: list[str], where: str) -> None:
    """Refuse column names that are empty, too many or not each of its own, upper and lower case apart from nothing.

    Raises:
        MalformedError: So they are.
    """
    if len(names) > MAX_COLUMNS:
        raise MalformedError(f"{where}: {len(names)} columns, at most {MAX_COLUMNS} are read")
    seen: set[str] = set()
    for name in names:
        if not name or "\x00" in name:
            raise MalformedError(f"{where}: a column has no name, or one with a NUL character")
        if name.casefold() in seen:
            raise MalformedError(f"{where}: two columns are named {name[:MAX_NAME]!r}, expected each name once")
        seen.add(name.casefold())
