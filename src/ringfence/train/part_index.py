"""The index of a checkpoint in parts (``.metadata``): torch reads it as a pickle, which can run code of anybody's.

It is read here first, by a reader that makes the classes of an index and nothing else.
"""

import pickle
from pathlib import Path
from typing import Any

import torch

INDEX = ".metadata"
_CLASSES = {
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo", "_StoragePrefix"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size"} | {name for name in dir(torch) if isinstance(getattr(torch, name), torch.dtype)},
    "pathlib": {"PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath"},
}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name not in _CLASSES.get(module, ()):
            raise pickle.UnpicklingError(f"names {module}.{name}")
        return super().find_class(module, name)


def foreign(index: Path) -> str | None:
    """What is wrong with the file ``index``, beginning with its name; None if torch may read it."""
    try:
        with index.open("rb") as file:
            _Reader(file).load()
    except Exception as error:  # a damaged pickle raises of many types
        return f"{index}: is no index of a checkpoint in parts ({' '.join(str(error).split())[:100]})"
    return None
