"""From a prediction table to metrics, an operating point, calibration and figures."""
