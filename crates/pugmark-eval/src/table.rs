use std::fmt::Write;

use crate::{Detail, Evaluation, Group, Intervals, SiteAlone};

/// More classes than this make a confusion matrix that no terminal shows; the most confused pairs stand in.
const MATRIX_CLASSES: usize = 12;
const CONFUSED_PAIRS: usize = 10;
/// More classes than this make a table that nobody reads; the weakest stand in.
const TABLE_CLASSES: usize = 30;
const TABLE_SITES: usize = 10;
/// Fewer sites than this give intervals that are themselves a guess.
const ROUGH: usize = 10;

/// What stands beside an evaluation.
#[derive(Debug, Clone, Copy, Default)]
pub struct Beside<'a> {
    /// Intervals, average precision, calibration and groups.
    pub detail: Option<&'a Detail>,
    /// What the site alone says.
    pub site_alone: Option<&'a SiteAlone>,
}

impl Evaluation {
    /// The evaluation for people: the headline with its floors, one line a class, what was taken for what, and groups.
    pub fn table(&self, beside: Beside<'_>) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = self.headline(&mut text, beside);
        let _ = self.classes(&mut text, beside.detail);
        let _ = if self.per_class.len() <= MATRIX_CLASSES {
            self.matrix(&mut text)
        } else {
            self.pairs(&mut text)
        };
        if let Some(detail) = beside.detail {
            let _ = groups(&mut text, detail);
        }
        text
    }

