//! Medians and what lies around them.

/// Values of one thing, measured several times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(Vec<f64>);

impl Sample {
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub(crate) fn push(&mut self, value: f64) {
        let at = self.0.partition_point(|known| *known < value);
        self.0.insert(at, value);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The value below which this share lies; NaN of nothing.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let last = self.0.len().saturating_sub(1);
        self.0.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn median(&self) -> f64 {
        let (low, high) = (self.0.get(self.0.len().saturating_sub(1) / 2), self.0.get(self.0.len() / 2));
        low.zip(high).map_or(f64::NAN, |(low, high)| (low + high) / 2.0)
    }

    pub(crate) fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(f64::NAN)
    }

    pub(crate) fn min(&self) -> f64 {
        self.0.first().copied().unwrap_or(f64::NAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        let mut sample = Sample::new(vec![3.0, 1.0, 2.0]);
        assert_eq!((sample.median(), sample.min(), sample.max(), sample.len()), (2.0, 1.0, 3.0, 3));
        sample.push(2.5);
        assert_eq!(sample.median(), 2.25);
        let hundred = Sample::new((0..=100).map(f64::from).collect());
        assert_eq!((hundred.quantile(0.5), hundred.quantile(0.99), hundred.quantile(1.0)), (50.0, 99.0, 100.0));
        assert!(Sample::default().median().is_nan() && Sample::default().quantile(0.5).is_nan());
    }
}
