//! Intervals, calibration, groups and floors.

use pugmark_eval::{
    Acceptance, Origins, accept, conformal_set, conformal_threshold, detail, evaluate, fit_temperature,
    site_alone,
};

/// xorshift64*, uniform in [0, 1).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (-2.0 * (1.0 - self.next()).ln()).sqrt() * (std::f64::consts::TAU * self.next()).cos()
    }
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|class| format!("class_{class}")).collect()
}

/// Draws of `sites` sites whose accuracy differs, as those of cameras do; how often the interval has the true accuracy.
fn coverage(sites: usize, photos: usize, spread: f64) -> f64 {
    let mut random = Random(sites as u64 + 1);
    let truth = 0.7;
    let trials = 400;
    let mut covered = 0;
    for _ in 0..trials {
        let (mut predicted, mut origin) = (Vec::new(), Vec::new());
        for site in 0..sites {
            let accuracy = truth + spread * (2.0 * random.next() - 1.0);
            for _ in 0..photos {
                let right = random.next() < accuracy;
                predicted.extend(if right { [0.9f32, 0.1] } else { [0.1, 0.9] });
                origin.push((spread > 0.0).then(|| site.to_string()));
            }
        }
        let origins = Origins { sites: origin, ..Origins::default() };
        let labels = vec![0; sites * photos];
        let intervals = detail(&names(2), &labels, &predicted, &origins)
            .expect("well-formed")
            .intervals
            .expect("several units");
        let [low, high] = intervals.accuracy;
        covered += u32::from(low <= truth && truth <= high);
    }
    f64::from(covered) / f64::from(trials)
}

/// 100 photos to calibrate on and 100 new ones, of a model that is far too sure of itself.
#[test]
fn sets_hold_the_truth_as_often_as_they_say() {
    let mut random = Random(9);
    let mut draw = |photos: usize| {
        let (mut labels, mut rows) = (Vec::new(), Vec::new());
        for _ in 0..photos {
            let logits: Vec<f64> = (0..4).map(|_| random.normal()).collect();
            let weights: Vec<f64> = logits.iter().map(|logit| logit.exp()).collect();
            let mut rest = random.next() * weights.iter().sum::<f64>();
            let label = weights.iter().position(|weight| {
                rest -= weight;
                rest < 0.0
            });
            labels.push(label.unwrap_or(3));
            let sure: Vec<f64> = logits.iter().map(|logit| (4.0 * logit).exp()).collect();
            let sum: f64 = sure.iter().sum();
            rows.extend(sure.iter().map(|value| (value / sum) as f32));
        }
        (labels, rows)
    };
    for wanted in [0.5, 0.8, 0.95] {
        let (mut held, mut photos) = (0, 0);
        for _ in 0..400 {
            let (labels, rows) = draw(100);
            let threshold = conformal_threshold(&labels, &rows, wanted);
            let (labels, rows) = draw(100);
            let holds = |(label, row): (&usize, &[f32])| conformal_set(row, threshold).contains(label);
            held += labels.iter().zip(rows.chunks_exact(4)).filter(|pair| holds((pair.0, pair.1))).count();
            photos += labels.len();
        }
        let share = held as f64 / photos as f64;
        println!("{wanted}: {share:.4}");
        // The theorem's bounds: up to 1/101 more; of 400 draws the mean varies by less than 0.004 (one standard deviation). A set
        // has one class at least, which holds more than was asked for at 0.5.
        let most = if wanted < 0.6 { 0.7 } else { wanted + 1.0 / 101.0 + 0.012 };
        assert!((wanted - 0.012..=most).contains(&share), "{wanted}: {share}");
    }
}

#[test]
fn intervals_cover_the_truth_as_often_as_they_say() {
    // 400 trials at 0.95 vary by 0.011 (one standard deviation): three of them. A site's accuracy is uniform in 0.4 to 1.
    for (sites, photos, spread) in [(6, 40, 0.3), (12, 30, 0.3), (40, 20, 0.3), (1, 150, 0.0)] {
        let covered = coverage(sites, photos, spread);
        println!("{sites} sites of {photos}: {covered}");
        assert!((0.917..=0.983).contains(&covered), "{sites} sites of {photos}: {covered}");
    }
}

