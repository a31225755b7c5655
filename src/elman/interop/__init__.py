"""Models of other systems, in and out: plain arrays by a table of conventions, and the files of each format."""

from elman.interop.arrays import from_arrays, to_arrays
from elman.interop.audio.reader import from_rtneural
from elman.interop.audio.rtneural import to_rtneural
from elman.interop.c.code import to_c
from elman.interop.conventions import CONVENTIONS, Convention
from elman.interop.conversion import convert
from elman.interop.inspection import inspect
from elman.interop.keras.reader import from_keras
from elman.interop.keras.writer import to_keras
from elman.interop.onnx.reading.reader import from_onnx
from elman.interop.onnx.writing.writer import to_onnx
from elman.interop.pytorch.networks import from_torch, to_torch

__all__ = [
    "CONVENTIONS",
    "Convention",
    "convert",
    "from_arrays",
    "from_keras",
    "from_onnx",
    "from_rtneural",
    "from_torch",
    "inspect",
    "to_arrays",
    "to_c",
    "to_keras",
    "to_onnx",
    "to_rtneural",
    "to_torch",
]