    fn headline(&self, out: &mut String, beside: Beside<'_>) -> std::fmt::Result {
        let intervals = beside.detail.and_then(|detail| detail.intervals.as_ref());
        let floors = self.floors;
        let even = 1.0 / self.per_class.len() as f64;
        let accuracies = [Some(floors.majority_accuracy), Some(even), beside.site_alone.map(|s| s.accuracy)];
        let losses = [
            Some(floors.prior_log_loss),
            Some(floors.uniform_log_loss),
            beside.site_alone.map(|s| s.log_loss),
        ];
        let of = |figure: fn(&Intervals) -> [f64; 2]| intervals.map(figure);
        let rows = [
            ("accuracy", self.accuracy, of(|i| i.accuracy), accuracies),
            ("balanced accuracy", self.balanced_accuracy, of(|i| i.balanced_accuracy), [None; 3]),
            ("top 3", self.top3, None, [None; 3]),
            ("top 5", self.top5, None, [None; 3]),
            ("macro F1", self.macro_f1, of(|i| i.macro_f1), [None; 3]),
            ("log loss", self.log_loss, of(|i| i.log_loss), losses),
            ("Brier score", self.brier, of(|i| i.brier), [None; 3]),
        ];
        writeln!(out, "{:<17}  {:>7}", "photos", self.images)?;
        let between = if intervals.is_some() { "  95 % interval   " } else { "" };
        let site = if beside.site_alone.is_some() { "  site alone" } else { "" };
        writeln!(out, "{:26}{between}  class shares  uniform{site}", "")?;
        let shown = |name: &str| name != "top 5" || self.per_class.len() > 5;
        for (name, value, interval, floors) in rows.into_iter().filter(|(name, ..)| shown(name)) {
            let mut line = format!("{name:<17}  {value:>7.4}");
            match interval {
                Some([low, high]) => write!(line, "  {low:.4} to {high:.4}")?,
                None => line += &" ".repeat(between.len()),
            }
            for (floor, width) in floors.into_iter().zip([14, 9, 12]) {
                let cell = floor.map_or_else(String::new, |floor| format!("{floor:.4}"));
                write!(line, "{cell:>width$}")?;
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        if let Some(detail) = beside.detail {
            let bins = &detail.calibration.bins;
            let sure = bins.iter().map(|b| b.confidence * b.images as f64).sum::<f64>() / self.images as f64;
            let error = detail.calibration.expected_error;
            writeln!(out, "calibration error  {error:>7.4}  it is {sure:.4} sure on average")?;
        }
        let majority = self.per_class.iter().rev().max_by_key(|m| m.support).map_or("", |m| m.class.as_str());
        writeln!(out, "\nClass shares: always {majority}; in losses, each class's own share.")?;
        if let Some(site) = beside.site_alone {
            writeln!(
                out,
                "Site alone: the site's shares in training, known for {:.0} % of the photos.",
                site.known * 100.0
            )?;
        }
        if let Some(intervals) = intervals {
            let rough = if intervals.units < ROUGH { ": so few make a rough guess" } else { "" };
            writeln!(out, "Intervals: had there been {} other {}s{rough}.", intervals.units, intervals.unit)?;
        }
        Ok(())
    }

    fn classes(&self, out: &mut String, detail: Option<&Detail>) -> std::fmt::Result {
        let precision = |class: usize| detail.and_then(|detail| detail.average_precision[class]);
        let mut rows: Vec<_> = self.per_class.iter().enumerate().map(|(i, m)| (m, precision(i))).collect();
        if rows.len() > TABLE_CLASSES {
            rows.sort_by(|(a, _), (b, _)| a.f1.total_cmp(&b.f1));
            rows.truncate(TABLE_CLASSES);
            writeln!(out, "\nThe {TABLE_CLASSES} of {} classes with the lowest F1:", self.per_class.len())?;
        }
        let names = rows.iter().map(|(m, _)| m.class.as_str());
        let width = column(names.chain(["weighted mean"]));
        let area = if detail.is_some() { "  average precision" } else { "" };
        writeln!(out, "\n{:<width$}   photos  precision  recall      F1{area}", "class")?;
        let cell = |area: Option<f64>| area.map_or_else(String::new, |area| format!("{area:>19.4}"));
        for (m, area) in rows {
            writeln!(
                out,
                "{:<width$}  {:>7}     {:.4}  {:.4}  {:.4}{}",
                m.class,
                m.support,
                m.precision,
                m.recall,
                m.f1,
                cell(area)
            )?;
        }
        let mean = detail.map(|detail| detail.mean_average_precision);
        let means = [
            ("mean", self.macro_precision, self.macro_recall, self.macro_f1, mean),
            ("weighted mean", self.weighted_precision, self.weighted_recall, self.weighted_f1, None),
        ];
        for (name, precision, recall, f1, area) in means {
            writeln!(
                out,
                "{name:<width$}  {:>7}     {precision:.4}  {recall:.4}  {f1:.4}{}",
                "",
                cell(area)
            )?;
        }
        Ok(())
    }

    fn matrix(&self, out: &mut String) -> std::fmt::Result {
        let width = column(self.per_class.iter().map(|m| m.class.as_str()));
        let digits = self.confusion.iter().flatten().map(|n| n.to_string().len()).max().unwrap_or(1).max(2);
        writeln!(out, "\nRow: the true class. Column: the predicted class, by its number.")?;
        write!(out, "{:>2} {:<width$} ", "", "")?;
        for number in 1..=self.per_class.len() {
            write!(out, " {number:>digits$}")?;
        }
        writeln!(out)?;
        for (index, (metrics, row)) in self.per_class.iter().zip(&self.confusion).enumerate() {
            write!(out, "{:>2} {:<width$} ", index + 1, metrics.class)?;
            for &count in row {
                // A dot for nothing lets the diagonal and the mistakes stand out.
                let cell = if count == 0 { ".".into() } else { count.to_string() };
                write!(out, " {cell:>digits$}")?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    fn pairs(&self, out: &mut String) -> std::fmt::Result {
        let mut pairs: Vec<(u64, usize, usize)> = Vec::new();
        for (truth, row) in self.confusion.iter().enumerate() {
            let wrong = row.iter().enumerate().filter(|&(predicted, &n)| predicted != truth && n > 0);
            pairs.extend(wrong.map(|(predicted, &n)| (n, truth, predicted)));
        }
        if pairs.is_empty() {
            return Ok(());
        }
        pairs.sort_by_key(|&(n, truth, predicted)| (std::cmp::Reverse(n), truth, predicted));
        pairs.truncate(CONFUSED_PAIRS);
        let name = |class: usize| self.per_class[class].class.as_str();
        let width = column(pairs.iter().map(|&(_, truth, _)| name(truth)).chain(["true class"]));
        writeln!(out, "\nMost frequent mistakes:\n photos  {:<width$}  predicted", "true class")?;
        for (n, truth, predicted) in pairs {
            writeln!(out, "{n:>7}  {:<width$}  {}", name(truth), name(predicted))?;
        }
        Ok(())
    }
}

/// Sites, day and night, and sequences, where they are known.
fn groups(out: &mut String, detail: &Detail) -> std::fmt::Result {
    if detail.sites.len() > 1 {
        let mut sites: Vec<&Group> = detail.sites.iter().collect();
        sites.sort_by(|a, b| a.accuracy.total_cmp(&b.accuracy));
        sites.truncate(TABLE_SITES);
        if detail.sites.len() > TABLE_SITES {
            writeln!(out, "\nThe {TABLE_SITES} of {} sites with the lowest accuracy:", detail.sites.len())?;
        }
        group_table(out, "site", "photos", sites)?;
    }
    if detail.day_night.len() > 1 {
        group_table(out, "time", "photos", &detail.day_night)?;
    }
    if let Some(sequences) = &detail.sequences {
        group_table(out, "sequences by", "number", &sequences.combined)?;
        if sequences.mixed > 0 {
            writeln!(out, "Left out: {} of several classes.", sequences.mixed)?;
        }
    }
    Ok(())
}

fn group_table<'a>(
    out: &mut String,
    head: &str,
    what: &str,
    groups: impl IntoIterator<Item = &'a Group>,
) -> std::fmt::Result {
    let groups: Vec<&Group> = groups.into_iter().collect();
    let width = column(groups.iter().map(|group| group.name.as_str()).chain([head]));
    writeln!(out, "\n{head:<width$}  {what:>7}  accuracy  log loss")?;
    for Group { name, images, accuracy, log_loss, .. } in groups {
        writeln!(out, "{name:<width$}  {images:>7}  {accuracy:>8.4}  {log_loss:>8.4}")?;
    }
    Ok(())
}

fn column<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0)
}