#[test]
fn photos_of_a_site_are_no_more_than_one_another() {
    // Every photo of a site has the same answer: 200 photos say no more than the 8 sites.
    let sites: Vec<Option<String>> = (0..200).map(|photo| Some(format!("S{}", photo % 8))).collect();
    let rows: Vec<f32> =
        (0..200).flat_map(|photo| if photo % 8 < 6 { [1.0, 0.0] } else { [0.0, 1.0] }).collect();
    let width = |sites: Vec<Option<String>>| {
        let origins = Origins { sites, ..Origins::default() };
        let intervals = detail(&names(2), &[0; 200], &rows, &origins).unwrap().intervals.unwrap();
        (intervals.accuracy[1] - intervals.accuracy[0], intervals.unit, intervals.units)
    };
    let (by_site, unit, units) = width(sites);
    assert_eq!((unit, units), ("site", 8));
    let (by_photo, unit, units) = width(Vec::new());
    assert_eq!((unit, units), ("photo", 200));
    assert!(by_site > 3.0 * by_photo, "{by_site} {by_photo}");
    assert!(detail(&names(2), &[0], &[1.0, 0.0], &Origins::default()).unwrap().intervals.is_none());
}

/// Photos whose logits are `sharper` times those that the labels were drawn from.
fn sharpened(sharper: f64, photos: usize) -> (Vec<usize>, Vec<f32>) {
    let mut random = Random(7);
    let (mut labels, mut logits) = (Vec::new(), Vec::new());
    for _ in 0..photos {
        let row: Vec<f64> = (0..4).map(|_| 2.0 * random.normal()).collect();
        let weights: Vec<f64> = row.iter().map(|logit| logit.exp()).collect();
        let mut left = random.next() * weights.iter().sum::<f64>();
        let class = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        labels.push(class.unwrap_or(3));
        logits.extend(row.iter().map(|logit| (logit * sharper) as f32));
    }
    (labels, logits)
}

fn log_loss(labels: &[usize], logits: &[f32], temperature: f64) -> f64 {
    let rows = logits.chunks_exact(4).flat_map(|row| {
        let most = row.iter().copied().fold(f32::MIN, f32::max);
        let weights = row.iter().map(move |logit| (f64::from(logit - most) / temperature).exp());
        let sum: f64 = weights.clone().sum();
        weights.map(move |weight| (weight / sum) as f32)
    });
    let rows: Vec<f32> = rows.collect();
    evaluate(&names(4), labels, &rows).expect("well-formed").log_loss
}

#[test]
fn the_temperature_is_found_and_the_best() {
    for sharper in [0.5, 1.0, 3.0] {
        let (labels, logits) = sharpened(sharper, 20_000);
        let found = f64::from(fit_temperature(&labels, &logits));
        assert!((found / sharper - 1.0).abs() < 0.03, "{sharper}: {found}");
        let best = log_loss(&labels, &logits, found);
        for other in [1.0, found * 0.99, found * 1.01, sharper] {
            // The one photo more that is thought of moves it by less than this.
            assert!(best <= log_loss(&labels, &logits, other) + 1e-7, "{sharper}: {found} and {other}");
        }
    }
    // Right on all of two photos, as if a third had said both alike: 1/6 of the weight is on the wrong class.
    let found = f64::from(fit_temperature(&[0, 1], &[2.0, 1.0, 1.0, 2.0]));
    assert!((found - 1.0 / 5f64.ln()).abs() < 1e-5, "{found}");
    // It was surer than that, and rightly so: nothing changes.
    let found = fit_temperature(&[0, 1], &[9.0, 1.0, 1.0, 9.0]);
    assert!((found - 1.0).abs() < f32::EPSILON, "{found}");
    // Wrong on all: the end of the range.
    assert!((fit_temperature(&[1, 0], &[9.0, 1.0, 1.0, 9.0]) - 20.0).abs() < 1e-4);
    assert!((fit_temperature(&[], &[]) - 1.0).abs() < f32::EPSILON);
}

