//! Axes: from values to pixels, and where the ticks stand.

use crate::report::amount;

/// What values on an axis are. Decides how they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Seconds since the run began.
    Moment,
    /// Microseconds.
    Micros,
    /// Something per second, or a mere number.
    Number,
    /// Bytes.
    Bytes,
    /// A quantile q as −log₁₀(1 − q): 1 is 90 %, 2 is 99 %.
    Nines,
}

/// How values are spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Evenly.
    Linear,
    /// By powers of ten; values are above 0.
    Log,
}

/// An axis: a unit, a scale and the values at its two ends (`low < high`, both finite).
#[derive(Debug, Clone, Copy)]
pub struct Axis {
    /// What values are.
    pub unit: Unit,
    /// How they are spread.
    pub scale: Scale,
    /// The value at the left or the bottom.
    pub low: f64,
    /// The value at the right or the top.
    pub high: f64,
}

/// A value with a line, and its text when it has one.
#[derive(Debug, Clone, PartialEq)]
pub struct Tick {
    /// Where.
    pub value: f64,
    /// What is written there.
    pub text: String,
}

impl Axis {
    /// From exactly `low` to exactly `high`.
    pub fn exact(unit: Unit, low: f64, high: f64) -> Self {
        let high = if high > low { high } else { low + 1.0 };
        Self {
            unit,
            scale: Scale::Linear,
            low,
            high,
        }
    }

    /// From 0 to a round value at or above all of these.
    pub fn from_zero(unit: Unit, values: impl Iterator<Item = f64>) -> Self {
        let most = values.filter(|value| value.is_finite()).fold(0.0, f64::max);
        let step = step(unit, most.max(f64::MIN_POSITIVE), 4.0);
        let high = if most > 0.0 {
            (most / step).ceil() * step
        } else {
            1.0
        };
        Self::exact(unit, 0.0, high)
    }

    /// Whole decades around all of these, two at least.
    pub fn decades(unit: Unit, values: impl Iterator<Item = f64>) -> Self {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| value.is_finite() && *value > 0.0) {
            least = least.min(value);
            most = most.max(value);
        }
        if most <= 0.0 {
            (least, most) = (1_000.0, 100_000.0);
        }
        let low = least.log10().floor();
        let high = most.log10().ceil().max(low + 2.0);
        Self {
            unit,
            scale: Scale::Log,
            low: 10_f64.powf(low),
            high: 10_f64.powf(high),
        }
    }

    /// Where a value stands between the ends, 0 to 1; beyond them it stays at the end.
    pub fn place(&self, value: f64) -> f64 {
        let share = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => {
                let value = value.max(self.low);
                (value / self.low).log10() / (self.high / self.low).log10()
            }
        };
        share.clamp(0.0, 1.0)
    }

    /// The ticks, in rising order. At most about `count` of them carry a text.
    pub fn ticks(&self, count: f64) -> Vec<Tick> {
        match (self.unit, self.scale) {
            (Unit::Nines, _) => self.nines(),
            (_, Scale::Log) => self.powers(),
            (unit, Scale::Linear) => {
                let step = step(unit, self.high - self.low, count);
                let first = (self.low / step).ceil() as i64;
                let last = (self.high / step + 1e-6).floor() as i64;
                (first..=last)
                    .map(|number| number as f64 * step)
                    .map(|value| self.tick(value))
                    .collect()
            }
        }
    }

    /// A value as it is written.
    pub fn text(&self, value: f64) -> String {
        match self.unit {
            Unit::Moment => amount::clock(value),
            Unit::Micros => amount::micros(value),
            Unit::Number => amount::number(value),
            Unit::Bytes => amount::bytes(value),
            Unit::Nines => nines(value),
        }
    }

    fn tick(&self, value: f64) -> Tick {
        Tick {
            value,
            text: self.text(value),
        }
    }

    /// One for every power of ten, or for every second or third when there are many.
    fn powers(&self) -> Vec<Tick> {
        let (low, high) = (self.low.log10().round() as i32, self.high.log10().round() as i32);
        let every = usize::try_from(high - low).unwrap_or(0).div_ceil(5).max(1);
        (low..=high)
            .step_by(every)
            .map(|power| self.tick(10_f64.powi(power)))
            .collect()
    }

    fn nines(&self) -> Vec<Tick> {
        let half = 2_f64.log10();
        [half, 1.0, 2.0, 3.0, 4.0, 5.0]
            .into_iter()
            .filter(|value| *value <= self.high + 1e-9)
            .map(|value| self.tick(value))
            .collect()
    }
}

