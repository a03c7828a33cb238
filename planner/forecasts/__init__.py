"""What curves say beyond their ends: noise, a Gaussian process, forecasts and their intervals."""
