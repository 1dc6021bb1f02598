"""Feature statistics: what enters each norm layer, and how far two sources lie apart."""

from engine.features.distances import (
    DISTANCES,
    AffineDistance,
    LayerGap,
    affine_distances,
    affine_gaps,
    layer_gaps,
    sorted_gap,
    statistics_gaps,
    stored_gaps,
    wasserstein1,
)
from engine.features.moments import ImageMoments, Moments, Recorder, measure

__all__ = [
    "DISTANCES",
    "AffineDistance",
    "ImageMoments",
    "LayerGap",
    "Moments",
    "Recorder",
    "affine_distances",
    "affine_gaps",
    "layer_gaps",
    "measure",
    "sorted_gap",
    "statistics_gaps",
    "stored_gaps",
    "wasserstein1",
]
