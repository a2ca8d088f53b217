//! Batches: the same whatever the threads, the cache, the order of the items and where an epoch is taken up.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use image::{ImageFormat, RgbImage};
use pugmark_data::{
    Augment, AutoAugment, Batch, Colour, Item, Limits, Loader, LoaderSettings, Mixed, Random, Recipe,
    Saliency, Stage,
};
use tempfile::TempDir;

const SIDE: usize = 16;

/// Photos of noise in two classes; numbers 5 and 9 are broken, 7 is cut off.
fn photos(folder: &Path, count: usize) -> Vec<Item> {
    let item = |number: usize| {
        let id = format!("{}/{number}.png", number % 2);
        let path = folder.join(&id);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut random = Random::new(0, 0, &id);
        let noise = (0..40 * 30 * 3).map(|_| random.next_u64() as u8).collect();
        RgbImage::from_raw(40, 30, noise).unwrap().save_with_format(&path, ImageFormat::Png).unwrap();
        let bytes = fs::read(&path).unwrap();
        match number {
            5 => fs::write(&path, b"").unwrap(),
            7 => fs::write(&path, &bytes[..bytes.len() / 2]).unwrap(),
            9 => fs::remove_file(&path).unwrap(),
            _ => {}
        }
        Item { id, path, stored: None, crop: None, class: (number != 4).then_some(number % 2) }
    };
    (0..count).map(item).collect()
}

fn settings() -> LoaderSettings {
    LoaderSettings {
        batch_size: 4,
        threads: 1,
        seed: 3,
        shuffle: true,
        balanced: false,
        recipe: Recipe::imagenet(SIDE),
        augment: Augment { flip: true, rotation: 10.0, jitter: 0.2, ..Augment::default() },
        limits: Limits::default(),
        cache_bytes: 0,
    }
}

fn epochs(loader: &Loader) -> Vec<Vec<Batch>> {
    (0..3).map(|epoch| loader.epoch(epoch, 0).collect()).collect()
}

/// Every class comes as often as any other, whatever the order of the items and the threads; what comes again is changed in
/// another way.
#[test]
fn balanced_batches() {
    let (_folder, mut items) = data(60);
    // Four photos of class 0 beside 56 of class 1.
    items.iter_mut().enumerate().for_each(|(number, item)| item.class = Some(usize::from(number >= 4)));
    let settings = LoaderSettings { balanced: true, threads: 3, ..settings() };
    let balanced = |items: &[Item]| -> Vec<(String, Vec<u8>)> {
        let loader = Loader::new(items.to_vec(), settings.clone());
        let photo = SIDE * SIDE * 3;
        loader
            .epoch(1, 0)
            .flat_map(|batch| {
                let ids: Vec<String> = batch.items.iter().map(|&item| items[item].id.clone()).collect();
                ids.into_iter().zip(batch.pixels.chunks(photo).map(<[u8]>::to_vec)).collect::<Vec<_>>()
            })
            .collect()
    };
    let drawn = balanced(&items);
    let rare: Vec<&(String, Vec<u8>)> =
        drawn.iter().filter(|(id, _)| items[..4].iter().any(|item| item.id == *id)).collect();
    // Five standard deviations of a binomial(60, 1/2).
    assert!(
        drawn.len() > 50 && rare.len().abs_diff(drawn.len() / 2) < 20,
        "{} of {}",
        rare.len(),
        drawn.len()
    );
    let (first, again): (Vec<_>, Vec<_>) = rare.iter().copied().partition(|(id, _)| *id == rare[0].0);
    assert!(first.len() > 1 && !again.is_empty());
    assert!(first.iter().any(|(_, pixels)| *pixels != rare[0].1), "changed in another way");
    items.reverse();
    assert!(balanced(&items) == drawn);
}

fn data(count: usize) -> (TempDir, Vec<Item>) {
    let folder = tempfile::tempdir().unwrap();
    let items = photos(folder.path(), count);
    (folder, items)
}

