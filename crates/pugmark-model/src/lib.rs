//! The model file, the run folder, and the classifier: photos in, probabilities out.
