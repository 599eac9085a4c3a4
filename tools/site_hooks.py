"""What the documentation's site needs beyond docs/: README.md is its first page."""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

README = Path(__file__).resolve().parent.parent / "README.md"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add README.md as index.md, with links as they are seen from docs/."""
    text = re.sub(r"\]\(docs/", "](", README.read_text("utf-8"))
    text = text.replace("[LICENSE](LICENSE)", "LICENSE")
    files.append(File.generated(config, "index.md", content=text))
    return files
