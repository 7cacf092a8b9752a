"""Run the notebooks in place, so that what they show is what they say; nothing in an output is made by hand.

``python tools/notebooks.py [NAME ..]`` runs those whose names begin so, or all, and writes their outputs:
without paths of this machine, addresses in memory and times of cells, and with small pictures. ``--check``
runs them as well and writes nothing, but says in which of them a text or a table would change; cells tagged
``varies`` show what is measured on the spot, and are not compared.
"""

from __future__ import annotations

import argparse
import base64
import re
import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
SECONDS = 300
VARIES = "varies"
_N_COLOURS = 128
# Wide pages are shown at half of that: no more of a picture is ever seen.
_WIDEST_PIXELS = 1600
_TEXTS = ("text/markdown", "text/html")
_WIDGET = "application/vnd.jupyter.widget-view+json"


def run(notebook: Any, folder: Path) -> None:
    """Run all cells in a fresh kernel that stands in a folder."""
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute()


def clean(notebook: Any) -> list[str]:
    """Take out what is this machine's or this moment's; say what was told on stderr."""
    told = []
    for key in [
        key for key in notebook.metadata if key not in ("kernelspec", "keep_output", "language_info")
    ]:
        del notebook.metadata[key]
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        cell.metadata.pop("papermill", None)
        if cell.cell_type != "code":
            continue
        errors = [output for output in cell.outputs if output.get("name") == "stderr"]
        told += [output["text"] for output in errors]
        cell.outputs = [output for output in cell.outputs if output not in errors and not _is_widget(output)]
        for output in cell.outputs:
            _clean_output(output)
    return told


def _is_widget(output: Any) -> bool:
    """Whether it is the place of a widget, which shows nothing without a kernel."""
    return _WIDGET in output.get("data", {})


def _clean_output(output: Any) -> None:
    if "text" in output:
        output["text"] = _without_paths(output["text"])
    for kind, data in output.get("data", {}).items():
        if kind == "image/png":
            output["data"][kind] = small_png(data)
        elif isinstance(data, str):
            output["data"][kind] = _without_paths(re.sub(r" at 0x[0-9a-f]+>", ">", data))


def _without_paths(text: str) -> str:
    return text.replace(f"{ROOT}/", "").replace(str(ROOT), ".").replace(str(Path.home()), "~")


def small_png(text: str) -> str:
    """Write a picture with as many colours as its eyes can tell, and no wider than a page.

    Parameters
    ----------
    text : str
        A PNG file as notebooks hold it.

    Returns
    -------
    str
        The same.
    """
    picture = Image.open(BytesIO(base64.b64decode(text))).convert("RGB")
    if picture.width > _WIDEST_PIXELS:
        size = (_WIDEST_PIXELS, round(picture.height * _WIDEST_PIXELS / picture.width))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    small = BytesIO()
    picture.quantize(_N_COLOURS, dither=Image.Dither.NONE).save(small, "png", optimize=True)
    return base64.b64encode(small.getvalue()).decode()


def said(notebook: Any) -> Iterator[str]:
    """Texts and tables that do not depend on the moment, with the cell that shows each."""
    for cell in notebook.cells:
        if cell.cell_type != "code" or VARIES in cell.metadata.get("tags", []):
            continue
        for output in cell.outputs:
            yield from (
                f"{cell.id}: {output['data'][kind]}" for kind in _TEXTS if kind in output.get("data", {})
            )
            yield from ([f"{cell.id}: {output['text']}"] if "text" in output else [])


def main(argv: list[str] | None = None) -> int:
    """Run the notebooks that are named; 1 where one would change under --check."""
    parser = argparse.ArgumentParser(description="Run the notebooks in place.")
    parser.add_argument("name", nargs="*", help="how their names begin, as 01 (all)")
    parser.add_argument("--check", action="store_true", help="write nothing, and say which would change")
    arguments = parser.parse_args(argv)
    chosen = [path for path in NOTEBOOKS if not arguments.name or path.stem.startswith(tuple(arguments.name))]
    if not chosen:
        parser.error(f"no notebook's name begins with {' or '.join(arguments.name)}")
    changed = [path.name for path in chosen if _made_anew(path, arguments.check)]
    if arguments.check and changed:
        print(f"would change: {', '.join(changed)}; run python tools/notebooks.py")
    return int(arguments.check and bool(changed))


def _made_anew(path: Path, is_check: bool) -> bool:
    """Run one, and write it unless that is not wanted; whether it says anything else than before."""
    notebook = nbformat.read(path, as_version=4)
    before = list(said(notebook))
    run(notebook, path.parent)
    for text in clean(notebook):
        print(f"{path.name}, on stderr: {text.strip()}")
    if not is_check:
        nbformat.write(notebook, path)
        print(f"wrote {path.relative_to(ROOT)}, {path.stat().st_size >> 10} KiB")
    return before != list(said(notebook))


if __name__ == "__main__":
    sys.exit(main())
