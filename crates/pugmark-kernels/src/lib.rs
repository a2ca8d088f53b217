//! Loops over slices: convolution, normalisation, pooling, losses, optimiser updates and their parallel drivers; and
//! the sums behind resizing 8-bit pixels, which run on the caller's thread alone.
//!
//! The only home of unsafe arithmetic. Activations are padded NHWC ([`Plane`]): a zero border makes the
//! padding of a convolution disappear. The kernels that memory bounds take f32 or bf16 ([`Element`]), calculate in
//! f32 and round once; statistics and parameters are f32. Every kernel gives the same bits whatever the number of rayon threads:
//! tasks are cut by the size of the problem alone and reductions run in a fixed order. Call them from inside
//! the pool (`ThreadPool::install`): a call from outside pays for waking it.
//!
//! Public functions check every slice against its plane and panic with the argument's name: that is a bug in
//! the caller, never bad user input.

mod activation;
mod activity;
mod allocator;
mod attention;
mod channels;
mod conv;
mod element;
mod elementwise;
mod gate;
mod gradient;
mod isa;
mod layer_norm;
mod linear;
mod loss;
mod norm;
mod optimiser;
mod parallel;
mod patches;
mod peak;
mod plane;
mod pool;
mod resample;
mod scale;
mod simd;
mod stats;

pub use activation::{
    gelu_backward, gelu_forward, sigmoid_backward, sigmoid_forward, silu_backward, silu_forward,
};
pub use activity::{ChannelActivity, Magnitude, channel_activity, magnitude, squared_distance};
pub use allocator::keep_little_memory;
pub use attention::{WindowAttention, window_attention_backward, window_attention_forward};
pub use conv::{
    ConvElement, ConvShape, DepthwiseShape, Epilogue, conv2d_backward_data, conv2d_backward_weight,
    conv2d_backward_weight_scratch_len, conv2d_forward, depthwise_backward_data, depthwise_backward_weight,
    depthwise_forward, depthwise_pack, depthwise_pack_backward, pack_backward, pack_forward,
    packed_len_backward, packed_len_forward, winograd_backward_data, winograd_backward_weight,
    winograd_forward, winograd_pack_backward, winograd_pack_forward, winograd_packed_len,
    winograd_weight_workspace_len, winograd_workspace_len, with_modelled_tiles,
};
pub use element::{Bf16, Element};
pub use elementwise::{
    accumulate, add_forward, copy_plane, dropout, input_from_u8, relu_backward, relu_forward,
};
pub use gate::{gate_backward, gate_forward};
pub use gradient::{add, clip_adaptive, clip_values, move_average, scale, sum_of_squares};
pub use isa::{Isa, ParseIsaError, with_isa};
pub use layer_norm::{layer_norm_backward, layer_norm_forward};
pub use linear::{
    linear_backward_data, linear_backward_weight, linear_forward, linear_pack_backward, linear_pack_forward,
    linear_packed_len_backward, linear_packed_len_forward,
};
pub use loss::{CrossEntropy, cross_entropy, softmax};
pub use norm::{batch_norm_backward_apply, batch_norm_backward_reduce, scale_shift};
pub use optimiser::{AdamW, Sgd, adamw_step, sgd_step};
pub use patches::{merge_patches_backward, merge_patches_forward};
pub use peak::{peak_bandwidth, peak_flops, peak_flops_bf16};
pub use plane::{GradientTarget, Plane};
pub use pool::{
    PoolShape, global_avg_pool_backward, global_avg_pool_forward, max_pool_backward, max_pool_forward,
};
pub use resample::Resample;
pub use scale::{Factors, scale_backward, scale_backward_channels, scale_forward, stochastic_depth};
pub use stats::{ChannelStats, channel_stats, channel_sum};
