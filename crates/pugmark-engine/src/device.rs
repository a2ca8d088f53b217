use std::fmt;
use std::str::FromStr;

use pugmark_cuda::DeviceError;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{Cpu, Cuda, Engine, EngineError, Precision, PrecisionChoice};

/// Where a graph is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// The first GPU, or the processor where there is none.
    Auto,
    /// The GPU of that number, from 0.
    Cuda(usize),
}

impl DeviceChoice {
    /// An engine there, with `threads` compute threads on the processor (0 takes one a core); and why it is the processor
    /// where a GPU would have been taken.
    ///
    /// # Errors
    /// [`EngineError::Device`] without the GPU that was named, [`EngineError::Threads`].
    pub fn open(
        self,
        threads: usize,
        precision: PrecisionChoice,
    ) -> Result<(Box<dyn Engine>, Option<String>), EngineError> {
        let cpu = || -> Result<Box<dyn Engine>, EngineError> {
            Ok(Box::new(Cpu::new(threads)?.with_precision(precision.precision())))
        };
        match self {
            Self::Cpu => Ok((cpu()?, None)),
            Self::Auto => match cuda(0, precision) {
                Ok(cuda) => Ok((Box::new(cuda), None)),
                Err(DeviceError::Missing(why)) => Ok((cpu()?, Some(why))),
                Err(error) => Err(error.into()),
            },
            Self::Cuda(number) => Ok((Box::new(cuda(number, precision)?), None)),
        }
    }
}

/// Whether the libraries that GPUs need are there.
///
/// # Errors
/// [`EngineError::Device`] names the first that is not, and where to get it.
pub fn check_gpu_libraries() -> Result<(), EngineError> {
    Ok(pugmark_cuda::Cuda::check()?)
}

fn cuda(number: usize, precision: PrecisionChoice) -> Result<Cuda, DeviceError> {
    let device = pugmark_cuda::Cuda::open(number)?;
    let precision = match precision {
        PrecisionChoice::Auto if device.has_bf16() => Precision::Bf16,
        PrecisionChoice::Auto | PrecisionChoice::F32 => Precision::F32,
        PrecisionChoice::Bf16 if device.has_bf16() => Precision::Bf16,
        PrecisionChoice::Bf16 => {
            let why = "this GPU does not multiply bf16: `--precision f32` is left".to_owned();
            return Err(DeviceError::Failed { call: "bf16".into(), why });
        }
    };
    Ok(Cuda::new(device).with_precision(precision))
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Auto => f.write_str("auto"),
            Self::Cuda(number) => write!(f, "cuda:{number}"),
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "cpu" => Ok(Self::Cpu),
            "auto" => Ok(Self::Auto),
            "cuda" => Ok(Self::Cuda(0)),
            _ => word
                .strip_prefix("cuda:")
                .and_then(|number| number.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(|| format!("`{word}` is none of cpu, auto, cuda and cuda:N")),
        }
    }
}

impl Serialize for DeviceChoice {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for DeviceChoice {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::DeviceChoice;

    #[test]
    fn words() {
        for (word, device, shown) in [
            ("cpu", DeviceChoice::Cpu, "cpu"),
            ("auto", DeviceChoice::Auto, "auto"),
            ("cuda", DeviceChoice::Cuda(0), "cuda:0"),
            ("cuda:3", DeviceChoice::Cuda(3), "cuda:3"),
        ] {
            assert_eq!((word.parse(), device.to_string().as_str()), (Ok(device), shown));
        }
        for word in ["gpu", "cuda:", "cuda:x", "cuda:-1"] {
            assert!(word.parse::<DeviceChoice>().is_err(), "{word}");
        }
    }
}
