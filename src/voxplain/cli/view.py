"""`voxplain view`: the images and maps of a run folder in the browser, from this machine alone."""

import argparse
import sys
import webbrowser
from pathlib import Path


def add(parser: argparse.ArgumentParser, name: str) -> None:
    """The options of the command."""
    parser.add_argument("run_folder", type=Path, metavar="DIR", help="a run folder")
    parser.add_argument("--port", type=int, default=0, help="port on the loopback interface (default: any free one)")
    parser.add_argument("--no-browser", action="store_true", help="print the address and open nothing")


def run(chosen: argparse.Namespace) -> int:
    """Serve until Ctrl-C, which is how a viewer ends well."""
    from voxplain.report.viewer_server import ViewerServer

    with ViewerServer(chosen.run_folder, chosen.port) as server:
        for sentence in server.run.missing:
            print(f"missing: {sentence}", file=sys.stderr)
        print(f"viewer: {server.address}", "It serves this machine only; Ctrl-C ends it.", sep="\n", flush=True)
        if not chosen.no_browser:
            webbrowser.open(server.address)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print()
    return 0
