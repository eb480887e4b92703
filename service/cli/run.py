"""``hotshelf run``: everything a newcomer needs, started on this machine and stopped again."""

import argparse
import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path

from service import settings as setting_sources
from service.access import signing_keys
from service.cli.access import KEY_FILE
from service.cli.options import add_common
from service.embedded import EmbeddedStack, Stack
from service.items.bulk_import import load_sample
from service.serve import ServeOptions, serve
from service.settings import Http, Settings
from service.store.migrate import migrate

_DEVELOPER = "developer"
_SCOPE = "items:read items:write"
_TOKEN_TTL_S = 30 * 86_400
