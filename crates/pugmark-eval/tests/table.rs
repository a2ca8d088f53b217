//! The table for people.

use pugmark_eval::{Beside, Evaluation, Origins, SiteAlone, detail, evaluate};

/// An evaluation whose photo `i` of class `truth[i]` is predicted as `predicted[i]`, with probability 0.9.
fn evaluation(names: &[&str], truth: &[usize], predicted: &[usize]) -> Evaluation {
    let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
    let rest = 0.1 / (names.len() - 1) as f32;
    let row = |&class: &usize| (0..names.len()).map(move |c| if c == class { 0.9 } else { rest });
    let probabilities: Vec<f32> = predicted.iter().flat_map(row).collect();
    evaluate(&names, truth, &probabilities).expect("well-formed rows")
}

#[test]
fn few_classes_show_the_whole_matrix() {
    let table = evaluation(
        &["blank", "hog", "zebra duiker"],
        &[0, 0, 0, 0, 1, 1, 2, 2, 2],
        &[0, 0, 0, 1, 1, 1, 2, 0, 2],
    )
    .table(Beside::default());
    let expected = "\
photos                   9
                            class shares  uniform
accuracy            0.7778        0.4444   0.3333
balanced accuracy   0.8056
top 3               1.0000
macro F1            0.7833
log loss            0.7477        1.0609   1.0986
Brier score         0.3928

Class shares: always blank; in losses, each class's own share.

class           photos  precision  recall      F1
blank                4     0.7500  0.7500  0.7500
hog                  2     0.6667  1.0000  0.8000
zebra duiker         3     1.0000  0.6667  0.8000
mean                       0.8056  0.8056  0.7833
weighted mean              0.8148  0.7778  0.7778

Row: the true class. Column: the predicted class, by its number.
                  1  2  3
 1 blank          3  1  .
 2 hog            .  2  .
 3 zebra duiker   1  .  2
";
    assert_eq!(table, expected);
}

#[test]
fn many_classes_show_the_most_frequent_mistakes() {
    let names: Vec<String> = (0..40).map(|class| format!("breed_{class:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let truth: Vec<usize> = (0..40).chain([3, 3, 7]).collect();
    let predicted: Vec<usize> = (0..40).chain([5, 5, 1]).collect();
    let table = evaluation(&names, &truth, &predicted).table(Beside::default());
    assert!(table.contains("\nThe 30 of 40 classes with the lowest F1:\n"), "{table}");
    assert_eq!(table.lines().filter(|line| line.starts_with("breed_")).count(), 30);
    let mistakes = "\
Most frequent mistakes:
 photos  true class  predicted
      2  breed_03    breed_05
      1  breed_07    breed_01
";
    assert!(table.ends_with(mistakes), "{table}");
}

#[test]
fn lines_fit_a_terminal_for_two_to_thirty_classes() {
    for count in 2..=30 {
        let names = vec!["antelope_duiker"; count];
        let labels: Vec<usize> = (0..count).collect();
        let table = evaluation(&names, &labels, &labels).table(Beside::default());
        assert!(table.lines().all(|line| line.len() <= 80), "{count} classes:\n{table}");
    }
}

#[test]
fn what_is_known_of_the_photos_stands_beside() {
    let truth: Vec<usize> = (0..60).map(|photo| photo % 6).collect();
    let predicted: Vec<usize> = (0..60).map(|photo| if photo % 7 == 0 { 0 } else { photo % 6 }).collect();
    let names = ["antelope_duiker", "bird", "blank", "civet_genet", "hog", "leopard"];
    let evaluation = evaluation(&names, &truth, &predicted);
    let classes = names.map(str::to_owned);
    let rows: Vec<f32> =
        predicted.iter().flat_map(|&p| (0..6).map(move |c| if c == p { 0.9 } else { 0.02 })).collect();
    let origins = Origins {
        sites: (0..60).map(|photo| Some(format!("S{:02}", photo % 12))).collect(),
        hours: (0..60).map(|photo| Some(photo % 24)).collect(),
        sequences: (0..60)
            .map(|photo| Some(format!("Q{}", if photo == 59 { 0 } else { photo % 6 })))
            .collect(),
    };
    let detail = detail(&classes, &truth, &rows, &origins).unwrap();
    let site_alone = Some(&SiteAlone { known: 0.5, accuracy: 0.25, log_loss: 1.5 });
    let table = evaluation.table(Beside { detail: Some(&detail), site_alone });
    let expected = "\
photos                  60
                            95 % interval     class shares  uniform  site alone
accuracy            0.8833  0.8167 to 0.9500        0.1667   0.1667      0.2500
balanced accuracy   0.8833  0.8280 to 0.9400
top 3               0.9500
top 5               0.9833
macro F1            0.8934  0.7371 to 0.9475
log loss            0.5495  0.2957 to 0.8032        1.7918   1.7918      1.5000
Brier score         0.2173  0.1000 to 0.3347
calibration error   0.0167  it is 0.9000 sure on average

Class shares: always antelope_duiker; in losses, each class's own share.
Site alone: the site's shares in training, known for 50 % of the photos.
Intervals: had there been 12 other sites.

class             photos  precision  recall      F1  average precision
antelope_duiker       10     0.5882  1.0000  0.7407             0.5882
bird                  10     1.0000  0.8000  0.8889             0.8333
blank                 10     1.0000  0.8000  0.8889             0.8333
civet_genet           10     1.0000  0.9000  0.9474             0.9167
hog                   10     1.0000  0.9000  0.9474             0.9167
leopard               10     1.0000  0.9000  0.9474             0.9167
mean                         0.9314  0.8833  0.8934             0.8342
weighted mean                0.9314  0.8833  0.8934

Row: the true class. Column: the predicted class, by its number.
                     1  2  3  4  5  6
 1 antelope_duiker  10  .  .  .  .  .
 2 bird              2  8  .  .  .  .
 3 blank             2  .  8  .  .  .
 4 civet_genet       1  .  .  9  .  .
 5 hog               1  .  .  .  9  .
 6 leopard           1  .  .  .  .  9

The 10 of 12 sites with the lowest accuracy:

site   photos  accuracy  log loss
S01         5    0.8000    0.8667
S02         5    0.8000    0.8667
S04         5    0.8000    0.8667
S07         5    0.8000    0.8667
S08         5    0.8000    0.8667
S09         5    0.8000    0.8667
S11         5    0.8000    0.8667
S00         5    1.0000    0.1054
S03         5    1.0000    0.1054
S05         5    1.0000    0.1054

time    photos  accuracy  log loss
day         30    0.8667    0.6129
night       30    0.9000    0.4860

sequences by   number  accuracy  log loss
mean                5    1.0000    0.2566
geometric           5    1.0000    0.2023
max                 5    0.0000    0.7366
Left out: 1 of several classes.
";
    assert_eq!(table, expected);
    assert!(table.lines().all(|line| line.chars().count() <= 80), "{table}");
}
