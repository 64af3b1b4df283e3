"""``understudy serve``: a small server for devices."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import cv2

from understudy.config.build import choose_residual
from understudy.config.compose import compose_config, read_flags
from understudy.config.help import help_text
from understudy.config.read import as_text, read
from understudy.config.schema import Serve
from understudy.config.serve import build_served_job, server_settings
from understudy.errors import MissingExtraError

HELP = """usage: understudy serve [key=value ...]

Takes pictures over HTTP and gives them back anonymised; nothing is kept. Open the address that it prints for a page to
try it out, or send a picture from a program:

  curl --data-binary @in.jpg -H 'Content-Type: image/jpeg' -o out.jpg http://127.0.0.1:8765/v1/anonymize

ends    0 stopped by SIGTERM; 1 nothing could be served; 130 stopped by Ctrl-C
"""


def run(arguments: Sequence[str]) -> int:
    """Run the command."""
    flags = read_flags(arguments)
    if flags.show_help:
        print(help_text("serve", HELP, choose_residual(())))
        return 0
    config = compose_config("serve", choose_residual(flags.overrides), flags.config_folder)
    if flags.print_config:
        print(as_text(config), end="")
        return 0
    return serve(read(config, Serve, "serve"))


def serve(settings: Serve) -> int:
    """Check what can be checked at once, load the parts, and serve until a signal comes."""
    try:
        server = importlib.import_module("understudy.serve.run")
    except ModuleNotFoundError as error:
        if str(error.name).startswith("understudy"):
            raise
        raise MissingExtraError(f"{error.name} is not installed: pip install 'understudy[serve]'") from error
    limits = server_settings(settings)
    if not server.check_exposure(limits):
        _say("others reach this server, and their pictures cross the network unencrypted: put TLS before it")
    cv2.setNumThreads(1)  # results do not depend on how many cores there are
    built = build_served_job(settings)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(settings.runtime.n_threads)
    for warning in built.warnings:
        _say(warning)
    code: int = server.run_server(built.job, limits, _say)
    return code


def _say(text: str) -> None:
    print(f"understudy: {text}", file=sys.stderr, flush=True)
