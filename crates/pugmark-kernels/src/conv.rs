//! Two-dimensional convolution and its two gradients.

mod backward_data;
mod backward_weight;
mod bf16;
mod depthwise;
mod element;
mod forward;
mod pack;
mod phase;
mod row_taps;
mod shape;
mod tile;
mod winograd;

pub use backward_data::conv2d_backward_data;
pub use backward_weight::{conv2d_backward_weight, conv2d_backward_weight_scratch_len};
pub(crate) use bf16::multiply_adds;
pub use bf16::with_modelled_tiles;
pub use depthwise::{
    DepthwiseShape, depthwise_backward_data, depthwise_backward_weight, depthwise_forward, depthwise_pack,
    depthwise_pack_backward,
};
pub use element::ConvElement;
pub use forward::conv2d_forward;
pub use pack::{pack_backward, pack_forward, packed_len_backward, packed_len_forward};
pub use shape::{ConvShape, Epilogue};
pub use winograd::{
    winograd_backward_data, winograd_backward_weight, winograd_forward, winograd_pack_backward,
    winograd_pack_forward, winograd_packed_len, winograd_weight_workspace_len, winograd_workspace_len,
};
