"""Feature statistics: what enters each norm layer, and how far two sources lie apart."""

from engine.features.distances import (
    LayerGap,
    affine_gaps,
    layer_gaps,
    statistics_gaps,
    stored_gaps,
    wasserstein1,
)
from engine.features.histograms import edges, histograms
from engine.features.moments import Moments, measure

__all__ = [
    "LayerGap",
    "Moments",
    "affine_gaps",
    "edges",
    "histograms",
    "layer_gaps",
    "measure",
    "statistics_gaps",
    "stored_gaps",
    "wasserstein1",
]