#[test]
fn threads_and_cache_change_nothing() {
    let (_folder, items) = data(27);
    let expected = epochs(&Loader::new(items.clone(), settings()));
    assert!(expected[0] != expected[1], "each epoch has its own order and augmentation");
    let photo = (SIDE * SIDE * 3) as u64;
    for threads in [0, 1, 2, 3, 4, 50] {
        // No cache, one that fills up, one that holds all.
        for cache_bytes in [0, photo * 10, photo * 100] {
            let loader = Loader::new(items.clone(), LoaderSettings { threads, cache_bytes, ..settings() });
            assert!(epochs(&loader) == expected, "{threads} threads, cache of {cache_bytes}");
        }
    }
}

/// Everything that is random, with what is important in each photo.
fn everything(items: &[Item], settings: LoaderSettings) -> Loader {
    let augment = Augment {
        crop: 0.3,
        vertical_flip: true,
        auto: AutoAugment::TrivialAugment,
        hue: 0.1,
        grayscale: 0.2,
        erasing: 0.5,
        keep: Some(0.6),
        mixup: 0.4,
        cutmix: 1.0,
        ..settings.augment
    };
    let loader = Loader::new(items.to_vec(), LoaderSettings { augment, ..settings });
    let saliency = |item: &Item| {
        let mut random = Random::new(0, 0, &item.id);
        Saliency::new(&(0..256).map(|_| random.uniform()).collect::<Vec<_>>())
    };
    loader.set_saliency(items.iter().map(saliency).collect());
    loader
}

#[test]
fn with_everything_on_neither_threads_nor_cache_nor_the_order_of_items_change_a_bit() {
    let (_folder, items) = data(27);
    let expected = epochs(&everything(&items, settings()));
    for (threads, cache_bytes) in [(2, 0), (3, 20_000), (50, 1 << 20)] {
        let loader = everything(&items, LoaderSettings { threads, cache_bytes, ..settings() });
        assert!(epochs(&loader) == expected, "{threads} threads, cache of {cache_bytes}");
        let rest: Vec<Batch> = loader.epoch(1, 4).collect();
        assert!(rest == expected[1][4..], "taken up after four batches");
    }
    let reversed: Vec<Item> = items.iter().rev().cloned().collect();
    for (batch, other) in expected[1].iter().zip(everything(&reversed, settings()).epoch(1, 0)) {
        assert!(batch.pixels == other.pixels && batch.mixed == other.mixed && batch.labels == other.labels);
    }
}

#[test]
fn only_photos_that_were_decoded_are_mixed() {
    let (_folder, items) = data(27);
    let mix = Augment { mixup: 0.4, ..Augment::default() };
    let plain = Loader::new(items.clone(), LoaderSettings { augment: Augment::default(), ..settings() });
    let loader = Loader::new(items.clone(), LoaderSettings { augment: mix, ..settings() });
    let mut shares = HashSet::new();
    for (batch, plain) in loader.epoch(0, 0).zip(plain.epoch(0, 0)) {
        assert!(plain.mixed.is_none() && batch.items == plain.items && batch.broken == plain.broken);
        let Mixed { labels, share } = batch.mixed.unwrap();
        let mut others = batch.labels.clone();
        others.rotate_right(1);
        assert_eq!((labels, share.len()), (others, batch.labels.len()));
        shares.insert(share[0].to_bits());
        let len = SIDE * SIDE * 3;
        for (photo, pixels) in batch.pixels.chunks(len).enumerate() {
            let before = (photo + batch.items.len() - 1) % batch.items.len();
            let (own, other) = (&plain.pixels[photo * len..][..len], &plain.pixels[before * len..][..len]);
            for ((&mixed, &own), &other) in pixels.iter().zip(own).zip(other) {
                let exact = f32::from(own) * share[photo] + f32::from(other) * (1.0 - share[photo]);
                assert!((f32::from(mixed) - exact).abs() <= 0.51);
            }
        }
    }
    assert_eq!(shares.len(), 7, "each batch has its own share");
}

