//! Instruction sets and which of them is in use.

#[cfg(target_arch = "x86_64")]
mod amx;

use std::cell::Cell;
use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// An instruction set the kernels have a path for. Ordered: a lower one never uses what only a higher one
/// has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Isa {
    /// What the compiler's target always has (ARM runs this).
    Portable,
    /// AVX2 and FMA.
    Avx2,
    /// AVX-512 F, BW, VL and DQ.
    Avx512,
    /// AVX-512 with BF16: products of pairs of bf16.
    Avx512Bf16,
    /// AMX with BF16: tiles of such products. Linux only.
    Amx,
}

const ALL: [Isa; 5] = [Isa::Portable, Isa::Avx2, Isa::Avx512, Isa::Avx512Bf16, Isa::Amx];

thread_local! {
    static OVERRIDE: Cell<Option<Isa>> = const { Cell::new(None) };
}

impl Isa {
    /// The highest instruction set this machine has.
    pub fn detected() -> Isa {
        static DETECTED: OnceLock<Isa> = OnceLock::new();
        *DETECTED.get_or_init(Isa::detect)
    }

    fn detect() -> Isa {
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512dq");
            let bf16 = is_x86_feature_detected!("avx512bf16");
            match (avx2, avx512, bf16) {
                (true, true, true) if amx::available() => Isa::Amx,
                (true, true, true) => Isa::Avx512Bf16,
                (true, true, false) => Isa::Avx512,
                (true, false, _) => Isa::Avx2,
                _ => Isa::Portable,
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Portable
    }

    /// The instruction set kernels called from this thread use: [`Isa::detected`], lowered by the environment
    /// variable `PUGMARK_ISA` (read once; a value that is no instruction set's name changes nothing) or by
    /// [`with_isa`].
    pub fn active() -> Isa {
        static ACTIVE: OnceLock<Isa> = OnceLock::new();
        OVERRIDE.get().unwrap_or_else(|| {
            *ACTIVE.get_or_init(|| {
                let detected = Isa::detected();
                let asked = std::env::var("PUGMARK_ISA").ok().and_then(|name| name.parse().ok());
                asked.map_or(detected, |isa| detected.min(isa))
            })
        })
    }

    /// The one whose f32 vectors it uses.
    pub(crate) fn vectors(self) -> Isa {
        self.min(Isa::Avx512)
    }

    /// The instruction sets this machine has, lowest first.
    pub fn available() -> impl Iterator<Item = Isa> {
        let detected = Isa::detected();
        ALL.into_iter().filter(move |&isa| isa <= detected)
    }
}

/// Runs `f`; the kernels it calls on this thread use `isa` (or the highest the machine has, if that is
/// lower).
///
/// For tests and benches of every path.
pub fn with_isa<R>(isa: Isa, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Isa>);
    impl Drop for Restore {
        fn drop(&mut self) {
            OVERRIDE.set(self.0);
        }
    }
    let _restore = Restore(OVERRIDE.replace(Some(isa.min(Isa::detected()))));
    f()
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Isa::Portable => "portable",
            Isa::Avx2 => "avx2",
            Isa::Avx512 => "avx512",
            Isa::Avx512Bf16 => "avx512bf16",
            Isa::Amx => "amx",
        })
    }
}

/// A name that is no instruction set's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ParseIsaError(String);

impl fmt::Display for ParseIsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown instruction set `{}`: use portable, avx2, avx512, avx512bf16 or amx", self.0)
    }
}

impl std::error::Error for ParseIsaError {}

impl FromStr for Isa {
    type Err = ParseIsaError;

    fn from_str(name: &str) -> Result<Self, ParseIsaError> {
        ALL.into_iter().find(|isa| isa.to_string() == name).ok_or_else(|| ParseIsaError(name.to_owned()))
    }
}
