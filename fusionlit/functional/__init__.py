"""The formulas of fusion, on plain tensors."""

from fusionlit.functional.attention import attention, attention_mass, attention_shares
from fusionlit.functional.balance import (
    blending_weights,
    discrepancy_ratios,
    enhanced_gradient,
    mask_probabilities,
    mean_score,
    min_norm_weight,
    ogm_coefficients,
    pareto_gradient,
    truth_scores,
)
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
    "contributions",
    "discrepancy_ratios",
    "enhanced_gradient",
    "feature_distance",
    "gated_terms",
    "gates",
    "inverse_rms",
    "low_rank_product",
    "mask_probabilities",
    "mean_score",
    "mean_square",
    "min_norm_weight",
    "mixture_log_odds",
    "ogm_coefficients",
    "outer_product",
    "pareto_gradient",
    "per_sample",
    "prediction_divergence",
    "renormalize",
    "truth_scores",
    "unit_rms",
    "wide_matmul",
    "widen",
]