#[test]
fn saliency_is_used_by_the_epochs_that_begin_after_it_was_set() {
    let (_folder, items) = data(8);
    let erase = Augment { erasing: 1.0, keep: Some(0.6), ..Augment::default() };
    let plain = Augment { keep: None, ..erase };
    let batches = |augment, saliency: Option<Saliency>| {
        let loader = Loader::new(items.clone(), LoaderSettings { augment, ..settings() });
        loader.set_saliency(vec![saliency; items.len()]);
        loader.epoch(0, 0).collect::<Vec<Batch>>()
    };
    let mut cells = [0.0; 256];
    cells[..40].fill(1.0);
    let saliency = Saliency::new(&cells);
    assert!(batches(erase, None) == batches(plain, saliency.clone()));
    assert!(batches(erase, saliency) != batches(plain, None));
}

#[test]
fn a_timed_loader_tells_what_each_batch_took() {
    let (_folder, items) = data(40);
    for (threads, cache_bytes) in [(1, 0), (3, 1 << 20)] {
        let settings = LoaderSettings { threads, cache_bytes, ..settings() };
        let [plain, timed] = [(); 2].map(|()| Loader::new(items.clone(), settings.clone()));
        timed.time();
        for epoch in 1..3 {
            let mut batches = Vec::new();
            for batch in timed.epoch(epoch, 0) {
                assert!(timed.ready() <= 2 * threads, "{} batches are ready", timed.ready());
                batches.push(batch);
            }
            assert!(batches == plain.epoch(epoch, 0).collect::<Vec<_>>());
            assert_eq!((timed.ready(), plain.ready()), (0, 0), "none is left of an epoch");
            let mut times = timed.take_times();
            times.sort_by_key(|time| time.batch);
            assert_eq!(times.iter().map(|time| time.batch).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
            for time in &times {
                assert_eq!(time.thread, time.batch % threads);
                let spent = (time.ended - time.began).as_secs_f64();
                let sum: f64 = time.seconds.iter().sum();
                assert!((sum - spent).abs() < 1e-6, "every moment is in a stage: {sum} of {spent}");
                assert!(time.seconds[Stage::Augment as usize] > 0.0);
                let decodes = time.seconds[Stage::Decode as usize] > 0.0;
                assert_eq!(decodes, epoch == 1 || cache_bytes == 0, "a photo in the cache is not decoded");
            }
            assert!(timed.take_times().is_empty() && plain.take_times().is_empty());
        }
    }
}

#[test]
fn the_cache_is_used() {
    let (folder, items) = data(8);
    for cache_bytes in [0, 1 << 20] {
        let loader = Loader::new(items.clone(), LoaderSettings { cache_bytes, ..settings() });
        let first: Vec<Batch> = loader.epoch(0, 0).collect();
        fs::rename(folder.path(), folder.path().with_extension("gone")).unwrap();
        let again: Vec<Batch> = loader.epoch(0, 0).collect();
        fs::rename(folder.path().with_extension("gone"), folder.path()).unwrap();
        assert_eq!(first == again, cache_bytes > 0);
    }
}

#[test]
fn every_item_comes_once() {
    let (_folder, items) = data(27);
    let loader = Loader::new(items.clone(), LoaderSettings { threads: 3, ..settings() });
    assert_eq!(loader.batches(), 7);
    let mut orders = HashSet::new();
    for epoch in 0..4 {
        let batches: Vec<Batch> = loader.epoch(epoch, 0).collect();
        assert_eq!(batches.len(), 7);
        let mut order: Vec<usize> = Vec::new();
        let (mut broken, mut truncated): (Vec<(usize, String)>, Vec<usize>) = (Vec::new(), Vec::new());
        for (index, batch) in batches.iter().enumerate() {
            assert_eq!(batch.pixels.len(), batch.items.len() * SIDE * SIDE * 3);
            assert_eq!(batch.items.len() + batch.broken.len(), if index == 6 { 3 } else { 4 });
            for (&item, &label) in batch.items.iter().zip(&batch.labels) {
                assert_eq!(label, items[item].class.map_or(u32::MAX, |class| class as u32));
            }
            order.extend(&batch.items);
            broken.extend(batch.broken.clone());
            truncated.extend(&batch.truncated);
        }
        broken.sort();
        assert_eq!(broken[0], (5, "the file is empty".to_owned()));
        assert!(broken.len() == 2 && broken[1].0 == 9 && broken[1].1.starts_with("the file cannot be read"));
        assert_eq!(truncated, [7]);
        assert!(orders.insert(order.clone()), "epoch {epoch} has an order of before");
        order.sort_unstable();
        assert_eq!(order, (0..27).filter(|&item| item != 5 && item != 9).collect::<Vec<_>>());
    }
}

#[test]
fn the_order_of_the_items_does_not_matter() {
    let (_folder, items) = data(12);
    let ids = |items: &[Item]| -> Vec<(Vec<String>, Vec<u8>)> {
        let batches = Loader::new(items.to_vec(), settings()).epoch(1, 0);
        batches
            .map(|batch| (batch.items.iter().map(|&item| items[item].id.clone()).collect(), batch.pixels))
            .collect()
    };
    let reversed: Vec<Item> = items.iter().rev().cloned().collect();
    assert!(ids(&items) == ids(&reversed));
}

#[test]
fn without_shuffling_the_order_is_as_given() {
    let (_folder, items) = data(5);
    let augment = Augment::default();
    let loader = Loader::new(items, LoaderSettings { shuffle: false, threads: 2, augment, ..settings() });
    let order = |epoch| loader.epoch(epoch, 0).flat_map(|batch| batch.items).collect::<Vec<_>>();
    assert_eq!((order(0), order(1)), (vec![0, 1, 2, 3, 4], vec![0, 1, 2, 3, 4]));
}

#[test]
fn an_epoch_can_be_taken_up_anywhere() {
    let (_folder, items) = data(27);
    let loader = Loader::new(items, LoaderSettings { threads: 3, ..settings() });
    let whole: Vec<Batch> = loader.epoch(2, 0).collect();
    for first in 0..=8 {
        let rest: Vec<Batch> = loader.epoch(2, first).collect();
        assert!(rest == whole[first.min(7)..], "from batch {first}");
    }
}

#[test]
fn grayscale_reaches_the_batch() {
    let (_folder, items) = data(4);
    let recipe = Recipe { colour: Colour::Grayscale, ..Recipe::imagenet(SIDE) };
    let augment = Augment::default();
    let batch =
        Loader::new(items, LoaderSettings { recipe, augment, ..settings() }).epoch(0, 0).next().unwrap();
    assert!(batch.pixels.chunks(3).all(|pixel| pixel[0] == pixel[1] && pixel[1] == pixel[2]));
}

#[test]
fn nothing_to_load() {
    let loader = Loader::new(Vec::new(), LoaderSettings { batch_size: 0, ..settings() });
    assert_eq!((loader.batches(), loader.epoch(0, 0).count()), (0, 0));
}

#[test]
fn a_batch_of_broken_photos_is_empty() {
    let (_folder, items) = data(10);
    let broken = vec![items[5].clone(), items[9].clone()];
    let batches: Vec<Batch> = Loader::new(broken, settings()).epoch(0, 0).collect();
    assert_eq!((batches.len(), batches[0].items.len(), batches[0].broken.len()), (1, 0, 2));
}

#[test]
fn a_dropped_epoch_stops() {
    let (folder, items) = data(4);
    let many: Vec<Item> =
        (0..4000).map(|number| Item { id: number.to_string(), ..items[number % 4].clone() }).collect();
    let loader = Loader::new(many, LoaderSettings { threads: 3, cache_bytes: 1 << 30, ..settings() });
    let mut epoch = loader.epoch(0, 0);
    assert_eq!(epoch.len(), 1000);
    epoch.next().unwrap();
    drop(epoch);
    // The cache knows which photos were read before: three workers may each have made two batches and begun a third.
    drop(folder);
    let read: usize = loader.epoch(0, 0).map(|batch| batch.items.len()).sum();
    assert!((4..=4 + 3 * 3 * 4).contains(&read), "{read} photos were read");
}
