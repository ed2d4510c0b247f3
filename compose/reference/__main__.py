"""Write the generated pages: `python -m compose.reference [--check]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from compose.reference.client_page import client_page
from compose.reference.proto_tables import proto_page
from compose.reference.verbs_table import verbs_page

ROOT = Path(__file__).parents[2]
PROTOS = ("serving", "events", "samples", "models", "quality", "features")
MARK = "<!-- generated below: python -m compose.reference -->"
_API_HEAD = """\
# API reference

Made from `protos/*.proto` and the docstrings of `headrace_client`. gRPC is in `serving.proto`, topics in the others;
who sends and reads them is in the [design](design.md).

"""


def api_page() -> str:
    """Return the page of the API."""
    text = _API_HEAD + f"{MARK}\n\n## Python: `headrace_client`\n\n" + client_page()
    for name in PROTOS:
        proto = (ROOT / "protos" / f"{name}.proto").read_text(encoding="utf-8")
        text += f"\n## protos/{name}.proto\n\n" + proto_page(proto)
    return text.rstrip() + "\n"


def commands_page() -> str:
    """Return the page of the commands: what is written by hand, then the tables."""
    by_hand = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8").split(MARK)[0]
    return f"{by_hand}{MARK}\n\n{verbs_page()}"


def pages() -> dict[Path, str]:
    """Return every generated page by its path."""
    return {ROOT / "docs" / "api.md": api_page(), ROOT / "docs" / "commands.md": commands_page()}


def main() -> int:
    """Write the pages, or say which are old."""
    parser = argparse.ArgumentParser(prog="python -m compose.reference", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 where a page is old")
    is_check = parser.parse_args().check
    old = [path for path, text in pages().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in old:
        print(f"{'old' if is_check else 'wrote'}: {path.relative_to(ROOT)}")
        if not is_check:
            path.write_text(pages()[path], encoding="utf-8")
    return int(is_check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
