r"""The regular expressions on which RE2 (DuckDB), Rust's regex (Polars) and Java's (Spark) agree: a small grammar.

    pattern     branch ("|" branch)*            no empty branch
    branch      piece+
    piece       atom quantifier? | "^" | "$"
    atom        character | escape | "." | class | "(" pattern ")" | "(?:" pattern ")"
    escape      \ and one of . + * ? ( ) | [ ] { } ^ $ - / \, or \n \t \r \f, or \d \D \s \S
    class       "[" "^"? (character | escape | range)+ "]"
    quantifier  ("*" | "+" | "?" | "{m}" | "{m,}" | "{m,n}") "?"?         m, n at most 1,000

What is repeated holds no repetition and no alternative of its own, so that no engine backtracks for ever. Everything
else is refused with the reason, and pandera runs it: case-insensitive and other flags, `\w`, `\b` (each engine has its
own Unicode tables), look-around, back references, possessive quantifiers, named groups.

A pattern of the subset is rewritten into one spelling that means the same in all three: `.` is `[^\n]`, `$` is `\z`,
`\d` and `\s` are Rust's own lists of characters.
"""

from __future__ import annotations

from secure_ml.errors import PreconditionError

__all__ = ["portable"]

_META = set("\\.+*?()|[]{}^$")
_ESCAPED = _META | set("-/")
_CONTROL = {"n": "\\n", "t": "\\t", "r": "\\r", "f": "\\f"}
_MAX_REPEAT = 1000
_MAX_LENGTH = 1000
_SPACE = "\\t-\\r \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
_ZEROS = (
    0x0030, 0x0660, 0x06F0, 0x07C0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0DE6,
    0x0E50, 0x0ED0, 0x0F20, 0x1040, 0x1090, 0x17E0, 0x1810, 0x1946, 0x19D0, 0x1A80, 0x1A90, 0x1B50, 0x1BB0, 0x1C40,
    0x1C50, 0xA620, 0xA8D0, 0xA900, 0xA9D0, 0xA9F0, 0xAA50, 0xABF0, 0xFF10, 0x104A0, 0x10D30, 0x10D40, 0x11066,
    0x110F0, 0x11136, 0x111D0, 0x112F0, 0x11450, 0x114D0, 0x11650, 0x116C0, 0x116D0, 0x116DA, 0x11730, 0x118E0,
    0x11950, 0x11BF0, 0x11C50, 0x11D50, 0x11DA0, 0x11F50, 0x16130, 0x16A60, 0x16AC0, 0x16B50, 0x16D70, 0x1CCF0,
    0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6, 0x1E140, 0x1E2F0, 0x1E4F0, 0x1E5F1, 0x1E950, 0x1FBF0,
)  # fmt: skip
_DIGIT = "".join(f"{chr(zero)}-{chr(zero + 9)}" for zero in _ZEROS)
_CLASSES = {"d": f"[{_DIGIT}]", "D": f"[^{_DIGIT}]", "s": f"[{_SPACE}]", "S": f"[^{_SPACE}]"}
_IN_CLASS = {"d": _DIGIT, "s": _SPACE}


class _Refused(Exception):  # noqa: N818 - a reason, caught in this file
    """The pattern is outside the subset; the message says why."""