#[test]
fn frames_of_a_sequence_answer_together() {
    // a: two frames of class 0, one of them wrong but less sure; b: mixed; the last photo is alone.
    let rows = [[0.9, 0.1], [0.4, 0.6], [0.8, 0.2], [0.3, 0.7], [0.2, 0.8f32]];
    let sequences = ["a", "a", "b", "b"].map(|name| Some(name.to_owned()));
    let origins = Origins {
        sequences: sequences.into_iter().chain([None]).collect(),
        hours: vec![Some(6), Some(17), Some(18), Some(3), None],
        ..Origins::default()
    };
    let detail = detail(&names(2), &[0, 0, 0, 1, 1], rows.as_flattened(), &origins).unwrap();
    let sequences = detail.sequences.unwrap();
    assert_eq!((sequences.count, sequences.mixed), (2, 1));
    // Of class 0 in sequence a: the mean, the normalised root of the product, and the normalised largest.
    let geometric = (0.9f64 * 0.4).sqrt() / ((0.9f64 * 0.4).sqrt() + (0.1f64 * 0.6).sqrt());
    for (group, (name, first)) in
        sequences.combined.iter().zip([("mean", 0.65), ("geometric", geometric), ("max", 0.9 / 1.5)])
    {
        assert_eq!((group.name.as_str(), group.images), (name, 2));
        assert!((group.accuracy - 1.0).abs() < 1e-12);
        let expected = -(f64::ln(first) + f64::ln(0.8)) / 2.0;
        assert!((group.log_loss - expected).abs() < 1e-6, "{name}: {} {expected}", group.log_loss);
    }
    let parts: Vec<_> =
        detail.day_night.iter().map(|group| (group.name.as_str(), group.images, group.accuracy)).collect();
    assert_eq!(parts, [("day", 2, 0.5), ("night", 2, 1.0)]);
}

#[test]
fn a_site_alone_says_its_shares() {
    let train = [(Some("A"), 0), (Some("A"), 0), (Some("B"), 1), (None, 2)];
    let found = site_alone(3, &train, &[(Some("A"), 0), (Some("C"), 0)]).unwrap();
    // Of 4 photos and a third of one for each class: (2 + 1/3) / 5 of class 0; at A, (2 + that) / 3.
    let everywhere = (2.0 + 1.0 / 3.0) / 5.0;
    let at_a = (2.0 + everywhere) / 3.0;
    let expected = -(f64::ln(at_a) + f64::ln(everywhere)) / 2.0;
    assert!((found.log_loss - expected).abs() < 1e-6, "{found:?} {expected}");
    assert!((found.known - 0.5).abs() < 1e-12 && (found.accuracy - 1.0).abs() < 1e-12);
    assert!(site_alone(3, &train, &[(None, 0)]).is_none());
    assert!(site_alone(3, &[], &[(Some("A"), 0)]).is_none());
}

#[test]
fn as_many_answers_are_accepted_as_may_be() {
    // Right, right, wrong, right, right, wrong by confidence; the last two are equally sure.
    let rows = [[0.99, 0.01], [0.95, 0.05], [0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.7, 0.3f32]];
    let labels = [0, 0, 1, 0, 0, 1];
    let accepted = |wanted| accept(&labels, rows.as_flattened(), wanted);
    let expected = |wanted, confidence: f32, accepted, right| {
        let confidence = f64::from(confidence);
        Some(Acceptance { wanted, confidence, accepted, right, remain: 6 - accepted })
    };
    assert_eq!(accepted(1.0), expected(1.0, 0.95, 2, 1.0));
    assert_eq!(accepted(0.75), expected(0.75, 0.8, 4, 0.75));
    assert_eq!(accepted(0.6), expected(0.6, 0.7, 6, 4.0 / 6.0));
    let time = |remain| Acceptance { remain, ..accepted(1.0).unwrap() }.time();
    let times = [
        (14, "less than a minute"),
        (30, "about a minute"),
        (1240, "about 41 minutes"),
        (9000, "about 5 hours"),
    ];
    times.into_iter().for_each(|(remain, words)| assert_eq!(time(remain), words));
    assert_eq!(accept(&[1], &[0.9, 0.1], 0.5), None);
    assert_eq!(accept(&[], &[], 0.5), None);
}
