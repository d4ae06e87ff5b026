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

/// Measures all pairs round by round.
pub(super) fn rows(mut pairs: Vec<Pair<'_>>, rounds: usize) -> Result<Vec<Vec<Cell>>> {
    let mut samples: Vec<[Sample; 3]> = pairs.iter().map(|_| Default::default()).collect();
    for round in 0..rounds {
        for (pair, [own, other, ratio]) in pairs.iter_mut().zip(&mut samples) {
            let fail = |error| format!("{}: {error}", pair.name);
            // Who is first changes from round to round.
            let (mine, theirs) = if round % 2 == 0 {
                let mine = (pair.own)().map_err(fail)?;
                (mine, (pair.other)().map_err(fail)?)
            } else {
                let theirs = (pair.other)().map_err(fail)?;
                ((pair.own)().map_err(fail)?, theirs)
            };
            own.push(mine);
            other.push(theirs);
            ratio.push(mine / theirs);
        }
    }
    let cells = pairs.iter().zip(&samples).map(|(pair, [own, other, ratio])| {
        vec![
            Cell::text(pair.name.clone()),
            Cell::sample(own),
            Cell::text(pair.other_name),
            Cell::sample(other),
            Cell::spread(ratio, 2),
            pair.target.map_or_else(Cell::none, |target| Cell::number(target, 2, "")),
        ]
    });
    Ok(cells.collect())
}
