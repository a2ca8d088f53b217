//! The kernels in CUDA C.

macro_rules! source {
    ($($name:literal)*) => { concat!($("\n", include_str!(concat!("kernels/", $name, ".cu"))),*) };
}

/// All of them; `T` must be defined in front.
pub(crate) const SOURCE: &str = source!(
    "common" "elementwise" "activation" "norm" "layer_norm" "pool" "scale" "gate" "patches" "depthwise" "attention" "optimiser"
);
