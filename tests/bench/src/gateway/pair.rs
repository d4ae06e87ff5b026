//! Rates that are compared: measured in turns, and the ratio of each turn.

use crate::Result;
use crate::report::Cell;
use crate::stats::Sample;

/// What one is measured with.
pub(super) type Measure<'a> = Box<dyn FnMut() -> Result<f64> + 'a>;

/// A rate, and that of what it is compared with.
pub(super) struct Pair<'a> {
    pub(super) name: String,
    pub(super) own: Measure<'a>,
    pub(super) other_name: &'static str,
    pub(super) other: Measure<'a>,
    /// What the ratio is to be at least.
    pub(super) target: Option<f64>,
}

/// The columns of [`rows`].
pub(super) const COLUMNS: [&str; 6] = ["what", "per second", "compared with", "its per second", "ratio", "target"];

/// Measures all pairs round by round. A measurement that fails is told at once and in its row, and the others go on.
pub(super) fn rows(mut pairs: Vec<Pair<'_>>, rounds: usize) -> Result<Vec<Vec<Cell>>> {
    let mut samples: Vec<[Sample; 3]> = pairs.iter().map(|_| Default::default()).collect();
    for round in 0..rounds {
        for (pair, [own, other, ratio]) in pairs.iter_mut().zip(&mut samples) {
            match pair.measure(round % 2 == 0) {
                Ok((mine, theirs)) => {
                    own.push(mine);
                    other.push(theirs);
                    ratio.push(mine / theirs);
                }
                Err(error) => eprintln!("{}, round {round}: {error}", pair.name),
            }
        }
    }
    let cells = pairs.iter().zip(&samples).map(|(pair, [own, other, ratio])| {
        let failed = rounds - own.len();
        let name = match failed {
            0 => pair.name.clone(),
            _ => format!("{}; {failed} of {rounds} failed", pair.name),
        };
        vec![
            Cell::text(name),
            Cell::sample(own),
            Cell::text(pair.other_name),
            Cell::sample(other),
            Cell::spread(ratio, 2),
            pair.target.map_or_else(Cell::none, |target| Cell::number(target, 2, "")),
        ]
    });
    Ok(cells.collect())
}

impl Pair<'_> {
    /// Both; who is first changes from round to round.
    fn measure(&mut self, own_first: bool) -> Result<(f64, f64)> {
        if own_first {
            let own = (self.own)()?;
            return Ok((own, (self.other)()?));
        }
        let other = (self.other)()?;
        Ok(((self.own)()?, other))
    }
}
