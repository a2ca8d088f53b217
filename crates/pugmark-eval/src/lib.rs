//! Metrics of a classifier, from predictions and labels alone.
