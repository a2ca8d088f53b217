//! What the engine calls, each checked.

mod activation;
mod attention;
mod depthwise;
mod elementwise;
mod gate;
mod layer_norm;
mod library;
mod norm;
mod optimiser;
mod patches;
mod pool;
mod scale;

pub use activation::*;
pub use attention::*;
pub use depthwise::*;
pub use elementwise::*;
pub use gate::*;
pub use layer_norm::*;
pub use library::*;
pub use norm::*;
pub use optimiser::*;
pub use patches::*;
pub use pool::*;
pub use scale::*;
