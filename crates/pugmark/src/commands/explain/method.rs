//! How maps are made.

use pugmark_eval::explain::{KernelShap, Occlusion, Slic};
use pugmark_model::ModelCard;

use crate::arguments::{ExplainArguments, ExplainMethod};
use crate::error::WrongCall;

/// A method with its settings.
#[derive(Clone, Copy)]
pub(super) enum Method {
    GradCam,
    Occlusion(Occlusion),
    Shap(Slic, KernelShap),
}

/// As many as come near the values of all combinations: `docs/decisions/0011-explanations.md`.
const SAMPLES: usize = 500;

impl Method {
    /// The method asked for; a setting of another one is refused.
    pub(super) fn new(arguments: &ExplainArguments, card: &ModelCard) -> Result<Self, WrongCall> {
        let (method, patches, shap) = (arguments.method, &arguments.patches, &arguments.shap);
        let foreign = [
            ("--patch", patches.patch.is_some(), "occlusion", ExplainMethod::Occlusion),
            ("--stride", patches.stride.is_some(), "occlusion", ExplainMethod::Occlusion),
            ("--segments", shap.segments.is_some(), "shap", ExplainMethod::Shap),
            ("--compactness", shap.compactness.is_some(), "shap", ExplainMethod::Shap),
            ("--samples", shap.samples.is_some(), "shap", ExplainMethod::Shap),
        ];
        if let Some((flag, _, name, _)) =
            foreign.into_iter().find(|&(_, is_set, _, of)| is_set && of != method)
        {
            return Err(WrongCall::new(format!("{flag} is a setting of another method"))
                .with_hint(format!("add `--method {name}`, or leave it out")));
        }
        Ok(match method {
            ExplainMethod::GradCam => Self::GradCam,
            ExplainMethod::Occlusion => {
                let (width, height) = (card.recipe.width, card.recipe.height);
                let side = patches.patch.map_or_else(|| Occlusion::side_for(width, height), usize::from);
                if side > width.min(height) {
                    return Err(WrongCall::new(format!(
                        "--patch {side} covers more than the model sees: {width} x {height} pixels"
                    ))
                    .with_hint("patches are counted in pixels of the picture as the model sees it"));
                }
                let stride = patches.stride.map_or((side / 2).max(1), usize::from);
                if stride > side {
                    return Err(WrongCall::new(format!(
                        "--stride {stride} leaves gaps between patches of {side}"
                    ))
                    .with_hint("it is at most the patch's side"));
                }
                Self::Occlusion(Occlusion { side, stride })
            }
            ExplainMethod::Shap => {
                let own = Slic::default();
                let slic = Slic {
                    segments: shap.segments.map_or(own.segments, usize::from),
                    compactness: shap.compactness.unwrap_or(own.compactness),
                };
                let samples = shap.samples.map_or(SAMPLES, |samples| samples as usize);
                Self::Shap(slic, KernelShap { samples, seed: 0 })
            }
        })
    }
}
