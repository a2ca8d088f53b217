//! Which photo goes into which shard.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::form::{Form, Store};
use super::input::{Input, Origin};
use super::listing::{Described, hex};
use super::{PLAN, PrepareError, PrepareSettings, SHARDS};
use crate::dataset::{Part, Sample};
use crate::storage::Storage;

/// Bytes that a shard should have: large enough to be read in one go, small enough to be made again for one photo.
const SHARD_BYTES: u64 = 64 << 20;

/// Photos of each part are kept apart, so that no reader trains on what is to be tested.
pub(super) const GROUPS: [&str; 4] = ["photos", "train", "val", "test"];

/// What a folder is prepared as, agreed among the machines that prepare it: the first one writes it.
#[derive(Serialize, Deserialize, Clone, PartialEq, Debug)]
pub(super) struct Plan {
    format: String,
    version: u32,
    form: Form,
    /// Shards of each part, whether it has photos or not.
    shards: BTreeMap<String, usize>,
}

/// A shard as it should be.
pub(super) struct Shard<'a> {
    /// Its number among those of all parts, photos or not.
    pub(super) number: usize,
    /// `train-00000` and the like.
    pub(super) name: String,
    /// Its photos, sorted by id.
    pub(super) photos: Vec<(Described, &'a Origin)>,
}

impl Plan {
    /// The plan of the folder; if it has none, the one that suits the data set.
    pub(super) fn agree(
        input: &Input,
        out: &Storage,
        settings: &PrepareSettings,
    ) -> Result<Self, PrepareError> {
        let there = match out.read(PLAN)? {
            Some(there) => there,
            None => {
                let plan = Self::suitable(input, settings);
                // Plain words and numbers: they can always be written.
                let mut text = serde_json::to_string_pretty(&plan).unwrap_or_default();
                text.push('\n');
                if out.create(PLAN, text.as_bytes())? {
                    return Ok(plan);
                }
                // Another machine was faster.
                out.read(PLAN)?.unwrap_or_default()
            }
        };
        let damaged = |problem: String| PrepareError::Damaged { place: out.place(PLAN), problem };
        let plan: Self = serde_json::from_slice(&there).map_err(|error| damaged(error.to_string()))?;
        if plan.format != "pugmark-prepare" || plan.version != 1 {
            return Err(damaged("not a plan that this version of pugmark knows".into()));
        }
        let other =
            |there: String, asked: String| PrepareError::OtherSettings { out: out.to_string(), there, asked };
        if plan.form != settings.form {
            return Err(other(plan.form.to_string(), settings.form.to_string()));
        }
        match settings.shards {
            Some(asked) if plan.shards.values().any(|&there| there != asked) => {
                let there: Vec<String> =
                    plan.shards.iter().map(|(part, n)| format!("{n} of {part}")).collect();
                Err(other(format!("shards: {}", there.join(", ")), format!("{asked} a part")))
            }
            _ => Ok(plan),
        }
    }

    fn suitable(input: &Input, settings: &PrepareSettings) -> Self {
        let samples = &input.dataset.samples;
        let source = || {
            let bytes: u64 = input.origins.iter().map(Origin::size_hint).sum();
            bytes / samples.len().max(1) as u64
        };
        let pixels = |size: u32| u64::from(size).pow(2);
        let photo = match (settings.form.size, settings.form.store) {
            (Some(size), Store::Raw) => pixels(size) * 3,
            // 4 bits a pixel: camera-trap photos of 224 pixels at quality 95.
            (Some(size), Store::Jpeg) => pixels(size) / 2,
            (None, Store::Raw) => source() * 8,
            (None, Store::Jpeg) => source(),
        };
        // Headers, class and description of a photo.
        let photos = (SHARD_BYTES / (photo + 3072)).max(1) as usize;
        let count = |group: &str| {
            let members = samples.iter().filter(|sample| group_of(sample) == group).count();
            settings.shards.unwrap_or_else(|| members.div_ceil(photos)).max(1)
        };
        let shards = GROUPS.iter().map(|&group| (group.to_owned(), count(group))).collect();
        Self { format: "pugmark-prepare".into(), version: 1, form: settings.form.clone(), shards }
    }

    /// The shards that have photos, in order.
    pub(super) fn shards<'a>(&self, input: &'a Input) -> Vec<Shard<'a>> {
        let mut first = BTreeMap::new();
        let mut next = 0;
        for group in GROUPS {
            first.insert(group, next);
            next += self.count(group);
        }
        let mut shards: BTreeMap<usize, Shard<'a>> = BTreeMap::new();
        for (sample, origin) in input.dataset.samples.iter().zip(&input.origins) {
            let group = group_of(sample);
            let hash = Sha256::digest(sample.id.as_bytes());
            let head = hash[..8].iter().fold(0_u64, |number, &byte| number << 8 | u64::from(byte));
            let at = (head % self.count(group) as u64) as usize;
            let number = first[group] + at;
            let name = || format!("{group}-{at:05}");
            let shard =
                shards.entry(number).or_insert_with(|| Shard { number, name: name(), photos: Vec::new() });
            let described = Described::new(sample, &input.dataset.classes, hex(&hash[..16]));
            shard.photos.push((described, origin));
        }
        let mut shards: Vec<_> = shards.into_values().collect();
        for shard in &mut shards {
            shard.photos.sort_unstable_by(|(a, _), (b, _)| a.id.cmp(&b.id));
        }
        shards
    }

    fn count(&self, group: &str) -> usize {
        self.shards.get(group).copied().unwrap_or(1).max(1)
    }
}

impl Shard<'_> {
    pub(super) fn tar(&self) -> String {
        format!("{SHARDS}{}.tar", self.name)
    }

    pub(super) fn listing(&self) -> String {
        format!("{SHARDS}{}.json", self.name)
    }
}

fn group_of(sample: &Sample) -> &'static str {
    sample.part.map_or(GROUPS[0], Part::name)
}
