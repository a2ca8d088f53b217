use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Write a model for other tools, checked against its own answers
///
/// What is written is read back first: its tensors must be the model's bit for bit, and an ONNX file must give the model's logits
/// on drawn pictures. Where it does not, there is no file.
#[derive(Args, Debug)]
pub(crate) struct ExportArguments {
    /// A run folder (its best model) or a model file
    pub(crate) run: PathBuf,

    /// What to write
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Format,

    /// File to write
    #[arg(long, value_name = "FILE")]
    pub(crate) out: PathBuf,

    /// Replace that file
    #[arg(long)]
    pub(crate) overwrite: bool,

    /// For onnx: take photos of any size as bytes, and resize and normalise them in the file
    #[arg(long)]
    pub(crate) with_preprocessing: bool,

    /// Print what was written as JSON
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Format {
    /// For ONNX Runtime, OpenVINO and others; classes, recipe and temperature are in its metadata
    Onnx,
    /// Tensors with torchvision's names; classes, recipe and temperature are in its metadata
    Safetensors,
    /// For `torch.load` and torchvision's `load_state_dict`: tensors alone
    Pth,
}
