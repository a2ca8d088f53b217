//! Evening out the classes between parts by moving as few photos as that takes.

use super::groups::Group;

/// How far a class's share of a part may be from its share of all photos; nothing is moved for less. That keeps most
/// groups where their hash puts them, so that new photos change little: a tolerance of 0.05 of every count moved as many
/// groups and left a rare class of a small part at 0.06.
const CLASS_TOLERANCE: f64 = 0.008;

/// The bounds of that as a share of the class's photos: rare classes need no more, frequent ones no less.
const CLASS_BOUNDS: (f64, f64) = (0.03, 0.1);

/// How far a part may be from its number of photos, as a share of that number.
const PART_TOLERANCE: f64 = 0.012;

/// A smaller gain is only rounding, and would move groups in circles.
const LEAST_GAIN: f64 = 1e-9;

/// What the tolerances are multiplied by, in turn, until everything is within them.
const SCALES: [f64; 4] = [1.0, 0.5, 0.75, 0.25];

/// Groups up to which the best of all moves and exchanges is searched; with more, moving one after the other is fine
/// enough, and a million take seconds.
const MAX_TO_SEARCH: usize = 500;

/// Rounds of that.
const MAX_SWEEPS: usize = 20;

/// Steps after which it is left at that; 148 sites in five folds need about a hundred.
const MAX_STEPS: usize = 1000;

/// Groups in parts, and how much each part lacks or has too much.
pub(super) struct Balance<'a> {
    groups: &'a [Group],
    /// Part of each group, an index.
    pub(super) bins: Vec<usize>,
    /// The part that the hash of each group draws.
    drawn: Vec<usize>,
    /// Groups that stay where they are: those that are fixed, and those too large for any part.
    locked: Vec<bool>,
    /// Those that an earlier split or the data set has put there.
    fixed: Vec<bool>,
    /// Allowed deviation from the wanted photos of each class and of all, as a share of them.
    tolerances: Vec<f64>,
    /// Photos of each class and of all, `[part][class]`, the last column being the sum.
    counts: Vec<Vec<f64>>,
    wanted: Vec<Vec<f64>>,
    /// [`Balance::misfit`] without a change.
    misfits: Vec<Vec<f64>>,
    groups_in: Vec<usize>,
    /// What the tolerances are multiplied by.
    scale: f64,
}

/// One step.
#[derive(Clone, Copy)]
enum Step {
    Move { group: usize, to: usize },
    Swap { one: usize, other: usize },
}

impl<'a> Balance<'a> {
    /// Groups in the parts that are `fixed`, else in those that their hashes draw.
    ///
    /// A hash draws among the parts that have room for the group. A group too large for any part stays where it is drawn;
    /// the other parts then share what is left of its classes.
    pub(super) fn new(groups: &'a [Group], fixed: &[Option<usize>], shares: &[f64], classes: usize) -> Self {
        let mut total = vec![0.0; classes + 1];
        for group in groups {
            columns(group, classes).for_each(|(class, count)| total[class] += count);
        }
        let tolerances = tolerances(&total);
        let mut wanted: Vec<Vec<f64>> =
            shares.iter().map(|share| total.iter().map(|count| count * share).collect()).collect();
        let is_fixed: Vec<bool> = fixed.iter().map(Option::is_some).collect();
        let mut locked = is_fixed.clone();
        let mut giants = vec![vec![0.0; classes + 1]; shares.len()];
        let mut bins = Vec::with_capacity(groups.len());
        for (number, group) in groups.iter().enumerate() {
            let fits = |wanted: &Vec<f64>| {
                columns(group, classes)
                    .all(|(class, count)| count <= wanted[class] * (1.0 + tolerances[class]))
            };
            let bin = fixed[number].unwrap_or_else(|| {
                let room: Vec<bool> = wanted.iter().map(fits).collect();
                if room.contains(&true) {
                    return drawn(group.draw, shares, &room);
                }
                let bin = drawn(group.draw, shares, &vec![true; shares.len()]);
                columns(group, classes).for_each(|(class, count)| giants[bin][class] += count);
                locked[number] = true;
                bin
            });
            bins.push(bin);
        }
        for class in 0..classes {
            let taken: Vec<f64> = giants.iter().map(|giants| giants[class]).collect();
            for (bin, count) in fill(&taken, shares, total[class]).into_iter().enumerate() {
                wanted[bin][class] = count;
            }
        }
        for wanted in &mut wanted {
            wanted[classes] = wanted[..classes].iter().sum();
        }
        let counts = vec![vec![0.0; classes + 1]; shares.len()];
        let misfits = counts.clone();
        let groups_in = vec![0; shares.len()];
        let drawn = bins.clone();
        let mut balance = Self {
            groups,
            bins,
            drawn,
            locked,
            fixed: is_fixed,
            tolerances,
            counts,
            wanted,
            misfits,
            groups_in,
            scale: 1.0,
        };
        for (group, &bin) in groups.iter().zip(&balance.drawn) {
            balance.groups_in[bin] += 1;
            columns(group, classes).for_each(|(class, count)| balance.counts[bin][class] += count);
        }
        for bin in 0..shares.len() {
            balance.look_again(bin);
        }
        balance
    }

