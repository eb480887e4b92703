"""Commands that give and take access: token."""

import argparse

from service.access import signing_keys
from service.cli.options import add_common, load_settings

KEY_FILE = "signing-keys.json"
_DAY_S = 86_400


def add_commands(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add this module's commands; each sets ``run``, which returns the exit status."""
    token = subparsers.add_parser("token", help="print an access token of the built-in issuer")
    add_common(token)
    token.add_argument("--sub", required=True, metavar="S", help="whom the token stands for")
    token.add_argument(
        "--scope",
        default="items:read items:write",
        metavar='"…"',
        help="what it allows, words with blanks between (default: %(default)s)",
    )
    token.add_argument("--ttl", type=int, default=_DAY_S, metavar="SECONDS", help="its life time")
    token.set_defaults(run=_token)


def _token(args: argparse.Namespace) -> int:
    settings = load_settings(args).auth
    key = signing_keys.ensure_key_file(args.data_dir / KEY_FILE)
    print(
        signing_keys.mint(key, settings.issuer, settings.audience, args.sub, args.scope, args.ttl)
    )
    return 0
