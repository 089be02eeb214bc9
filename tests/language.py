"""Scanner for the language rules of this project.

The rules cover docstrings, comments, messages, names and Markdown. `tests/unit/test_language.py` applies them.

    python -m tests.language PATHS             list the offences in these files and folders, as file:line
    python -m tests.language --write-pending   remove clean files from tests/language_pending.py, and follow moved ones
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = ("assets", "docs", "infra", "resources", "secure_ml", "sensors", "tests")
SUFFIXES = {".py", ".md", ".html", ".j2"}
# These two files have to contain the words that they forbid.
EXEMPT = {"tests/language.py", "tests/unit/test_language.py"}
PENDING_FILE = ROOT / "tests" / "language_pending.py"

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_SEMICOLONS_PER_100_SENTENCES = 3

DIALECT = re.compile(
    r"\b(?:where there (?:is|are|was|were)|(?:is|are|was|were) none|anew|afresh|so they are"
    r"|each of its own|apart from nothing|(?:held|holds?|holding) against)\b"
)
# A sentence that starts with "What" or "Who" and is not a question has no subject.
HEADLESS = re.compile(r"(?:^|[.!?:]\s+)(?:What|Who)\b[^.!?]*[.!](?:\s|$)")
BAD_NAMES = frozenset(["said", "given", "found", "held", "kept", "made", "asked", "place", "of", "by", "own", "few"])
SENTENCE_END = re.compile(r"[.!?](?=\s|$)")
INLINE_CODE = re.compile(r"`[^`]*`")


@dataclass(frozen=True, slots=True, order=True)
class Offence:
    """One broken rule at one line of one file."""

    path: str
    line: int
    problem: str

    def __str__(self) -> str:
        """Render as file:line: problem."""
        return f"{self.path}:{self.line}: {self.problem}"


@dataclass(slots=True)
class Scan:
    """Offences of one file, with the sentences and the lines of semicolons in its docstrings or Markdown."""

    path: str
    sentences: int = 0
    semicolons: list[int] = field(default_factory=list)
    offences: list[Offence] = field(default_factory=list)

    def report(self, line: int, problem: str) -> None:
        """Add an offence."""
        self.offences.append(Offence(self.path, line, problem))


def allowed_semicolons(sentences: int) -> int:
    """Number of semicolons that a text of so many sentences may contain."""
    return sentences * MAX_SEMICOLONS_PER_100_SENTENCES // 100


def scan_file(path: Path, root: Path = ROOT) -> Scan:
    """Apply all rules to one file."""
    scan = Scan(path.relative_to(root).as_posix())
    text = path.read_text(encoding="utf-8")
    lines = len(text.splitlines())
    if lines > MAX_FILE_LINES:
        scan.report(1, f"the file has {lines} lines, expected at most {MAX_FILE_LINES}")
    if path.suffix == ".py":
        _scan_python(scan, text)
    elif path.suffix == ".md":
        _scan_markdown(scan, text)
    else:
        _scan_words(scan, 1, text)
    # A short file may contain one semicolon. The limit over the whole project still holds.
    limit = max(1, allowed_semicolons(scan.sentences))
    if len(scan.semicolons) > limit:
        count, lines_text = len(scan.semicolons), ", ".join(map(str, scan.semicolons))
        problem = f"{count} semicolons in {scan.sentences} sentences, expected at most {limit} (lines {lines_text})"
        scan.report(scan.semicolons[0], problem)
    scan.offences.sort()
    return scan


def project_files(root: Path = ROOT) -> list[Path]:
    """All files of the repository that the rules apply to, in order."""
    files = list(root.glob("*.md"))
    for folder in FOLDERS:
        files += [path for path in (root / folder).rglob("*") if path.suffix in SUFFIXES and path.is_file()]
    return sorted(path for path in files if path.relative_to(root).as_posix() not in EXEMPT)


def _scan_words(scan: Scan, first_line: int, text: str) -> None:
    """Report dialect words, with the line each of them begins on."""
    joined = re.sub(r"\s", " ", text)
    for match in DIALECT.finditer(joined):
        scan.report(first_line + text.count("\n", 0, match.start()), f"dialect: {match[0]!r}")


def _scan_prose(scan: Scan, first_line: int, text: str, *, count: bool = True) -> None:
    """Report dialect and headless sentences of a paragraph, and count its sentences and semicolons."""
    _scan_words(scan, first_line, text)
    prose = INLINE_CODE.sub("`", text)
    for match in HEADLESS.finditer(prose):
        start = match.start() + len(match[0]) - len(match[0].lstrip(".!?: \n"))
        sentence = " ".join(match[0].strip(".!?: \n").split())
        line = first_line + prose.count("\n", 0, start)
        scan.report(line, f"a sentence without a subject: '{sentence[:40]} ...'")
    if count:
        scan.sentences += max(1, len(SENTENCE_END.findall(prose)))
        scan.semicolons += [first_line + prose.count("\n", 0, match.start()) for match in re.finditer(";", prose)]


def _scan_markdown(scan: Scan, text: str) -> None:
    """Split Markdown into paragraphs, list items, headings and table rows, and scan each."""
    block: list[str] = []
    in_code = False
    for number, line in enumerate([*text.split("\n"), ""], start=1):
        fence = line.lstrip().startswith("```")
        structural = re.match(r"\s*(?:[-*]|\d+\.|#+|\||>)\s", line) or line.startswith("<!--")
        if block and (fence or structural or not line.strip()):
            _scan_prose(scan, number - len(block), "\n".join(block))
            block = []
        if fence:
            in_code = not in_code
        elif in_code or re.match(r"\s*(?:#+\s|\|)", line):
            # Code, headings and table rows are not sentences, but their words count.
            _scan_words(scan, number, line)
        elif line.strip() and not line.startswith("<!--"):
            block.append(re.sub(r"^\s*(?:[-*]|\d+\.|>)\s+", "", line))


def _scan_python(scan: Scan, text: str) -> None:
    tree = ast.parse(text)
    docstrings: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            _scan_definition(scan, node, docstrings)
        for name in _names(node):
            if name in BAD_NAMES:
                scan.report(getattr(node, "lineno", 1), f"the name {name!r} is not a noun")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            _scan_words(scan, node.lineno, node.value)
    for line, comment in _comments(text):
        _scan_prose(scan, line, comment, count=False)


def _scan_definition(
    scan: Scan, node: ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef, docstrings: set[int]
) -> None:
    """Check the length and the docstring of a module, class or function."""
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if lines > MAX_FUNCTION_LINES:
            scan.report(node.lineno, f"{node.name} has {lines} lines, expected at most {MAX_FUNCTION_LINES}")
    docstring = ast.get_docstring(node)
    if docstring is None:
        return
    constant = node.body[0].value  # type: ignore[attr-defined]
    docstrings.add(id(constant))
    _scan_prose(scan, constant.lineno, docstring)
    for offset, entry in _raises_entries(docstring):
        if not re.match(r"[\w., ]+: If\b", entry):
            scan.report(constant.lineno + offset, f"a Raises entry does not begin with 'If': '{entry[:40]}'")


def _raises_entries(docstring: str) -> Iterator[tuple[int, str]]:
    """Yield the entries of the Raises section, with the number of lines above each."""
    inside = False
    for offset, line in enumerate(docstring.split("\n")):
        if match := re.match(r"Raises:\s*(.*)", line):
            inside = True
            if match[1]:
                yield offset, match[1]
        elif line and not line.startswith(" "):
            inside = False
        elif inside and re.match(r" {4}\S", line):
            yield offset, line.strip()


def _comments(text: str) -> Iterator[tuple[int, str]]:
    """Yield the first line number and the text of each comment, whole-line comments below each other joined."""
    start, rows = 0, []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type != tokenize.COMMENT:
            continue
        line = token.start[0]
        words = token.string.lstrip("#!: ")
        if rows and line == start + len(rows) and not token.line[: token.start[1]].strip():
            rows.append(words)
            continue
        if rows:
            yield start, "\n".join(rows)
        start, rows = line, [words]
    if rows:
        yield start, "\n".join(rows)


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the names that a node defines, without leading underscores."""
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name) | ast.alias(asname=str(name)):
            yield name.strip("_")
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            yield name.strip("_")
        case ast.Attribute(attr=name, ctx=ast.Store()) | ast.MatchAs(name=str(name)):
            yield name.strip("_")


