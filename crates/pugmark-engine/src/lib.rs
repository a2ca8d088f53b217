//! Runs a graph: forward, backward, optimiser.
