use std::collections::HashMap;

use serde::Serialize;

use crate::evaluation::{most_probable, surprise};

/// What somebody reaches who knows only the site of each photo, and how often each class was there in training.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SiteAlone {
    /// Share of the photos from a site that the training part knows. It is near 0 where sites were kept apart.
    pub known: f64,
    /// Its accuracy.
    pub accuracy: f64,
    /// Its log loss.
    pub log_loss: f64,
}

/// A site and a class a photo.
type Photos<'a> = &'a [(Option<&'a str>, usize)];

/// The site-only predictor: for a site it says the classes' shares there in `train`, drawn towards those of all of `train`
/// as if it had seen one photo more of those; at a site that `train` does not know it says the latter. None where no photo
/// has a site, or there is none to learn from.
pub fn site_alone(classes: usize, train: Photos<'_>, photos: Photos<'_>) -> Option<SiteAlone> {
    if train.is_empty() || !photos.iter().any(|(site, _)| site.is_some()) {
        return None;
    }
    let shares = |counts: &[f64], prior: &[f64]| -> Vec<f32> {
        let sum: f64 = counts.iter().sum::<f64>() + 1.0;
        counts.iter().zip(prior).map(|(count, prior)| ((count + prior) / sum) as f32).collect()
    };
    let mut all = vec![0.0; classes];
    let mut sites = HashMap::<&str, Vec<f64>>::new();
    for &(site, class) in train {
        all[class] += 1.0;
        if let Some(site) = site {
            sites.entry(site).or_insert_with(|| vec![0.0; classes])[class] += 1.0;
        }
    }
    // A class that no training photo shows is not impossible.
    let even = vec![1.0 / classes as f64; classes];
    let everywhere = shares(&all, &even);
    let prior: Vec<f64> = everywhere.iter().map(|&share| f64::from(share)).collect();
    let rows: HashMap<&str, Vec<f32>> =
        sites.iter().map(|(&site, counts)| (site, shares(counts, &prior))).collect();
    let (mut known, mut right, mut loss) = (0.0, 0.0, 0.0);
    for &(site, class) in photos {
        let row = site.and_then(|site| rows.get(site));
        known += f64::from(row.is_some());
        let row = row.unwrap_or(&everywhere);
        right += f64::from(most_probable(row) == class);
        loss += surprise(row[class]);
    }
    let count = photos.len() as f64;
    Some(SiteAlone { known: known / count, accuracy: right / count, log_loss: loss / count })
}