def write_pending(scans: list[Scan]) -> int:
    """Rewrite the list of pending files, which never becomes longer."""
    before = re.findall(r'^    "(.*)",$', PENDING_FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    after = [scan.path for scan in scans if scan.offences]
    if len(after) > len(set(before)):
        added = sorted(set(after) - set(before))
        print(f"pending files: the list would grow, expected at most {len(before)}, found {len(after)}; clean {added}")
        return 1
    head = PENDING_FILE.read_text(encoding="utf-8").partition("PENDING")[0]
    rows = "".join(f'    "{path}",\n' for path in after)
    PENDING_FILE.write_text(f"{head}PENDING: tuple[str, ...] = ({chr(10) + rows if rows else ''})\n", encoding="utf-8")
    print(f"pending files: {len(after)}")
    return 0


def main(arguments: list[str]) -> int:
    """List the offences of the given files and folders, or of the whole project."""
    files = project_files()
    if arguments == ["--write-pending"]:
        return write_pending([scan_file(path) for path in files])
    if arguments:
        roots = [Path(argument).resolve() for argument in arguments]
        files = [path for path in files if any(path.is_relative_to(root) for root in roots)]
    scans = [scan_file(path) for path in files]
    for scan in scans:
        for offence in scan.offences:
            print(offence)
    total = sum(len(scan.offences) for scan in scans)
    sentences, semicolons = sum(scan.sentences for scan in scans), sum(len(scan.semicolons) for scan in scans)
    print(f"{len(files)} files: {total} offences, {semicolons} semicolons in {sentences} sentences")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
