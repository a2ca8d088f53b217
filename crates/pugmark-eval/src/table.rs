use std::fmt::Write;

use crate::Evaluation;

/// More classes than this make a confusion matrix that no terminal shows; the most confused pairs stand in.
const MATRIX_CLASSES: usize = 12;
const CONFUSED_PAIRS: usize = 10;
/// More classes than this make a table that nobody reads; the weakest stand in.
const TABLE_CLASSES: usize = 30;

impl Evaluation {
    /// The evaluation for people: the headline with its floors, one line a class, and what was taken for what.
    pub fn table(&self) -> String {
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = self.headline(&mut text);
        let _ = self.classes(&mut text);
        let _ = if self.per_class.len() <= MATRIX_CLASSES {
            self.matrix(&mut text)
        } else {
            self.pairs(&mut text)
        };
        text
    }

    fn headline(&self, out: &mut String) -> std::fmt::Result {
        let floors = self.floors;
        let majority = self.per_class.iter().rev().max_by_key(|m| m.support).map_or("", |m| m.class.as_str());
        writeln!(out, "photos    {:>7}", self.images)?;
        writeln!(
            out,
            "accuracy  {:>7.4}   floor {:.4} (always {majority})",
            self.accuracy, floors.majority_accuracy
        )?;
        writeln!(out, "top 3     {:>7.4}", self.top3)?;
        writeln!(
            out,
            "log loss  {:>7.4}   floor {:.4} (class shares), {:.4} (uniform)",
            self.log_loss, floors.prior_log_loss, floors.uniform_log_loss
        )
    }

    fn classes(&self, out: &mut String) -> std::fmt::Result {
        let mut rows: Vec<_> = self.per_class.iter().collect();
        if rows.len() > TABLE_CLASSES {
            rows.sort_by(|a, b| a.f1.total_cmp(&b.f1));
            rows.truncate(TABLE_CLASSES);
            writeln!(out, "\nThe {TABLE_CLASSES} of {} classes with the lowest F1:", self.per_class.len())?;
        }
        let names = rows.iter().map(|m| m.class.as_str());
        let width = column(names.chain(["weighted mean"]));
        writeln!(out, "\n{:<width$}   photos  precision  recall      F1", "class")?;
        for m in rows {
            writeln!(
                out,
                "{:<width$}  {:>7}     {:.4}  {:.4}  {:.4}",
                m.class, m.support, m.precision, m.recall, m.f1
            )?;
        }
        let means = [
            ("mean", self.macro_precision, self.macro_recall, self.macro_f1),
            ("weighted mean", self.weighted_precision, self.weighted_recall, self.weighted_f1),
        ];
        for (name, precision, recall, f1) in means {
            writeln!(out, "{name:<width$}  {:>7}     {precision:.4}  {recall:.4}  {f1:.4}", "")?;
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

fn column<'a>(texts: impl Iterator<Item = &'a str>) -> usize {
    texts.map(|text| text.chars().count()).max().unwrap_or(0)
}