/// A round step so that about `count` of them fit into `span`.
fn step(unit: Unit, span: f64, count: f64) -> f64 {
    let rough = span / count;
    if unit == Unit::Moment {
        const STEPS: [f64; 15] = [
            1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0, 3_600.0, 7_200.0,
            14_400.0,
        ];
        return STEPS
            .into_iter()
            .find(|step| *step >= rough)
            .unwrap_or_else(|| (rough / 14_400.0).ceil() * 14_400.0);
    }
    let base = if unit == Unit::Bytes { 1_024_f64 } else { 1_000.0 };
    // The thousand (or 1,024) below, and inside it the decade below.
    let thousand = base.powf(rough.log(base).floor());
    let decade = 10_f64.powf((rough / thousand).log10().floor());
    let unit = thousand * decade;
    [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * unit)
        .find(|step| *step >= rough * 0.999)
        .unwrap_or(10.0 * unit)
}

fn nines(value: f64) -> String {
    let percent = 100.0 - 100.0 * 10_f64.powf(-value);
    let decimals = (value.ceil() - 2.0).clamp(0.0, 4.0) as usize;
    format!("{percent:.decimals$} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(axis: &Axis, count: f64) -> Vec<String> {
        axis.ticks(count).into_iter().map(|tick| tick.text).collect()
    }

    #[test]
    fn ticks_are_round() {
        let axis = Axis::from_zero(Unit::Number, [87.0].into_iter());
        assert_eq!(texts(&axis, 4.0), ["0", "25", "50", "75", "100"]);
        let axis = Axis::exact(Unit::Moment, 0.0, 120.0);
        assert_eq!(
            texts(&axis, 8.0),
            [
                "0:00", "0:15", "0:30", "0:45", "1:00", "1:15", "1:30", "1:45", "2:00"
            ]
        );
        let axis = Axis::decades(Unit::Micros, [300.0, 9_000.0].into_iter());
        assert_eq!(texts(&axis, 4.0), ["100 µs", "1 ms", "10 ms"]);
        let axis = Axis::decades(Unit::Micros, [1.0, 9e6].into_iter());
        assert_eq!(texts(&axis, 4.0), ["1 µs", "100 µs", "10 ms", "1 s"]);
        let axis = Axis::exact(Unit::Nines, 0.0, 3.0);
        assert_eq!(texts(&axis, 4.0), ["50 %", "90 %", "99 %", "99.9 %"]);
        let axis = Axis::from_zero(Unit::Bytes, [300e6].into_iter());
        assert_eq!(texts(&axis, 4.0)[1], "100 MiB");
    }

    #[test]
    fn nothing_at_all_still_makes_an_axis() {
        for axis in [
            Axis::from_zero(Unit::Number, std::iter::empty()),
            Axis::from_zero(Unit::Bytes, [f64::NAN].into_iter()),
            Axis::decades(Unit::Micros, [0.0].into_iter()),
            Axis::exact(Unit::Moment, 0.0, 0.0),
        ] {
            assert!(axis.low < axis.high, "{axis:?}");
            assert!((2..20).contains(&axis.ticks(4.0).len()), "{axis:?}");
            assert!((0.0..=1.0).contains(&axis.place(0.0)));
        }
    }
}
