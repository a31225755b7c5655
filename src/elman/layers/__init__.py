"""Layers: recurrent, and what stands before and after them."""

from elman.layers.built_in import GRU as GRU
from elman.layers.built_in import LSTM as LSTM
from elman.layers.built_in import RNN as RNN
from elman.layers.built_in import Bidirectional as Bidirectional
from elman.layers.joining import Add as Add
from elman.layers.joining import Attention as Attention
from elman.layers.joining import Concatenate as Concatenate
from elman.layers.joining import Joining as Joining
from elman.layers.joining import Multiply as Multiply
from elman.layers.layer import Layer as Layer
from elman.layers.layer import Seen as Seen
from elman.layers.layer import Tape as Tape
from elman.layers.normalization import BatchNorm as BatchNorm
from elman.layers.normalization import LayerNorm as LayerNorm
from elman.layers.pointwise import Activate as Activate
from elman.layers.pointwise import Dense as Dense
from elman.layers.pointwise import Dropout as Dropout
from elman.layers.pointwise import Embedding as Embedding
from elman.layers.pointwise import MergeDirections as MergeDirections
from elman.layers.pointwise import Scale as Scale
from elman.layers.recurrent import Directed as Directed
from elman.layers.recurrent import Recurrent as Recurrent
from elman.layers.steps import AveragePool1d as AveragePool1d
from elman.layers.steps import LastStep as LastStep
from elman.layers.steps import LastSteps as LastSteps
from elman.layers.steps import Masking as Masking
from elman.layers.steps import MaxOverTime as MaxOverTime
from elman.layers.steps import MaxPool1d as MaxPool1d
from elman.layers.steps import MeanOverTime as MeanOverTime
from elman.layers.steps import Repeat as Repeat
from elman.layers.steps import Reverse as Reverse
from elman.layers.windows import Conv1d as Conv1d

#: The layers by the name that files call them; `elman.network` adds its own.
LAYERS: dict[str, type[Layer]] = {
    name: cls
    for name, cls in sorted(globals().items())
    if isinstance(cls, type) and issubclass(cls, Layer) and cls not in (Layer, Joining, Directed)
}
