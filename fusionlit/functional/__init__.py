"""Formulas of fusion, on plain tensors."""

from fusionlit.functional.attention import attention, attention_mass, attention_shares
from fusionlit.functional.balance import (
    blending_weights,
    discrepancy_ratios,
    enhanced_gradient,
    mask_probabilities,
    min_norm_weight,
    ogm_coefficients,
    pareto_gradient,
    score_of_mean,
    truth_scores,
)
from fusionlit.functional.calibration import calibration_error, fit_temperature
from fusionlit.functional.confidence import dempster_shafer, energy_log_weights, two_classes, uncertainty
from fusionlit.functional.contribution import CENTRAL, attributions, contributions
from fusionlit.functional.distillation import feature_distance, prediction_divergence
from fusionlit.functional.gating import gated_terms, gates
from fusionlit.functional.products import (
    append_one,
    bilinear_pool,
    low_rank_product,
    outer_product,
    wide_matmul,
    widen,
)
from fusionlit.functional.sums import inverse_rms, mean_square, mixture_log_odds, per_sample, renormalize, unit_rms

__all__ = [
    "CENTRAL",
    "append_one",
    "attention",
    "attention_mass",
    "attention_shares",
    "attributions",
    "bilinear_pool",
    "blending_weights",
    "calibration_error",
    "contributions",
    "dempster_shafer",
    "discrepancy_ratios",
    "energy_log_weights",
    "enhanced_gradient",
    "feature_distance",
    "fit_temperature",
    "gated_terms",
    "gates",
    "inverse_rms",
    "low_rank_product",
    "mask_probabilities",
    "mean_square",
    "min_norm_weight",
    "mixture_log_odds",
    "ogm_coefficients",
    "outer_product",
    "pareto_gradient",
    "per_sample",
    "prediction_divergence",
    "renormalize",
    "score_of_mean",
    "truth_scores",
    "two_classes",
    "uncertainty",
    "unit_rms",
    "wide_matmul",
    "widen",
]
