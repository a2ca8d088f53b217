use clap::Args;

/// Show what pugmark finds on this machine: processor, instruction set in use, memory, GPU, cached weights
#[derive(Args, Debug)]
pub(crate) struct DoctorArguments {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}
