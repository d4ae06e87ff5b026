//! What is printed: tables for people, one JSON document for programs.

use std::path::Path;

use serde_json::{Value, json};

use crate::Result;
use crate::machine::Machine;
use crate::stats::Sample;

pub(crate) struct Report {
    machine: Machine,
    tables: Vec<Table>,
}

/// One table. Its name is its key in the JSON.
pub(crate) struct Table {
    name: &'static str,
    title: String,
    columns: Vec<&'static str>,
    rows: Vec<Vec<Cell>>,
}

/// What a person reads, and what a program does.
pub(crate) struct Cell {
    text: String,
    value: Value,
}

impl Report {
    /// `dir`: where the stores are.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { machine: Machine::new(dir), tables: Vec::new() }
    }

    pub(crate) fn add(&mut self, table: Table) {
        self.tables.push(table);
    }

    pub(crate) fn print(&self, as_json: bool) -> Result<()> {
        if as_json {
            let tables: serde_json::Map<String, Value> =
                self.tables.iter().map(|table| (table.name.into(), table.json())).collect();
            println!("{}", serde_json::to_string_pretty(&json!({"machine": self.machine.json(), "tables": tables}))?);
            return Ok(());
        }
        println!("{}", self.machine);
        for table in &self.tables {
            table.print();
        }
        Ok(())
    }
}

impl Table {
    pub(crate) fn new(name: &'static str, title: impl Into<String>, columns: &[&'static str]) -> Self {
        Self { name, title: title.into(), columns: columns.to_vec(), rows: Vec::new() }
    }

    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    fn json(&self) -> Value {
        let rows = self.rows.iter().map(|row| {
            let named = self.columns.iter().zip(row).map(|(column, cell)| ((*column).to_owned(), cell.value.clone()));
            Value::Object(named.collect())
        });
        json!({"title": self.title, "rows": rows.collect::<Vec<_>>()})
    }

    /// As Markdown that lines up.
    fn print(&self) {
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| {
                let cells = self.rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.text.chars().count());
                cells.chain([self.columns[at].chars().count()]).max().unwrap_or(0)
            })
            .collect();
        let line = |cells: Vec<&str>| {
            let padded: Vec<String> = cells
                .iter()
                .zip(&widths)
                .enumerate()
                .map(|(at, (cell, width))| if at == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") })
                .collect();
            println!("| {} |", padded.join(" | "));
        };
        println!("\n{}\n", self.title);
        line(self.columns.clone());
        let rules: Vec<String> = widths
            .iter()
            .enumerate()
            .map(|(at, width)| if at == 0 { "-".repeat(*width) } else { format!("{}:", "-".repeat(width - 1)) })
            .collect();
        line(rules.iter().map(String::as_str).collect());
        for row in &self.rows {
            line(row.iter().map(|cell| cell.text.as_str()).collect());
        }
    }
}

impl Cell {
    pub(crate) fn text(text: impl Into<String>) -> Self {
        let text = text.into();
        Self { value: text.clone().into(), text }
    }

    pub(crate) fn none() -> Self {
        Self { text: "–".into(), value: Value::Null }
    }

    pub(crate) fn count(count: u64) -> Self {
        Self { text: grouped(count as f64), value: count.into() }
    }

    /// A number with this many decimals and a unit. `null` when there is none.
    pub(crate) fn number(value: f64, decimals: usize, unit: &str) -> Self {
        if !value.is_finite() {
            return Self::none();
        }
        let text = if decimals == 0 { grouped(value) } else { format!("{value:.decimals$}") };
        Self { text: if unit.is_empty() { text } else { format!("{text} {unit}") }, value: value.into() }
    }

    /// A median, and the values between which the middle half of all lies.
    pub(crate) fn quartiles(sample: &Sample) -> Self {
        let [low, high] = [0.25, 0.75].map(|share| sample.quantile(share));
        Self {
            text: format!("{} ({}–{})", grouped(sample.median()), grouped(low), grouped(high)),
            value: json!({"median": sample.median(), "quarter": low, "three_quarters": high, "rounds": sample.len()}),
        }
    }

    /// The same as [`sample`](Self::sample), with so many decimals.
    pub(crate) fn spread(sample: &Sample, decimals: usize) -> Self {
        let value = |value: f64| format!("{value:.decimals$}");
        let mut text = value(sample.median());
        if sample.len() > 1 {
            text += &format!(" ({}–{})", value(sample.min()), value(sample.max()));
        }
        Self { text, ..Self::sample(sample) }
    }

    /// A median, and between which values it lies.
    pub(crate) fn sample(sample: &Sample) -> Self {
        if sample.len() < 2 {
            return Self::number(sample.median(), 0, "");
        }
        Self {
            text: format!("{} ({}–{})", grouped(sample.median()), grouped(sample.min()), grouped(sample.max())),
            value: json!({"median": sample.median(), "min": sample.min(), "max": sample.max(), "rounds": sample.len()}),
        }
    }
}

/// Digits in groups of three.
fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_grouped() {
        assert_eq!([0.4, 12.0, 999.0, 1000.0, -1_234_567.0].map(grouped), ["0", "12", "999", "1,000", "-1,234,567"]);
    }
}
