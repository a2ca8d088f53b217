//! How much a photo of each class counts in the loss.

use std::collections::BTreeMap;
use std::path::Path;

use crate::{ClassWeights, TrainError};

/// Beta of arXiv 1901.05555: of 0.9, 0.99, 0.999 and 0.9999 the one that was best on its long-tailed iNaturalist.
const BETA: f64 = 0.9999;

/// The weight of each class, of which `counts` photos are trained on; none where all count the same.
pub(crate) fn class_weights(
    how: &ClassWeights,
    classes: &[String],
    counts: &[usize],
) -> Result<Option<Vec<f32>>, TrainError> {
    Ok(match how {
        ClassWeights::None => None,
        ClassWeights::Balanced => Some(balanced(counts)),
        ClassWeights::EffectiveNumber => Some(effective_number(counts)),
        ClassWeights::File(path) => Some(read(path, classes)?),
    })
}

/// scikit-learn's `balanced` class weights.
fn balanced(counts: &[usize]) -> Vec<f32> {
    let photos: usize = counts.iter().sum();
    let weight = |&count: &usize| match count {
        0 => 1.0,
        count => (photos as f64 / (counts.len() * count) as f64) as f32,
    };
    counts.iter().map(weight).collect()
}

/// One over the effective number of photos, scaled as the paper does: the weights sum to the number of classes. A class
/// without a photo counts 1 beside them.
fn effective_number(counts: &[usize]) -> Vec<f32> {
    let inverse = |&count: &usize| (1.0 - BETA) / (1.0 - BETA.powf(count as f64));
    let present = || counts.iter().filter(|count| **count > 0);
    let scale = present().count() as f64 / present().map(inverse).sum::<f64>();
    counts.iter().map(|count| if *count == 0 { 1.0 } else { (scale * inverse(count)) as f32 }).collect()
}

/// A CSV with the columns `class` and `weight`.
fn read(path: &Path, classes: &[String]) -> Result<Vec<f32>, TrainError> {
    let failed = |why: String| TrainError::ClassWeights { path: path.into(), why };
    let mut csv = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_path(path)
        .map_err(|error| failed(error.to_string()))?;
    let header = csv.headers().map_err(|error| failed(error.to_string()))?.clone();
    let column = |name: &str| {
        let found = header.iter().position(|cell| cell.trim_start_matches('\u{feff}') == name);
        found.ok_or_else(|| failed(format!("there is no column `{name}`")))
    };
    let (class, weight) = (column("class")?, column("weight")?);
    let mut weights = BTreeMap::new();
    for (row, record) in csv.records().enumerate() {
        let row = row + 2;
        let record = record.map_err(|error| failed(error.to_string()))?;
        let cell = |column: usize| record.get(column).unwrap_or_default();
        let value = cell(weight).parse().ok().filter(|weight: &f32| *weight > 0.0 && weight.is_finite());
        let value =
            value.ok_or_else(|| failed(format!("row {row}: `{}` is no weight above 0", cell(weight))))?;
        if weights.insert(cell(class).to_owned(), value).is_some() {
            return Err(failed(format!("row {row}: a second weight for `{}`", cell(class))));
        }
    }
    let others: Vec<&str> =
        weights.keys().filter(|class| !classes.contains(class)).map(String::as_str).collect();
    let missing: Vec<&str> =
        classes.iter().filter(|class| !weights.contains_key(*class)).map(String::as_str).collect();
    let mut wrong = Vec::new();
    if !others.is_empty() {
        wrong.push(format!("no class of the data is called {}", others.join(", ")));
    }
    if !missing.is_empty() {
        wrong.push(format!("there is no weight for {}", missing.join(", ")));
    }
    if !wrong.is_empty() {
        return Err(failed(wrong.join("; ")));
    }
    Ok(classes.iter().map(|class| weights[class]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_weights() {
        // sklearn.utils.class_weight.compute_class_weight("balanced", ...) on 6, 3 and 1 labels.
        assert_eq!(balanced(&[6, 3, 1]), [10.0 / 18.0, 10.0 / 9.0, 10.0 / 3.0]);
        assert_eq!(balanced(&[2, 0]), [0.5, 1.0]);
    }

    #[test]
    fn effective_numbers() {
        // numpy: w = (1 - 0.9999) / (1 - 0.9999 ** n); w / w.sum() * 3 of n = 5000, 500, 20.
        let found = effective_number(&[5000, 500, 20]);
        for (found, expected) in found.iter().zip([0.014_563_326, 0.117_492_23, 2.867_944_4]) {
            assert!((found / expected - 1.0).abs() < 1e-5, "{found} {expected}");
        }
        assert_eq!(effective_number(&[7, 7, 0]), [1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_file_names_every_class_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.csv");
        let classes = ["hog", "lion"].map(String::from);
        let how = ClassWeights::File(path.clone());
        let of = |text: &str| {
            std::fs::write(&path, text).unwrap();
            class_weights(&how, &classes, &[1, 1]).map_err(|error| error.to_string())
        };
        assert_eq!(of("\u{feff}weight,class\n2, lion\n0.5,hog\n"), Ok(Some(vec![0.5, 2.0])));
        for (text, expected) in [
            ("class\nlion\n", "there is no column `weight`"),
            ("class,weight\nlion,1\nhog,much\n", "row 3: `much` is no weight"),
            ("class,weight\nlion,1\nhog,-1\n", "row 3: `-1` is no weight"),
            ("class,weight\nlion,1\nlion,2\n", "row 3: a second weight for `lion`"),
            ("class,weight\ntiger,1\nlion,2\n", "is called tiger; there is no weight for hog"),
            ("class,weight\nlion,1\nhog,0\n", "row 3: `0` is no weight above 0"),
        ] {
            let error = of(text).unwrap_err();
            assert!(error.contains("weights.csv") && error.contains(expected), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = class_weights(&how, &classes, &[1, 1]).unwrap_err();
        assert!(error.hint().is_some_and(|hint| hint.contains("none, balanced or effective-number")));
    }
}
