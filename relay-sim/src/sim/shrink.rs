//! Making a life that breaks a rule as small as it can be while it still does.

use std::collections::BTreeSet;

use super::plan::{Keep, Plan, Script};

/// The smallest plan found for which `fails` holds, as it does for `plan`. What is left out: operations, faults, the
/// WebSocket, and pieces. The same plan always shrinks to the same.
pub fn shrink(plan: &Plan, fails: impl Fn(&Plan) -> bool) -> Plan {
    let mut best = plan.clone();
    let script = Script::new(plan.seed);
    loop {
        let before = best.clone();
        for simpler in [Plan { plain: true, ..best.clone() }, Plan { plain: true, calm: true, ..best.clone() }] {
            if simpler != best && fails(&simpler) {
                best = simpler;
            }
        }
        let faults = best.faults.list(script.faults.len());
        let faults = fewer(faults, |kept| fails(&Plan { faults: only(kept), ..best.clone() }));
        best.faults = only(&faults);
        let ops = best.ops.list(script.ops.len());
        let ops = fewer(ops, |kept| fails(&Plan { ops: only(kept), ..best.clone() }));
        best.ops = only(&ops);
        if best == before {
            return best;
        }
    }
}

fn only(kept: &[usize]) -> Keep {
    Keep::Only(kept.iter().copied().collect::<BTreeSet<_>>())
}

/// Leaves out what can be left out, in ever smaller pieces.
fn fewer(mut kept: Vec<usize>, fails: impl Fn(&[usize]) -> bool) -> Vec<usize> {
    let mut size = kept.len().max(1);
    loop {
        let mut start = 0;
        while start < kept.len() {
            let end = (start + size).min(kept.len());
            let rest: Vec<usize> = kept[..start].iter().chain(&kept[end..]).copied().collect();
            if fails(&rest) {
                kept = rest;
            } else {
                start = end;
            }
        }
        if size == 1 {
            return kept;
        }
        size = size.div_ceil(2);
    }
}
