"""Make docs/pictures/scene_*.png from a finished run that has delivered levels.

python scripts/make_pictures.py RUN [--levels RUN/levels/001]

``scene_levels.png`` shows two of the designer's maps above the delivered levels; ``scene_report.png`` is the top of the
report, as Chromium shows it, if Chromium is installed.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import tempfile
from pathlib import Path

from PIL import Image

from newgameplus.errors import NewGamePlusError, RunError
from newgameplus.games.pictures import contact_sheet, write_png
from newgameplus.run import Run
from newgameplus.scenarios.scene_cards import game_artist, level_picture
from newgameplus.scenarios.scene_data import load_scene_game, scene_recipe

TARGET = Path(__file__).parents[1] / "docs" / "pictures"
MAPS = 2
WIDTH = 928


def delivered(folder: Path) -> list[tuple[Image.Image, str]]:
    """Return the pictures of delivered levels, each with what was asked and achieved."""
    content = json.loads((folder / "levels.json").read_text(encoding="utf-8"))
    pictures = []
    for level in content["levels"]:
        name = next(path for path in level["files"] if path.endswith(".png"))
        with Image.open(folder / Path(name).name) as opened:
            picture = opened.convert("RGB")
            picture.info["cell"] = opened.info.get("cell", 16)
        told = [f"{measure}: asked {_range(*ends)}, got {level['achieved'][measure]:g}"
                for measure, ends in level["requested"].items()]  # fmt: skip
        nearest = level["nearest"]
        words = [*told, f"{nearest['distance']} tiles from {nearest['name']}"] if nearest["name"] else told
        pictures.append((picture, f"Made. {'; '.join(words)}"))
    return pictures


def _range(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def maps_of(run: Run) -> list[tuple[Image.Image, str]]:
    """Return pictures of some of the designer's maps."""
    game = load_scene_game(scene_recipe(run))
    artist = game_artist(game)
    chosen = game.train[:MAPS]
    return [
        (level_picture(game.levels[n], game.answers[n], artist), f"A map of the designer: {game.levels[n].name}")
        for n in chosen
    ]


def write_levels(run: Run, levels: Path) -> None:
    """Write ``scene_levels.png``."""
    write_png(TARGET / "scene_levels.png", contact_sheet([*maps_of(run), *delivered(levels)], width=WIDTH))


def write_report(run: Run) -> None:
    """Write ``scene_report.png``, if there is a browser to do it."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        print("no Chromium here: scene_report.png is left as it is")
        return
    page = (run.folder / "report.html").resolve().as_uri()
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "report.png"
        options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1000,1100"]
        command = [browser, *options, f"--user-data-dir={folder}/profile", f"--screenshot={shot}", page]
        subprocess.run(command, check=True, capture_output=True, timeout=120)
        with Image.open(shot) as opened:
            write_png(TARGET / "scene_report.png", opened.convert("RGB"))


def main() -> None:
    """Make both pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="finished run folder of the scene scenario")
    parser.add_argument("--levels", type=Path, help="folder of delivered levels; default RUN/levels/001")
    arguments = parser.parse_args()
    run = Run.open(arguments.run)
    levels = arguments.levels or run.folder / "levels" / "001"
    if not (levels / "levels.json").is_file():
        raise RunError("no levels were delivered here", source=str(levels), remedy=f"ngp generate {run.quoted} -n 3")
    write_levels(run, levels)
    write_report(run)
    print(f"written to {TARGET}")


if __name__ == "__main__":
    try:
        main()
    except NewGamePlusError as error:
        raise SystemExit(str(error)) from error
