"""Seeing: traces of every number of every step, worked steps, checks of gradients, dynamics, attribution, plots."""

from elman.insight import dynamics as dynamics
from elman.insight import plots as plots
