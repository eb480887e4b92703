"""``python -m service.cli.reference`` prints docs/cli.md, made from the argument parsers."""

import argparse
import sys
from collections.abc import Iterator

from service.cli.main import command_line
from service.cli.options import add_common

_INTRO = """\
# Command line

This page is generated from the argument parsers by `make docs`; do not edit it.

Every command reads the [settings](settings.md). The exit status is 0 on success, 1 where a command
did only part of its work, 2 for a mistake on the command line or in the settings and for a server
that cannot be reached, 130 after Ctrl-C. Secrets are printed alone on standard output; messages go
to standard error. `hotshelf --version` prints the version that is installed.

Options of every command:

"""


def page() -> str:
    """The whole page, in Markdown."""
    shared = argparse.ArgumentParser(add_help=False)
    add_common(shared)
    names = {action.dest for action in shared._actions}
    sections = [
        _section(name, [a for a in parser._actions if a.dest not in names], parser)
        for name, parser in _commands("hotshelf", command_line())
    ]
    return "\n".join([_INTRO + "\n".join(_table(shared._actions)), "", *sections])


def _commands(
    name: str, parser: argparse.ArgumentParser
) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command without subcommands, by its full name, in the order of the parsers."""
    groups = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not groups:
        yield name, parser
    for group in groups:
        for word, command in group.choices.items():
            yield from _commands(f"{name} {word}", command)


def _section(name: str, actions: list[argparse.Action], parser: argparse.ArgumentParser) -> str:
    actions = [a for a in actions if not isinstance(a, argparse._HelpAction)]
    words = [name, *(_usage(action) for action in actions)]
    lines = [f"## {name}", "", *_sentence(parser.description), "```text", " ".join(words), "```"]
    if actions:
        lines += ["", *_table(actions)]
    if parser.epilog:
        lines += ["", parser.epilog.strip()]
    return "\n".join([*lines, ""])


def _table(actions: list[argparse.Action]) -> list[str]:
    rows = [f"| `{_argument(action)}` | {_meaning(action)} |" for action in actions]
    return ["| argument | meaning |", "|---|---|", *rows]


def _sentence(text: str | None) -> list[str]:
    """``text`` capitalized and with a full stop, followed by an empty line."""
    if not text:
        return []
    return [text[0].upper() + text[1:].removesuffix(".") + ".", ""]


def _usage(action: argparse.Action) -> str:
    text = _argument(action)
    return text if action.required else f"[{text}]"


def _argument(action: argparse.Action) -> str:
    value = "" if action.nargs == 0 else _value(action)
    return " ".join(filter(None, ["/".join(action.option_strings), value]))


def _value(action: argparse.Action) -> str:
    if action.metavar is not None:
        return str(action.metavar)
    if action.choices:
        return f"{{{','.join(map(str, action.choices))}}}"
    return action.dest.upper().replace("_", "-")


def _meaning(action: argparse.Action) -> str:
    return ((action.help or "") % vars(action)).replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
