//! Dealing out groups one by one, stratified by class.

use super::Bin;
use super::groups::Group;

/// Of each class, the groups with the smallest draws go to the first part until it has its share, the next to the next.
/// A group counts for the class of most of its photos. Groups that are `fixed` stay, and count.
pub(super) fn deal(groups: &[Group], bins: &[Bin], fixed: &[Option<Bin>]) -> Vec<Bin> {
    let last = bins[bins.len() - 1];
    let classes = groups.iter().map(Group::main_class).max().map_or(0, |most| most as usize + 1);
    let mut of_class = vec![Vec::new(); classes];
    for (number, group) in groups.iter().enumerate() {
        of_class[group.main_class() as usize].push(number);
    }
    let mut places: Vec<Bin> = fixed.iter().map(|fixed| fixed.unwrap_or(last)).collect();
    for members in of_class {
        let photos = |members: &[usize]| members.iter().map(|&m| u64::from(groups[m].photos)).sum::<u64>();
        let total = photos(&members) as f64;
        let free: Vec<usize> = members.iter().copied().filter(|&member| fixed[member].is_none()).collect();
        let (mut share, mut wanted, mut rest) = (0.0, 0, free.as_slice());
        for bin in &bins[..bins.len() - 1] {
            share += bin.share;
            // Rounded together, so that small shares do not all round the same way.
            let until = (total * share).round() as u64;
            let here: Vec<usize> = members.iter().copied().filter(|&m| fixed[m] == Some(*bin)).collect();
            let mut lacking = (until - wanted).saturating_sub(photos(&here));
            wanted = until;
            // The last of a class stays for train, which comes last here.
            while let [first, others @ ..] = rest
                && !others.is_empty()
                && u64::from(groups[*first].photos) <= 2 * lacking
            {
                places[*first] = *bin;
                lacking = lacking.saturating_sub(groups[*first].photos.into());
                rest = others;
            }
        }
    }
    places
}