class _Parser:
    def __init__(self, pattern: str) -> None:
        self.rest = list(reversed(pattern))

    def peek(self) -> str:
        return self.rest[-1] if self.rest else ""

    def take(self) -> str:
        if not self.rest:
            raise _Refused("it ends too early")
        return self.rest.pop()

    def pattern(self) -> tuple[str, bool]:
        """Return the rewritten pattern, and whether it holds a repetition or an alternative."""
        branches = [self.branch()]
        while self.peek() == "|":
            self.take()
            branches.append(self.branch())
        return "|".join(text for text, _ in branches), len(branches) > 1 or branches[0][1]

    def branch(self) -> tuple[str, bool]:
        parts: list[str] = []
        repeats = False
        while self.peek() not in ("", "|", ")"):
            text, repeated = self.piece()
            parts.append(text)
            repeats |= repeated
        if not parts:
            raise _Refused("it has an empty alternative or group")
        return "".join(parts), repeats

    def piece(self) -> tuple[str, bool]:
        if self.peek() in ("^", "$"):
            text = "^" if self.take() == "^" else "\\z"
            if self.peek() in ("*", "+", "?", "{"):
                raise _Refused("it repeats an anchor")
            return text, False
        atom, nested = self.atom()
        quantifier = self.quantifier()
        if quantifier and nested:
            raise _Refused("it repeats what repeats or chooses by itself, over which Java can backtrack for ever")
        return atom + quantifier, nested or bool(quantifier)

    def quantifier(self) -> str:
        if self.peek() not in ("*", "+", "?", "{"):
            return ""
        text = sign = self.take()
        if sign == "{":
            counts = ""
            while self.peek() != "}":
                counts += self.take()
            self.take()
            low, comma, high = counts.partition(",")
            if not (low.isascii() and low.isdigit()) or (high and not (high.isascii() and high.isdigit())):
                raise _Refused("a count is not {m}, {m,} or {m,n}")
            if int(low) > _MAX_REPEAT or (high and not int(low) <= int(high) <= _MAX_REPEAT):
                raise _Refused(f"it repeats more than {_MAX_REPEAT} times")
            text = "{" + low + comma + high + "}"
        if self.peek() == "?":
            self.take()
        if self.peek() in ("*", "+", "?", "{"):
            raise _Refused("it has a possessive or doubled quantifier")
        return text

    def atom(self) -> tuple[str, bool]:
        sign = self.take()
        match sign:
            case "(":
                if self.peek() == "?":
                    self.take()
                    if self.take() != ":":
                        raise _Refused("it has flags, a named group or look-around")
                text, nested = self.pattern()
                if self.take() != ")":
                    raise _Refused("a group does not close")
                return f"(?:{text})", nested
            case "[":
                return self.character_class(), False
            case ".":
                return "[^\\n]", False
            case "\\":
                return self.escape(), False
        if sign in _META:
            raise _Refused(f"{sign} stands where it means nothing")
        return _literal(sign), False

    def escape(self) -> str:
        sign = self.take()
        if sign in _CLASSES:
            return _CLASSES[sign]
        if sign in _CONTROL:
            return _CONTROL[sign]
        if sign in _ESCAPED:
            return "\\" + sign if sign in _META else sign
        raise _Refused(f"\\{sign} is not the same in every engine" if sign.isalnum() else "an escape is unknown")

    def character_class(self) -> str:
        negated = self.peek() == "^"
        if negated:
            self.take()
        items: list[str] = []
        while self.peek() != "]" or not items:
            item, single = self.class_item(first=not items)
            if self.peek() == "-" and len(self.rest) > 1 and self.rest[-2] != "]":
                self.take()
                end, end_single = self.class_item(first=False)
                if single is None or end_single is None or end_single < single:
                    raise _Refused("a range in a class does not run upward between two characters")
                item = f"{item}-{end}"
            items.append(item)
        self.take()
        return f"[{'^' if negated else ''}{''.join(items)}]"

    def class_item(self, *, first: bool) -> tuple[str, str | None]:
        sign = self.take()
        if sign == "\\":
            sign = self.take()
            if sign in _IN_CLASS:
                return _IN_CLASS[sign], None
            if sign in _CONTROL:
                return _CONTROL[sign], {"n": "\n", "t": "\t", "r": "\r", "f": "\f"}[sign]
            if sign not in _ESCAPED:
                raise _Refused("an escape in a class is not the same in every engine")
        elif sign in "[]^&~" or (sign == "-" and not first and self.peek() != "]"):
            raise _Refused("a class holds [ ] ^ & ~ or - unescaped")
        _literal(sign)
        return ("\\" + sign if sign in "\\[]^-&~" else sign), sign


def _literal(sign: str) -> str:
    if sign == "\x00" or "\ud800" <= sign <= "\udfff":
        raise _Refused("it holds a NUL character or half a character")
    return sign


def portable(pattern: str) -> str:
    """Rewrite a pattern of the subset so that it means the same to RE2, Rust and Java.

    Args:
        pattern: As it is written for Polars.

    Raises:
        PreconditionError: It is outside the subset; the message says why and does not quote it.
    """
    if len(pattern) > _MAX_LENGTH:
        raise PreconditionError(f"the pattern has more than {_MAX_LENGTH} characters")
    parser = _Parser(pattern)
    try:
        text, _ = parser.pattern()
        if parser.rest:
            raise _Refused("a group closes that was not opened")
    except _Refused as error:
        raise PreconditionError(f"the pattern is outside the portable subset: {error}") from None
    return text
