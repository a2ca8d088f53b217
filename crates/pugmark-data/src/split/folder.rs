//! The folder of a camera, where photos lie in one folder for each camera.

use std::collections::{BTreeMap, BTreeSet};

use crate::dataset::{Dataset, Part, Sample};

/// The folder that tells each sample's camera: the first one below the class folder, or below the folder that all share;
/// none for samples that are not chosen or lie above.
pub(super) fn folders<'a>(dataset: &'a Dataset, chosen: &[usize]) -> Vec<Option<&'a str>> {
    let below = |index: usize| steps(&dataset.samples[index], &dataset.classes);
    let mut lists = chosen.iter().map(|&index| below(index));
    let mut shared = lists.next().unwrap_or_default();
    for list in lists {
        let same = shared.iter().zip(&list).take_while(|(a, b)| a == b).count();
        shared.truncate(same);
    }
    let mut found = vec![None; dataset.samples.len()];
    for &index in chosen {
        found[index] = below(index).get(shared.len()).copied();
    }
    found
}

/// The folders above a photo, without those that only say its part or its class.
fn steps<'a>(sample: &'a Sample, classes: &[String]) -> Vec<&'a str> {
    let class = sample.class.map(|class| classes[class].as_str());
    let (above, _) = sample.id.rsplit_once('/').unwrap_or_default();
    let tells = |step: &&str| {
        let part = sample.part.is_some() && step.parse::<Part>() == sample.part.ok_or(String::new());
        !step.is_empty() && !part && class.is_none_or(|class| !class.eq_ignore_ascii_case(step))
    };
    above.split('/').filter(tells).collect()
}

/// Whether the folders can be those of cameras: there are two or more, and at least half of the classes are in more than
/// one. Where each class has a folder of its own, under whatever name, a folder is only another word for the class.
pub(super) fn tell_cameras(dataset: &Dataset, chosen: &[usize]) -> bool {
    let folders = folders(dataset, chosen);
    let mut of_class: BTreeMap<Option<usize>, BTreeSet<&str>> = BTreeMap::new();
    for &index in chosen {
        of_class.entry(dataset.samples[index].class).or_default().extend(folders[index]);
    }
    let all: BTreeSet<&str> = of_class.values().flatten().copied().collect();
    let in_several = of_class.values().filter(|folders| folders.len() > 1).count();
    all.len() > 1 && 2 * in_several >= of_class.len()
}
