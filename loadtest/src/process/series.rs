//! A series that never has more than so many points: when it is full, every other one goes, and from then on only
//! every second (fourth, …) is taken.

/// Two hours of seconds.
const MOST: usize = 7200;

#[derive(Debug, Clone)]
pub(super) struct Series<T> {
    points: Vec<T>,
    last: Option<T>,
    /// One of so many is kept.
    stride: u64,
    seen: u64,
}

impl<T: Copy> Series<T> {
    pub(super) fn push(&mut self, point: T) {
        if self.points.len() >= MOST {
            let mut place = 0;
            self.points.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.stride *= 2;
        }
        if self.seen.is_multiple_of(self.stride) {
            self.points.push(point);
        }
        self.seen += 1;
        self.last = Some(point);
    }

    /// The newest, kept or not.
    pub(super) fn last(&self) -> Option<&T> {
        self.last.as_ref()
    }

    pub(super) fn to_vec(&self) -> Vec<T> {
        self.points.clone()
    }
}

impl<T> Default for Series<T> {
    fn default() -> Self {
        Self {
            points: Vec::new(),
            last: None,
            stride: 1,
            seen: 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_gets_coarser_and_stays_even() {
        let mut series = Series::default();
        for number in 0..30_000_u32 {
            series.push(number);
        }
        let points = series.to_vec();
        assert!(points.len() <= MOST && points.len() > MOST / 4);
        let step = points[1] - points[0];
        assert!(points.windows(2).all(|pair| pair[1] - pair[0] == step));
        assert_eq!(series.last(), Some(&29_999));
    }
}
