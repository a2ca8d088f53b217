//! Bursts: frames of one camera, taken one right after the other.

use std::collections::HashMap;

use chrono::TimeDelta;

use crate::dataset::{Dataset, Part, Sample};
use crate::scan::PhotoFacts;
use crate::time::CaptureTime;

/// When each sample was taken: as the data set says, else as the photo says.
pub fn times(dataset: &Dataset, facts: Option<&[PhotoFacts]>) -> Vec<Option<CaptureTime>> {
    let of_photo = |index: usize| facts.and_then(|facts| facts[index].exif.time).map(|(time, _)| time);
    let samples = dataset.samples.iter().enumerate();
    samples.map(|(index, sample)| sample.time.or_else(|| of_photo(index))).collect()
}

/// Photos that were taken at one place, each at most `gap` after the one before it, or that the data set puts into one
/// sequence. Groups of two or more indices, ascending; groups by their first.
///
/// The place is the site; else the camera's serial number; else the folder without the names of parts and classes in
/// it, and the camera's make and model. Photos without a time or a sequence are in no burst.
pub fn bursts(dataset: &Dataset, facts: Option<&[PhotoFacts]>, gap: TimeDelta) -> Vec<Vec<usize>> {
    let mut sequences: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut places: HashMap<String, Vec<(CaptureTime, usize)>> = HashMap::new();
    for (index, time) in times(dataset, facts).into_iter().enumerate() {
        let sample = &dataset.samples[index];
        if let Some(sequence) = &sample.sequence {
            sequences.entry(sequence).or_default().push(index);
        } else if let Some(time) = time {
            let place = place(dataset, sample, facts.map(|facts| &facts[index]));
            places.entry(place).or_default().push((time, index));
        }
    }
    let mut groups: Vec<Vec<usize>> = sequences.into_values().collect();
    for mut photos in places.into_values() {
        photos.sort_unstable();
        let close = |a: &(CaptureTime, usize), b: &(CaptureTime, usize)| b.0.since(a.0) <= gap;
        groups.extend(photos.chunk_by(close).map(|run| run.iter().map(|&(_, index)| index).collect()));
    }
    groups.retain(|group| group.len() > 1);
    for group in &mut groups {
        group.sort_unstable();
    }
    groups.sort_unstable();
    groups
}

/// A name for the place a photo was taken at.
fn place(dataset: &Dataset, sample: &Sample, facts: Option<&PhotoFacts>) -> String {
    if let Some(site) = &sample.site {
        return format!("site {site}");
    }
    let exif = facts.map(|facts| &facts.exif);
    if let Some(serial) = exif.and_then(|exif| exif.serial.as_ref()) {
        return format!("serial {serial}");
    }
    let folders = sample.id.rsplit_once('/').map_or("", |(folders, _)| folders);
    let of_labels =
        |name: &str| name.parse::<Part>().is_ok() || dataset.classes.iter().any(|class| class == name);
    let folders: Vec<&str> = folders.split('/').filter(|name| !of_labels(name)).collect();
    let camera = exif.and_then(|exif| exif.camera()).unwrap_or_default();
    format!("folder {} {camera}", folders.join("/"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn sample(id: &str, site: Option<&str>, time: &str) -> Sample {
        let time = (!time.is_empty()).then(|| time.parse().unwrap());
        Sample { site: site.map(str::to_owned), time, ..Sample::new(id, id) }
    }

    fn dataset(samples: Vec<Sample>) -> Dataset {
        let classes = vec!["duiker".to_owned(), "leopard".to_owned()];
        Dataset { root: PathBuf::new(), classes, samples, format: "test", notes: Vec::new() }
    }

    #[test]
    fn a_burst_is_a_chain_of_short_gaps_at_one_site() {
        let data = dataset(vec![
            sample("a", Some("S1"), "2020-05-01 10:00:00"),
            sample("b", Some("S2"), "2020-05-01 10:00:10"),
            sample("c", Some("S1"), "2020-05-01 10:02:00"),
            sample("d", Some("S1"), "2020-05-01 10:01:00"),
            sample("e", Some("S1"), "2020-05-01 10:03:01"),
            sample("f", Some("S1"), ""),
            sample("g", Some("S2"), "2020-05-01 10:01:10"),
        ]);
        // e is 61 seconds after c.
        assert_eq!(bursts(&data, None, TimeDelta::seconds(60)), [vec![0, 2, 3], vec![1, 6]]);
        assert_eq!(bursts(&data, None, TimeDelta::seconds(61)), [vec![0, 2, 3, 4], vec![1, 6]]);
        assert!(bursts(&data, None, TimeDelta::seconds(59)).is_empty());
    }

    #[test]
    fn a_sequence_that_is_named_goes_before_times() {
        let mut data = dataset(vec![
            sample("a", Some("S1"), "2020-05-01 10:00:00"),
            sample("b", Some("S1"), "2020-05-01 10:00:01"),
            sample("c", Some("S1"), "2020-05-01 11:00:00"),
        ]);
        data.samples[0].sequence = Some("one".to_owned());
        data.samples[2].sequence = Some("one".to_owned());
        assert_eq!(bursts(&data, None, TimeDelta::seconds(60)), [vec![0, 2]]);
    }

    #[test]
    fn without_sites_the_folder_counts_but_not_its_class_and_part() {
        let time = "2020-05-01 10:00:00";
        let data = dataset(vec![
            sample("train/duiker/cam1/1.jpg", None, time),
            sample("val/leopard/cam1/2.jpg", None, time),
            sample("val/leopard/cam2/1.jpg", None, time),
        ]);
        assert_eq!(bursts(&data, None, TimeDelta::seconds(60)), [vec![0, 1]]);
    }
}
