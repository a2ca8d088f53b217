//! Which buffer holds which tensor when.

/// A tensor's size and the times between which it must be kept, both ends included.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lifetime {
    pub len: usize,
    pub first: usize,
    pub last: usize,
}

/// Assigns tensors to buffers so that two alive at one time never share one. Returns the buffer of each tensor and the
/// buffers' lengths. Best fit in order of birth: the smallest free buffer that is large enough, else the largest one grown.
pub(super) fn assign(lifetimes: &[Lifetime]) -> (Vec<usize>, Vec<usize>) {
    let mut order: Vec<usize> = (0..lifetimes.len()).collect();
    order.sort_by_key(|&i| (lifetimes[i].first, usize::MAX - lifetimes[i].len, i));
    let mut buffer_of = vec![0; lifetimes.len()];
    let mut buffers: Vec<(usize, usize)> = Vec::new(); // (length, last use)
    for i in order {
        let Lifetime { len, first, last } = lifetimes[i];
        let free = || buffers.iter().enumerate().filter(|(_, b)| b.1 < first);
        let chosen = free()
            .filter(|(_, b)| b.0 >= len)
            .min_by_key(|(_, b)| b.0)
            .or_else(|| free().max_by_key(|(_, b)| b.0))
            .map(|(index, _)| index);
        let index = chosen.unwrap_or_else(|| {
            buffers.push((0, 0));
            buffers.len() - 1
        });
        buffers[index] = (buffers[index].0.max(len), last);
        buffer_of[i] = index;
    }
    (buffer_of, buffers.into_iter().map(|b| b.0).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tensors_alive_together_never_share_a_buffer() {
        // A pseudo-random set of lifetimes, checked pair by pair.
        let mut state = 7_u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % below
        };
        let lifetimes: Vec<Lifetime> = (0..60)
            .map(|_| {
                let first = random(40);
                Lifetime { len: 1 + random(1000), first, last: first + random(8) }
            })
            .collect();
        let (buffer_of, lengths) = assign(&lifetimes);
        for (i, a) in lifetimes.iter().enumerate() {
            assert!(lengths[buffer_of[i]] >= a.len);
            for (j, b) in lifetimes.iter().enumerate().skip(i + 1) {
                let together = a.first <= b.last && b.first <= a.last;
                assert!(!together || buffer_of[i] != buffer_of[j], "{a:?} and {b:?}");
            }
        }
        assert!(lengths.len() < lifetimes.len(), "buffers are used again");
    }
}
