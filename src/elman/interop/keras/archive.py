"""The `.keras` archive of a model: its three members, the same bytes for the same model."""

# mypy: disable-error-code="import-untyped,import-not-found"

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from elman import checks
from elman.interop.keras.arrays import Groups, own_arrays
from elman.interop.keras.config import Entry
from elman.interop.keras.files import CONFIG, METADATA, WEIGHTS
from elman.interop.keras.graph import read_graph

#: The format is that of every Keras 3.
_METADATA = {"keras_version": "3.0.0", "date_saved": "1980-01-01@00:00:00"}


def to_archive(model: dict[str, Any], weights: Mapping[str, Groups]) -> bytes:
    """The whole file."""
    content = {
        METADATA: json.dumps(_METADATA).encode(),
        CONFIG: json.dumps(model).encode(),
        WEIGHTS: _weights(read_graph(model).entries, weights),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, member in content.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # wherever it is written
            archive.writestr(info, member)
    return buffer.getvalue()


def _weights(entries: list[Entry], weights: Mapping[str, Groups]) -> bytes:
    try:
        import h5py
    except ImportError:
        raise checks.missing_extra("Writing files of Keras", "keras") from None
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_group("vars")  # what the model has besides its layers; Keras before 3.10 asks for it
        for entry in entries:
            for (place, names), arrays in zip(own_arrays(entry), weights[entry.name], strict=True):
                group = file.create_group("/".join(filter(None, (entry.path, place, "vars"))))
                for i, name in enumerate(names):
                    group.create_dataset(str(i), data=arrays[name], track_times=False)
    return buffer.getvalue()
