"""Forecasts of learning curves: noise, features, a Gaussian process, calibrated intervals."""
