"""Images of any folder, alone or in pairs, for restoration networks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from mmengine.dataset import BaseDataset

from mmengine.registry import DATASETS

SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.ppm', '.webp')


@DATASETS.register_module(force=True)
class ImageFolder(BaseDataset):
    """All images of a folder, gray or colour, of any format and depth.

    The configuration is that of MMagic's ``BasicImageDataset``. Differences:
    images come in the order of their names, on every file system; a folder
    without images and a pair without its other half are errors that say what
    was looked for; any number of folders deep; WebP is an image, too.

    Every sample has ``KEY_path`` for each key of ``data_prefix``, and
    ``key``, the path inside the folder without suffix.

    Args:
        data_root (str): Folder that ``data_prefix`` starts from.
        data_prefix (dict[str, str]): Folder for each key. The first one is
            searched, the others hold its partners. Defaults to
            ``dict(gt='')``: clean images right under ``data_root``, for
            pipelines that make the input of the network from them.
        filename_tmpl (dict[str, str]): How the names of partners differ,
            without suffix, such as ``dict(img='{}x4')``. Defaults to equal
            names.
        suffixes (Sequence[str]): What counts as an image, in lower case.
            Partners may have another one of them.
        **kwargs: Of ``mmengine.dataset.BaseDataset``, such as ``pipeline``.

    Raises:
        FileNotFoundError: If there are no images, or partners are missing.
    """

    METAINFO = {'dataset_type': 'image_folder', 'task_name': 'restoration'}

    def __init__(
        self,
        data_root: str,
        data_prefix: Optional[Mapping[str, str]] = None,
        filename_tmpl: Optional[Mapping[str, str]] = None,
        suffixes: Sequence[str] = SUFFIXES,
        **kwargs: Any,
    ) -> None:
        self.filename_tmpl = dict(filename_tmpl or {})
        self.suffixes = tuple(suffixes)
        super().__init__(
            data_root=data_root,
            data_prefix=dict(data_prefix or {'gt': ''}),
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """List the paths of every image and of its partners."""
        first, *others = self.data_prefix
        folder = Path(self.data_prefix[first])
        names = self._images(folder)
        if not names:
            raise FileNotFoundError(
                f'ImageFolder: no image ({", ".join(self.suffixes)}) in '
                f'{folder.resolve()}. Set data_root and '
                f'data_prefix.{first} of the data loader to the folder that '
                'holds them; docs/datasets.md tells where to get the '
                'published ones.'
            )
        partners = {
            key: self._images(Path(self.data_prefix[key])) for key in others
        }
        samples, missing = [], []
        for name, path in sorted(names.items()):
            sample = {'key': name, f'{first}_path': str(path)}
            for key, images in partners.items():
                partner = self._partner(name, key)
                if partner in images:
                    sample[f'{key}_path'] = str(images[partner])
                else:
                    missing.append(Path(self.data_prefix[key]) / partner)
            samples.append(sample)
        if missing:
            raise FileNotFoundError(
                f'ImageFolder: {len(missing)} of {len(names)} images of '
                f'{folder} have no partner, such as {missing[0]}.*. Check '
                f'data_prefix and filename_tmpl ({self.filename_tmpl}).'
            )
        return samples

    def _partner(self, name: str, key: str) -> str:
        """Name of a partner, without suffix."""
        path = Path(name)
        stem = self.filename_tmpl.get(key, '{}').format(path.name)
        return path.with_name(stem).as_posix()

    def _images(self, folder: Path) -> dict[str, Path]:
        """Images under a folder by their name without suffix."""
        return {
            path.relative_to(folder).with_suffix('').as_posix(): path
            for path in folder.rglob('*')
            if path.suffix.lower() in self.suffixes
            and not path.name.startswith('.')
        }
