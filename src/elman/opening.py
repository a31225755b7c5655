"""Any file: what is in it, network or estimator, whoever wrote it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from elman import saving
from elman.cells import Cell
from elman.layers import Layer


def load(
    path: str | os.PathLike[str] | bytes,
    cells: Mapping[str, Cell] | None = None,
    layers: Iterable[type[Layer]] = (),
) -> Any:
    """What a file holds: an `elman.Network`, or a fitted estimator that its `save` wrote.

    Parameters
    ----------
    path
        The file, or its content as bytes. It is told by its content: of elman, or of any other format that
        `elman.inspect` knows, as `elman.from_onnx`, `elman.from_keras`, `elman.from_torch` and their like read it,
        which have options besides.
    cells
        The cells of your own that a file of elman names, name -> `elman.Cell`.
    layers
        The classes of your own layers in it, ``[MyLayer]``.

    Returns
    -------
    network or estimator
        Of a file of elman it computes what was saved, to the last bit.

    Raises `FormatError`, naming the file and the place, for a file that is cut short or changed, of no known format, of
    a newer version, or whose shapes do not fit; `FileNotFoundError` where there is none, `MissingExtraError` where the
    extra of its format is not installed. Nothing in a file is ever executed.

    >>> import elman, tempfile, numpy as np
    >>> net = elman.Network([elman.RNN(2, 3, seed=0)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     net.save(folder + "/net.safetensors")
    ...     same = elman.load(folder + "/net.safetensors")
    >>> np.array_equal(net.layers[0].Wx, same.layers[0].Wx)
    True
    """
    if saving.key_of(path) == "elman":  # by itself, without the readers of other formats
        return saving.load(path, cells, layers)
    from elman.interop import formats

    return formats.read(path, cells, layers)
