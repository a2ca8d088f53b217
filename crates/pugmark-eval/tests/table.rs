//! The table for people.

use pugmark_eval::{Evaluation, evaluate};

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
    .table();
    let expected = "\
photos          9
accuracy   0.7778   floor 0.4444 (always blank)
top 3      1.0000
log loss   0.7477   floor 1.0609 (class shares), 1.0986 (uniform)

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
    let table = evaluation(&names, &truth, &predicted).table();
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
        let table = evaluation(&names, &labels, &labels).table();
        assert!(table.lines().all(|line| line.len() <= 80), "{count} classes:\n{table}");
    }
}
