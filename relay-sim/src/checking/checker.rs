//! Walks through every state that a world can reach.
//!
//! Breadth first, so that the way to the first violation is a shortest one. A world is cloned for each of its moves;
//! what was seen before is known by a [fingerprint](super::fingerprint) of 128 bits.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Something with states and moves between them.
pub trait World: Clone {
    /// One move.
    type Move: Copy + fmt::Display;

    /// Every move that is possible now.
    fn moves(&self) -> Vec<Self::Move>;

    /// Makes a move.
    ///
    /// # Errors
    /// The invariant that does not hold any more.
    fn apply(&mut self, step: Self::Move, notes: &mut Notes) -> Result<(), String>;

    /// Names this state: equal for states that behave alike, and for no others.
    fn fingerprint(&self) -> u128;

    /// Whether this move is a fault, or a whim of an application: something that may never happen again.
    fn is_fault(&self, step: Self::Move) -> bool;

    /// Whether everything that was to happen has happened. Such a state has to be in reach of every other by moves that
    /// are no faults.
    fn is_settled(&self) -> bool;
}

/// What worlds have to tell about their moves.
#[derive(Debug, Default)]
pub struct Notes {
    marks: BTreeMap<&'static str, u64>,
    story: Option<Vec<String>>,
}

impl Notes {
    /// Something happened that a search has to come across if it is worth anything.
    pub fn mark(&mut self, what: &'static str) {
        *self.marks.entry(what).or_default() += 1;
    }

    /// A line for whoever reads the way to a violation.
    pub fn tell(&mut self, line: impl FnOnce() -> String) {
        if let Some(story) = &mut self.story {
            story.push(line());
        }
    }
}

/// A search that found no violation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Different states.
    pub states: usize,
    /// Moves that were made, those into known states included.
    pub transitions: usize,
    /// Moves to the farthest state.
    pub depth: usize,
    /// States in which everything has happened.
    pub settled: usize,
    /// How many moves did what.
    pub marks: BTreeMap<&'static str, u64>,
}

impl Report {
    /// How many moves did this.
    pub fn marked(&self, what: &str) -> u64 {
        self.marks.get(what).copied().unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { states, transitions, depth, settled, marks } = self;
        write!(f, "{states} states, {transitions} transitions, depth {depth}, {settled} settled")?;
        for (what, count) in marks {
            write!(f, "\n  {count:>9} × {what}")?;
        }
        Ok(())
    }
}

/// A violation, and a shortest way to it.
#[derive(Clone, Debug)]
pub struct Violation {
    /// The invariant.
    pub what: String,
    /// Every move and what followed from it.
    pub story: Vec<String>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.what)?;
        self.story.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// States by number, in the order of their discovery.
struct Graph<M> {
    /// From where each was first reached, and how.
    origins: Vec<Option<(u32, M)>>,
    /// Moves that are no faults: to, from.
    peaceful: Vec<(u32, u32)>,
    settled: Vec<u32>,
}

/// Visits every state. There have to be no more than `most`: a mistake can make a small world an endless one.
///
/// # Errors
/// The first violation.
///
/// # Panics
/// Above 2³² states.
pub fn explore<W: World>(start: &W, most: usize) -> Result<Report, Box<Violation>> {
    let mut graph = Graph { origins: vec![None], peaceful: Vec::new(), settled: Vec::new() };
    let mut known = HashMap::from([(start.fingerprint(), 0)]);
    let mut notes = Notes::default();
    let mut layer = vec![(0, start.clone())];
    let (mut transitions, mut depth) = (0, 0);
    loop {
        let mut next = Vec::new();
        for (from, world) in layer {
            if world.is_settled() {
                graph.settled.push(from);
            }
            for step in world.moves() {
                transitions += 1;
                let mut reached = world.clone();
                if let Err(what) = guarded(&mut reached, step, &mut notes) {
                    return Err(violation(start, &graph, from, Some(step), what));
                }
                let number = u32::try_from(graph.origins.len()).unwrap();
                let to = *known.entry(reached.fingerprint()).or_insert(number);
                if to == number {
                    if graph.origins.len() >= most {
                        return Err(violation(start, &graph, from, Some(step), format!("more than {most} states")));
                    }
                    graph.origins.push(Some((from, step)));
                    next.push((to, reached));
                }
                if !world.is_fault(step) {
                    graph.peaceful.push((to, from));
                }
            }
        }
        if next.is_empty() {
            break;
        }
        layer = next;
        depth += 1;
    }
    if let Some(stuck) = graph.first_stuck() {
        let what = "without another fault, not everything that was to happen can still happen".to_owned();
        return Err(violation(start, &graph, stuck, None, what));
    }
    let (states, settled) = (graph.origins.len(), graph.settled.len());
    Ok(Report { states, transitions, depth, settled, marks: notes.marks })
}

/// A panic of what is checked is a violation like any other.
fn guarded<W: World>(world: &mut W, step: W::Move, notes: &mut Notes) -> Result<(), String> {
    catch_unwind(AssertUnwindSafe(|| world.apply(step, notes))).unwrap_or_else(|_| Err("a panic".to_owned()))
}

impl<M: Copy> Graph<M> {
    /// The first state from which no settled one is in reach by peaceful moves.
    fn first_stuck(&mut self) -> Option<u32> {
        self.peaceful.sort_unstable();
        let mut reaches = vec![false; self.origins.len()];
        let mut todo = self.settled.clone();
        while let Some(state) = todo.pop() {
            if std::mem::replace(&mut reaches[state as usize], true) {
                continue;
            }
            let begin = self.peaceful.partition_point(|(to, _)| *to < state);
            let edges = self.peaceful[begin..].iter().take_while(|(to, _)| *to == state);
            todo.extend(edges.map(|(_, from)| *from).filter(|from| !reaches[*from as usize]));
        }
        reaches.iter().position(|reaches| !reaches).map(|state| state as u32)
    }

    fn way_to(&self, mut state: u32) -> Vec<M> {
        let mut way = Vec::new();
        while let Some((from, step)) = self.origins[state as usize] {
            way.push(step);
            state = from;
        }
        way.reverse();
        way
    }
}

/// Walks there once more, and tells.
fn violation<W: World>(
    start: &W,
    graph: &Graph<W::Move>,
    state: u32,
    last: Option<W::Move>,
    what: String,
) -> Box<Violation> {
    let mut world = start.clone();
    let mut notes = Notes { story: Some(Vec::new()), ..Notes::default() };
    for (number, step) in graph.way_to(state).into_iter().chain(last).enumerate() {
        notes.tell(|| format!("{:>3}. {step}", number + 1));
        if let Err(what) = guarded(&mut world, step, &mut notes) {
            notes.tell(|| format!("     violated: {what}"));
        }
    }
    Box::new(Violation { what, story: notes.story.unwrap_or_default() })
}
