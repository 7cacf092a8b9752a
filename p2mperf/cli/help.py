"""How help texts are laid out: as wide as the terminal, up to a width that can be read."""

from __future__ import annotations

import re
import shlex
import shutil
from argparse import Action, HelpFormatter as _HelpFormatter
from collections.abc import Iterable
from textwrap import fill, wrap

from p2mperf.cli.invocation import as_called, program

_WIDEST = 108
_NARROWEST = 40
# "  name    what it is": what wraps goes on below the second column.
_ITEM = re.compile(r"(  \S+(?: \S+)*  +)(\S.*)")


def columns() -> int:
    """How wide lines of help may be."""
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns - 1))


class HelpFormatter(_HelpFormatter):
    """Fills paragraphs and lists anew, and breaks long examples so that a shell still takes them."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28 if columns() >= 80 else 22, width=columns())

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return filled(text, width)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrap(" ".join(text.split()), width, break_on_hyphens=False)

    def _format_usage(
        self, usage: str | None, actions: Iterable[Action], groups: object, prefix: str | None
    ) -> str:
        """Name what cannot be left out; the list of options comes below."""
        if usage is None:
            needed = [action for action in actions if action.required or not action.option_strings]
            usage = " ".join(["%(prog)s [options]", *map(self._usage_of, needed)])
        text = f"{prefix or 'usage: '}{usage % {'prog': self._prog}}"
        return f"{fill(text, columns(), subsequent_indent=' ' * 11, break_on_hyphens=False)}\n\n"

    def _usage_of(self, action: Action) -> str:
        value = self._format_args(action, action.dest.upper())
        return " ".join([*action.option_strings[:1], value])


def filled(text: str, width: int) -> str:
    """Lay a help text out.

    Parameters
    ----------
    text : str
        Paragraphs with empty lines between them. A line that begins with two spaces is an item of a list, or
        an example where it names the program; one that ends with a backslash goes on in the next.
    width : int
        Characters a line.

    Returns
    -------
    str
        Without a final newline.
    """
    blocks = [_filled_block(block, width) for block in re.split(r"\n\s*\n", text.strip("\n"))]
    return "\n\n".join(blocks)


def _filled_block(block: str, width: int) -> str:
    lines: list[str] = []
    paragraph: list[str] = []
    for line in [*re.sub(r"\s*\\\n\s*", " ", block).splitlines(), "  "]:
        if not line.startswith("  "):
            paragraph.append(line)
            continue
        if paragraph:
            lines.append(fill(as_called(" ".join(paragraph)), width, break_on_hyphens=False))
            paragraph = []
        if line.strip():
            lines.append(_filled_item(as_called(line), width))
    return "\n".join(lines)


def _filled_item(line: str, width: int) -> str:
    if program() in line:
        return _broken_example(line.strip(), width)
    if found := _ITEM.fullmatch(line):
        name, what = found.groups()
        if len(name) <= width // 2:
            return fill(what, width, initial_indent=name, subsequent_indent=" " * len(name))
    return fill(line.strip(), width, initial_indent="  ", subsequent_indent="      ")


def _broken_example(line: str, width: int) -> str:
    """An example in lines that a shell takes for one."""
    lines, current = [], " "
    for word in _shell_words(line):
        if len(current) + 1 + len(word) + 2 > width and current.strip():
            lines.append(f"{current} \\")
            current = "     "
        current += f" {word}"
    return "\n".join([*lines, current])


def _shell_words(line: str) -> list[str]:
    """Words of a command as they are written, an option with what follows it."""
    lexer = shlex.shlex(line, posix=False, punctuation_chars="|<>;")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in lexer:
        if words and re.fullmatch(r"-[a-zA-Z-]\S*", words[-1]) and not word.startswith("-"):
            words[-1] += f" {word}"
        else:
            words.append(word)
    return words
