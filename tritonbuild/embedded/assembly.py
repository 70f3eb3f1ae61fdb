"""The assembly of new layers: items of source images, at their paths in the composed image."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from tritonbuild.layers.component import parent as server_folder
from tritonbuild.layers.entry import FOLDER, SYMLINK, Entry
from tritonbuild.layers.items import Item, NewLayer, arranged, generated, index_of
from tritonbuild.layers.reading import Layer
from tritonbuild.oci.descriptors import Descriptor, Nowhere
from tritonbuild.rootfs.view import View
from tritonbuild.wellknown import SERVER


class Assembly:
    """New layers, in the order in which they are added to the base.

    Args:
        full: The full image.
        base: The base image.
        created: The time of folders that no source image has, seconds since 1970.
    """

    def __init__(self, full: View, base: View, created: int) -> None:
        self.full = full
        self.base = base
        self.created = created
        self.layers: list[NewLayer] = []
        self.items: dict[str, Item] = {}

    def add(self, title: str, items: Iterable[Item]) -> None:
        """Add a layer; no layer without items."""
        by_path = {item.entry.path: item for item in items}
        if by_path:
            layer = arranged(title, by_path.values(), _Parents(self))
            self.items.update({item.entry.path: item for item in layer.items})
            self.layers.append(layer)

    @property
    def ground(self) -> View:
        """The image whose accounts the image gets: the base, or full for an image on scratch."""
        return self.base if self.base.layers else self.full

    def root_folders(self, home: str) -> list[Item]:
        """Return the items of folders and links that every root file system has, as they are in full.

        Args:
            home: The home folder of the server's account.
        """
        folders = [self.full.resolve(path) for path in ("root", "tmp", "var/tmp", home)]
        items = [self.full.item(path) for path in folders if path and self.full.is_folder(path)]
        links = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
        return items + [self.full.item(path) for path in links if self.full.kind(path) == SYMLINK]

    def copied(self, to: str, real: str) -> list[Item]:
        """Return the items that copy the folder or file *real* of full to the path *to*, owned by root."""
        items = [self.full.item(real, to=to, root=True)]
        if self.full.is_folder(real):
            items += [self.full.item(path, to=to + path[len(real) :], root=True) for path in self.full.walk(real)]
        return items

    def brought(self, path: str) -> Item:
        """Return the item that brings *path* of full to its path in the base, where a folder may be a link."""
        folder, _, name = path.rpartition("/")
        real = self.base.resolve(folder) if folder else ""
        to = path if real is None or not self.base.is_folder(real) else f"{real}/{name}".lstrip("/")
        return self.full.item(path, to=to)

    def generated(self, path: str, content: bytes) -> Item:
        """Return the item of a generated file; where the base, or full on scratch, has it, it keeps mode and group."""
        below = self.ground
        real = below.resolve(path)
        entry = below.entry(real) if real is not None else None
        mode, gid = (entry.mode, entry.gid) if entry else (0o644, 0)
        return generated(real or path, content, mode=mode, mtime=self.created, gid=gid)

    def parent(self, path: str) -> Item:
        """Return the item of the folder *path*: the base's, that of a new layer, or full's."""
        if f"/{path}/".startswith(f"{SERVER}/") or path == SERVER.split("/")[1]:
            # Equal for all images, as the digests in the layer index assume.
            return Item(entry=server_folder(path))
        if self.base.is_folder(path):
            return self.base.item(path)
        if path in self.items and self.items[path].entry.kind == FOLDER:
            return self.items[path]
        if self.full.is_folder(path):
            return self.full.item(path)
        return self.folder(path, (0, 0))

    def folders(self, composed: View, path: str, owner: tuple[int, int]) -> Iterator[Item]:
        """Yield the items of a folder that *composed* lacks, and of the missing folders above it."""
        while path and composed.resolve(path) is None:
            yield self.folder(path, owner)
            path = path.rpartition("/")[0]

    def folder(self, path: str, owner: tuple[int, int]) -> Item:
        """Return the item of an empty folder."""
        uid, gid = owner
        entry = Entry(path=path, kind=FOLDER, mode=0o755, uid=uid, gid=gid, mtime=self.created, size=0, offset=0)
        return Item(entry=entry)

    def composed(self, more: Iterable[Item] = ()) -> View:
        """Return the files of the base and the new layers together, and *more* above them."""
        blob = Descriptor(media_type="", digest="", size=0)
        new = Layer(blob=blob, origin=Nowhere("the composed image"), index=index_of([*self.items.values(), *more]))
        return View([*self.base.layers, new])


class _Parents(Mapping[str, Item]):
    """The items of folders by path, created on demand."""

    def __init__(self, assembly: Assembly) -> None:
        self._assembly = assembly

    def __getitem__(self, path: str) -> Item:
        return self._assembly.parent(path)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0
