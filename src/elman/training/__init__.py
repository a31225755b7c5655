"""Training: losses, optimizers, schedules, and the loop that uses them."""

from elman.training.checkpoints import Checkpoint as Checkpoint
from elman.training.fitting import fit as fit
from elman.training.history import Epoch as Epoch
from elman.training.history import History as History
from elman.training.losses import LOSSES as LOSSES
from elman.training.losses import AbsoluteError as AbsoluteError
from elman.training.losses import BinaryCrossEntropy as BinaryCrossEntropy
from elman.training.losses import CrossEntropy as CrossEntropy
from elman.training.losses import Huber as Huber
from elman.training.losses import Loss as Loss
from elman.training.losses import Quantile as Quantile
from elman.training.losses import SquaredError as SquaredError
from elman.training.losses import as_loss as as_loss
from elman.training.losses import cross_entropy as cross_entropy
from elman.training.losses import cross_entropy_derivative as cross_entropy_derivative
from elman.training.optimizers import SGD as SGD
from elman.training.optimizers import Adam as Adam
from elman.training.optimizers import AdamW as AdamW
from elman.training.optimizers import Optimizer as Optimizer
from elman.training.optimizers import RMSprop as RMSprop
from elman.training.optimizers import clip_by_norm as clip_by_norm
from elman.training.optimizers import clip_by_value as clip_by_value
from elman.training.optimizers import global_norm as global_norm
from elman.training.schedules import CosineSchedule as CosineSchedule
from elman.training.schedules import LinearSchedule as LinearSchedule
from elman.training.schedules import StepSchedule as StepSchedule
