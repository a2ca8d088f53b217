//! What a data set is split by, and what that means for the numbers.

use super::{SplitBy, SplitError, SplitOptions, folder};
use crate::dataset::{Dataset, counted};
use crate::error::DataError;

/// What a random split means, in plain words.
const RANDOM_WARNING: &str = "Random split: frames of one camera are on both sides, so the model \
     can recognise the place instead of the animal. The validation number is then optimistic and says little \
     about new cameras. Name the sites of the photos to split by site.";

/// What a split by sequence or burst means.
const SEQUENCE_WARNING: &str = "no burst is in two parts, but photos of one camera are, so the model can recognise \
     the place. The validation number says little about new cameras. Name the sites of the photos to split by site.";

/// What it is split by in the end, how that is called, and what to say about it.
pub(super) fn decide(
    dataset: &Dataset,
    chosen: &[usize],
    by: SplitBy,
    options: &SplitOptions<'_>,
) -> Result<(SplitBy, &'static str, Vec<String>), DataError> {
    let samples = || chosen.iter().map(|&index| &dataset.samples[index]);
    let data = || dataset.root.clone();
    let without_site = samples().filter(|sample| sample.site.is_none()).count();
    let sites = without_site < chosen.len();
    let sequences = samples().any(|sample| sample.sequence.is_some());
    let times = samples().any(|sample| sample.time.is_some());
    let auto = by == SplitBy::Auto;
    let by = match by {
        SplitBy::Auto if sites => SplitBy::Site,
        SplitBy::Auto if sequences => SplitBy::Sequence,
        SplitBy::Auto if folder::tell_cameras(dataset, chosen) => SplitBy::Folder,
        SplitBy::Auto if times => SplitBy::Sequence,
        SplitBy::Auto => SplitBy::Random,
        by => by,
    };
    let alone = |without: usize, what: &str, thing: &str| {
        let photos = counted(without, "photo");
        (without > 0).then(|| format!("No {what} is known of {photos}: each counts as a {thing} of its own."))
    };
    let (how, warning) = match by {
        SplitBy::Site if !sites => return Err(DataError::NoSites { data: data() }),
        SplitBy::Site => ("site", alone(without_site, "site", "site")),
        SplitBy::Sequence if sequences => {
            ("sequence", Some(format!("Split by sequence: {SEQUENCE_WARNING}")))
        }
        SplitBy::Sequence if times => ("burst", Some(format!("Split by burst: {SEQUENCE_WARNING}"))),
        SplitBy::Sequence => return Err(SplitError::NoSequences { data: data() }.into()),
        SplitBy::Folder => {
            let folders = folder::folders(dataset, chosen);
            let without = chosen.iter().filter(|&&index| folders[index].is_none()).count();
            if without == chosen.len() {
                return Err(SplitError::NoFolders { data: data() }.into());
            }
            let taken = "No site is named, so each folder is taken for a camera. Where that is wrong, name the sites.";
            ("folder", auto.then(|| taken.to_owned()).or(alone(without, "folder", "folder")))
        }
        SplitBy::Column => {
            let column = options.column.unwrap_or_default();
            let without = chosen.iter().filter(|&&index| column.get(index).is_none_or(Option::is_none));
            let without = without.count();
            if without == chosen.len() {
                return Err(SplitError::NoColumn { data: data() }.into());
            }
            ("column", alone(without, "value of the column", "group"))
        }
        SplitBy::Auto | SplitBy::Random => ("random", Some(RANDOM_WARNING.to_owned())),
    };
    Ok((by, how, warning.into_iter().collect()))
}
