"""The `.keras` archive of a Sequential model: its three members, the same bytes for the same model."""

# mypy: disable-error-code="import-untyped,import-not-found"

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping

from elman import checks
from elman.interop.keras.arrays import Groups, own_arrays
from elman.interop.keras.config import Entry, object_config
from elman.interop.keras.files import CONFIG, METADATA, WEIGHTS

#: The format is that of every Keras 3.
_METADATA = {"keras_version": "3.0.0", "date_saved": "1980-01-01@00:00:00"}


def to_archive(chain: list[Entry], weights: Mapping[str, Groups]) -> bytes:
    """The whole file."""
    layers = [object_config(entry.kind, entry.config) for entry in chain]
    model = {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": "sequential", "trainable": True, "dtype": chain[-1].config["dtype"], "layers": layers},
        "registered_name": None,
    }
    content = {
        METADATA: json.dumps(_METADATA).encode(),
        CONFIG: json.dumps(model).encode(),
        WEIGHTS: _weights(chain, weights),
    }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, member in content.items():
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.create_system = 3  # wherever it is written
            archive.writestr(info, member)
    return buffer.getvalue()


def _weights(chain: list[Entry], weights: Mapping[str, Groups]) -> bytes:
    try:
        import h5py
    except ImportError:
        raise checks.missing_extra("Writing files of Keras", "keras") from None
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_group("vars")  # what the model has besides its layers; Keras before 3.10 asks for it
        for entry in chain:
            for (place, names), arrays in zip(own_arrays(entry), weights[entry.name], strict=True):
                group = file.create_group("/".join(filter(None, (entry.path, place, "vars"))))
                for i, name in enumerate(names):
                    group.create_dataset(str(i), data=arrays[name], track_times=False)
    return buffer.getvalue()
