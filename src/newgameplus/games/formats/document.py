"""What every format of maps promises: a document that keeps the maker's file whole, and gives and takes scenes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from newgameplus.games.scenes import Scene

__all__ = ["Document"]


class Document(ABC):
    """One file of one or more maps, read from disk and kept whole.

    Documents are values: changing one gives another. What our scenes do not model (editor settings, unknown keys,
    image layers) stays in the document and is written again as it was.

    Attributes:
        path: The file it was read from.
        format: Name of the format, a key of ``formats.FORMATS``.
        notes: What a user should know, such as "hexagonal: read and kept, not generated yet".
        generable: Whether new levels of this document can be written; False for hexagonal and isometric maps.
    """

    path: Path
    format: str
    notes: tuple[str, ...] = ()
    generable: bool = True

    @property
    @abstractmethod
    def scenes(self) -> tuple[Scene, ...]:
        """The maps of the file, in its order; all share one tileset object."""

    @abstractmethod
    def with_scene(self, index: int, scene: Scene) -> Document:
        """Return a copy in which map ``index`` holds the layers and objects of ``scene``.

        The scene's tileset must be the document's own; its size may differ from the map's; layers are matched by
        name, and layers of the map that ``scene`` lacks are kept as they are (cut or padded with nothing to the new
        size). Everything else of the file is kept.

        Raises:
            DataError: The scene has a layer or a tile that the document has not.
        """

    @abstractmethod
    def only(self, index: int, name: str = "") -> Document:
        """Return a copy that holds map ``index`` alone, renamed if a name is given (where the format has names)."""

    @abstractmethod
    def write(self, path: Path) -> list[Path]:
        """Write the document, atomically, and return the files written.

        References to files beside the original (tilesets, images) are rewritten so that they still point to them
        from the new place. Writing an unchanged document to a file in the same folder gives the same bytes as were
        read, wherever the format allows it.

        Raises:
            StorageError: There is no space or no permission.
        """