    /// Takes the step that gains most for each photo it moves, until none gains. Where that ends before all is within
    /// the tolerance, it is tried again from the start with narrower ones, which leads elsewhere; the best end counts.
    pub(super) fn even_out(&mut self) {
        self.fill_empty_parts();
        let start = self.bins.clone();
        let mut best: Option<(f64, Vec<usize>)> = None;
        for scale in SCALES {
            for (group, &bin) in start.iter().enumerate() {
                self.shift(group, bin);
            }
            self.rescale(scale);
            self.descend();
            self.rescale(1.0);
            let misfit = self.misfits.iter().flatten().sum::<f64>();
            if best.as_ref().is_none_or(|(least, _)| misfit < *least) {
                best = Some((misfit, self.bins.clone()));
            }
            if misfit == 0.0 || self.groups.len() > MAX_TO_SEARCH {
                break;
            }
        }
        for (group, bin) in best.into_iter().flat_map(|(_, bins)| bins).enumerate() {
            self.shift(group, bin);
        }
    }

    /// Makes all tolerances narrower, as a share of what they are.
    fn rescale(&mut self, scale: f64) {
        self.scale = scale;
        for bin in 0..self.groups_in.len() {
            self.look_again(bin);
        }
    }

    fn descend(&mut self) {
        if self.groups.len() > MAX_TO_SEARCH {
            for _ in 0..MAX_SWEEPS {
                if !self.sweep() {
                    break;
                }
            }
            return;
        }
        for _ in 0..MAX_STEPS {
            if self.misfits.iter().flatten().all(|&misfit| misfit == 0.0) {
                break;
            }
            let (moving, swapping) = (self.best_move(), self.best_swap());
            match if moving.0 >= swapping.0 { moving.1 } else { swapping.1 } {
                Some(Step::Move { group, to }) => self.shift(group, to),
                Some(Step::Swap { one, other }) => {
                    let (a, b) = (self.bins[one], self.bins[other]);
                    self.shift(one, b);
                    self.shift(other, a);
                }
                None => break,
            }
        }
    }

    /// Moves each group that gains by it to where it gains most, in the order of their hashes; whether any moved.
    fn sweep(&mut self) -> bool {
        let mut moved = false;
        for group in 0..self.groups.len() {
            if let (_, Some(to)) = self.best_place(group) {
                self.shift(group, to);
                moved = true;
            }
        }
        moved
    }

    /// How many groups are not where their hash draws them.
    pub(super) fn moved(&self) -> usize {
        self.bins.iter().zip(&self.drawn).filter(|(bin, drawn)| bin != drawn).count()
    }

    fn classes(&self) -> usize {
        self.tolerances.len() - 1
    }

    /// Photos beyond the tolerance, squared, by wanted photos: Pearson's chi-squared with a dead zone.
    fn misfit(&self, bin: usize, class: usize, change: f64) -> f64 {
        let wanted = self.wanted[bin][class];
        let off =
            (self.counts[bin][class] + change - wanted).abs() - self.scale * self.tolerances[class] * wanted;
        // A part that wants none of a class, since a group too large has them all, takes one photo for what it wants.
        if off > 0.0 { off * off / wanted.max(1.0) } else { 0.0 }
    }

    fn look_again(&mut self, bin: usize) {
        for class in 0..=self.classes() {
            self.misfits[bin][class] = self.misfit(bin, class, 0.0);
        }
    }

    /// How much better everything fits when photos by class go from one part to another.
    fn gain(&self, moved: impl Iterator<Item = (usize, f64)> + Clone, from: usize, to: usize) -> f64 {
        let now: f64 =
            moved.clone().map(|(class, _)| self.misfits[from][class] + self.misfits[to][class]).sum();
        if now == 0.0 {
            return 0.0;
        }
        let then =
            |(class, moved): (usize, f64)| self.misfit(from, class, -moved) + self.misfit(to, class, moved);
        now - moved.map(then).sum::<f64>()
    }

    fn gain_of_move(&self, group: usize, to: usize) -> f64 {
        self.gain(columns(&self.groups[group], self.classes()), self.bins[group], to)
    }

    /// The move of a group that gains most, with that gain for each photo.
    fn best_place(&self, group: usize) -> (f64, Option<usize>) {
        let mut best = (0.0, None);
        let from = self.bins[group];
        if self.locked[group] || self.groups_in[from] == 1 {
            return best;
        }
        for to in (0..self.groups_in.len()).filter(|&to| to != from) {
            let gain = self.gain_of_move(group, to);
            let worth = gain / f64::from(self.groups[group].photos);
            if gain > LEAST_GAIN && worth > best.0 {
                best = (worth, Some(to));
            }
        }
        best
    }

    /// The move that gains most for each photo, with that gain.
    fn best_move(&self) -> (f64, Option<Step>) {
        let mut best = (0.0, None);
        for group in 0..self.groups.len() {
            if let (worth, Some(to)) = self.best_place(group)
                && worth > best.0
            {
                best = (worth, Some(Step::Move { group, to }));
            }
        }
        best
    }

    /// The exchange of two groups that gains most for each photo, with that gain.
    fn best_swap(&self) -> (f64, Option<Step>) {
        let mut best = (0.0, None);
        let free: Vec<usize> = (0..self.groups.len()).filter(|&group| !self.locked[group]).collect();
        let mut moved = vec![0.0; self.classes() + 1];
        for (at, &one) in free.iter().enumerate() {
            for &other in free[at + 1..].iter().filter(|&&other| self.bins[other] != self.bins[one]) {
                let (first, second) = (&self.groups[one], &self.groups[other]);
                moved.fill(0.0);
                columns(first, self.classes()).for_each(|(class, count)| moved[class] += count);
                columns(second, self.classes()).for_each(|(class, count)| moved[class] -= count);
                let changes = moved.iter().copied().enumerate().filter(|&(_, moved)| moved != 0.0);
                let gain = self.gain(changes, self.bins[one], self.bins[other]);
                let worth = gain / f64::from(first.photos + second.photos);
                if gain > LEAST_GAIN && worth > best.0 {
                    best = (worth, Some(Step::Swap { one, other }));
                }
            }
        }
        best
    }

    fn shift(&mut self, group: usize, to: usize) {
        let from = self.bins[group];
        if from == to {
            return;
        }
        for (class, moved) in columns(&self.groups[group], self.classes()) {
            self.counts[from][class] -= moved;
            self.counts[to][class] += moved;
        }
        self.groups_in[from] -= 1;
        self.groups_in[to] += 1;
        self.bins[group] = to;
        self.look_again(from);
        self.look_again(to);
    }

    /// Gives each empty part the group that fits it best, so that no part is empty however few groups there are.
    fn fill_empty_parts(&mut self) {
        for bin in 0..self.groups_in.len() {
            if self.groups_in[bin] > 0 {
                continue;
            }
            // One that was drawn elsewhere for want of room will do, one that an earlier split has there will not.
            let spare = (0..self.groups.len()).filter(|&group| self.groups_in[self.bins[group]] > 1);
            let best = spare
                .clone()
                .filter(|&group| !self.locked[group])
                .max_by(|&a, &b| self.gain_of_move(a, bin).total_cmp(&self.gain_of_move(b, bin)));
            // Where all are too large, the smallest of them.
            let smallest = spare
                .filter(|&group| !self.fixed[group])
                .min_by_key(|&group| (self.groups[group].photos, self.groups[group].draw));
            if let Some(group) = best.or(smallest) {
                self.shift(group, bin);
            }
        }
    }
}

/// A group's photos by class, then all of them in the column after the last class.
fn columns(group: &Group, classes: usize) -> impl Iterator<Item = (usize, f64)> + Clone + '_ {
    let by_class = group.counts.iter().map(|&(class, count)| (class as usize, f64::from(count)));
    by_class.chain([(classes, f64::from(group.photos))])
}

fn tolerances(total: &[f64]) -> Vec<f64> {
    let classes = total.len() - 1;
    let of_class = |count: &f64| {
        // A class without a photo has the widest one, which nobody asks for.
        let share = count / total[classes].max(1.0);
        (CLASS_TOLERANCE / share).clamp(CLASS_BOUNDS.0, CLASS_BOUNDS.1)
    };
    total[..classes].iter().map(of_class).chain([PART_TOLERANCE]).collect()
}

/// The part whose share of [0, 1) a hash falls into, among those that have room.
fn drawn(hash: u64, shares: &[f64], room: &[bool]) -> usize {
    let open = || (0..shares.len()).filter(|&bin| room[bin]);
    let mut left = hash as f64 / u64::MAX as f64 * open().map(|bin| shares[bin]).sum::<f64>();
    for bin in open() {
        if left < shares[bin] {
            return bin;
        }
        left -= shares[bin];
    }
    // The hash is the largest one, or rounding: the last.
    open().next_back().unwrap_or(0)
}

/// What each part wants of a class: what is `taken` where that is more than its share of the rest, else that share.
fn fill(taken: &[f64], shares: &[f64], total: f64) -> Vec<f64> {
    let mut over = vec![false; shares.len()];
    loop {
        let under = || (0..shares.len()).filter(|&bin| !over[bin]);
        let left = total - (0..shares.len()).filter(|&bin| over[bin]).map(|bin| taken[bin]).sum::<f64>();
        let share: f64 = under().map(|bin| shares[bin]).sum();
        let wanted = |bin: usize| if over[bin] { taken[bin] } else { left * shares[bin] / share };
        // There is always one: parts that are over leave less than their share to the others.
        match under().find(|&bin| taken[bin] > wanted(bin)) {
            Some(bin) if under().count() > 1 => over[bin] = true,
            _ => return (0..shares.len()).map(wanted).collect(),
        }
    }
}
