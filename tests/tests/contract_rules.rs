//! Keeps the rules of `docs/contract.md` and the tests that prove them in step.
//!
//! A rule is defined by its id in bold, such as `**FRAME-2**`. A test names the rules that it proves in a comment on a
//! line of its own: the word `proves:`, then ids separated by commas, then, if need be, an explanation in parentheses.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Rules that no test proves yet, each with the reason. A rule that has been proven may not stand here.
const UNPROVEN: &[(&str, &str)] = &[];

/// Every group of rules, and how many it has. Ids count from 1 without gaps. A rule that vanishes from the document is
/// noticed here, because ids are never renumbered and never reused.
const GROUPS: &[(&str, u32)] = &[
    ("DIAL", 8),
    ("TOKEN", 3),
    ("FRAME", 6),
    ("HELLO", 4),
    ("DESC", 2),
    ("EVENT", 3),
    ("PASS", 1),
    ("STOP", 1),
    ("ACK", 6),
    ("REQ", 7),
    ("CHAT", 8),
    ("LINK", 5),
    ("AUTH", 4),
    ("CLOCK", 4),
    ("IDLE", 2),
    ("CLOSE", 2),
    ("CONN", 11),
    ("ENROLL", 6),
    ("POLICY", 1),
];

#[test]
fn the_contract_defines_every_rule_exactly_once() {
    let mut problems = Vec::new();
    let expected = expected();
    let mut seen = BTreeSet::new();
    for id in defined(&contract().unwrap()) {
        if !expected.contains(&id) {
            problems.push(format!("{id} is defined, but not in GROUPS"));
        }
        if !seen.insert(id.clone()) {
            problems.push(format!("{id} is defined twice (only the definition is in bold)"));
        }
    }
    problems.extend(expected.difference(&seen).map(|id| format!("{id} is not defined")));
    assert!(problems.is_empty(), "docs/contract.md:{}", list(problems));
}

#[test]
fn the_contract_refers_only_to_rules_that_it_has() {
    let expected = expected();
    let text = contract().unwrap();
    let unknown: BTreeSet<&str> = words(&text)
        .filter(|word| {
            // Things like `HMAC-SHA256` are words too: an id belongs to a group.
            is_id(word) && word.split('-').next().is_some_and(|g| GROUPS.iter().any(|(group, _)| *group == g))
        })
        .filter(|id| !expected.contains(*id))
        .collect();
    assert!(unknown.is_empty(), "docs/contract.md refers to rules that do not exist:{}", list(unknown));
}

#[test]
fn every_rule_is_named_by_a_test_or_listed_with_a_reason() {
    let citations = citations().unwrap();
    let listed: BTreeSet<&str> = UNPROVEN.iter().map(|(id, _)| *id).collect();
    let missing: Vec<String> = defined(&contract().unwrap())
        .into_iter()
        .filter(|id| !citations.proven.contains_key(id) && !listed.contains(id.as_str()))
        .map(|id| match citations.idle.get(&id) {
            Some(file) => format!("{id} (named only in {}, which holds no test)", file.display()),
            None => id,
        })
        .collect();
    assert!(missing.is_empty(), "{} rules are named by no test:{}", missing.len(), list(missing));
}

#[test]
fn no_exemption_is_stale() {
    let citations = citations().unwrap();
    let expected = expected();
    let mut seen = BTreeSet::new();
    let mut problems = Vec::new();
    for (id, reason) in UNPROVEN {
        if !expected.contains(*id) {
            problems.push(format!("{id} is no rule"));
        }
        if !seen.insert(*id) {
            problems.push(format!("{id} is listed twice"));
        }
        if reason.trim().is_empty() {
            problems.push(format!("{id} has no reason"));
        }
        if let Some(place) = citations.proven.get(*id) {
            problems.push(format!("{id} is proven at {place}; take it off the list"));
        }
    }
    assert!(problems.is_empty(), "UNPROVEN:{}", list(problems));
}

#[test]
fn every_citation_names_rules_that_exist() {
    let citations = citations().unwrap();
    let expected = expected();
    let mut problems = citations.malformed;
    for (id, place) in citations.proven {
        if !expected.contains(&id) {
            problems.push(format!("{place}: {id} is no rule"));
        }
    }
    assert!(problems.is_empty(), "citations:{}", list(problems));
}

#[test]
fn citations_are_read_as_documented() {
    let ids = |line| cited(line).map(|r| r.map(|ids| ids.join(" ")));
    let ok = |ids: &str| Some(Ok(ids.to_owned()));
    assert_eq!(ids("    // proves: FRAME-2"), ok("FRAME-2"));
    assert_eq!(ids("// proves: FRAME-2, ACK-4"), ok("FRAME-2 ACK-4"));
    assert_eq!(ids("//proves:FRAME-2,ACK-4,"), ok("FRAME-2 ACK-4"));
    assert_eq!(ids("/// proves: FRAME-2"), ok("FRAME-2"));
    assert_eq!(ids("//! proves: CONN-7 (the crash, ACK-9 not meant)"), ok("CONN-7"));
    assert_eq!(ids("let s = \"// proves: FRAME-2\";"), None);
    assert_eq!(ids("// This proves: FRAME-2"), None);
    assert!(matches!(ids("// proves: FRAME-2 and more"), Some(Err(_))));
    assert!(matches!(ids("// proves: FRAME-2 ACK-4"), Some(Err(_))));
    assert!(matches!(ids("// proves: FRAME-02"), Some(Err(_))));
    assert!(matches!(ids("// proves:"), Some(Err(_))));
    assert_eq!(defined("- **ACK-1** see ACK-2, **bold**, **ACK-12**."), ["ACK-1", "ACK-12"]);
}

/// What the sources of the workspace say they prove.
#[derive(Default)]
struct Citations {
    /// Each rule that a test names, and the first place where one does.
    proven: BTreeMap<String, String>,
    /// Rules named in files that hold no test, which therefore do not count.
    idle: BTreeMap<String, PathBuf>,
    /// Comments that cannot be read.
    malformed: Vec<String>,
}

fn citations() -> io::Result<Citations> {
    let root = root();
    let mut files = Vec::new();
    rust_files(&root, &mut files)?;
    files.sort();
    let mut found = Citations::default();
    for file in files {
        let text = fs::read_to_string(&file)?;
        let name = file.strip_prefix(&root).unwrap_or(&file);
        let counts = holds_tests(name, &text);
        for (line, number) in text.lines().zip(1..) {
            match cited(line) {
                None => {}
                Some(Err(why)) => found.malformed.push(format!("{}:{number}: {why}", name.display())),
                Some(Ok(ids)) if counts => {
                    for id in ids {
                        let place = format!("{}:{number}", name.display());
                        found.proven.entry(id.to_owned()).or_insert(place);
                    }
                }
                Some(Ok(ids)) => {
                    for id in ids {
                        found.idle.entry(id.to_owned()).or_insert_with(|| name.to_owned());
                    }
                }
            }
        }
    }
    Ok(found)
}

/// The ids that a line cites, `None` if it is no citation.
fn cited(line: &str) -> Option<Result<Vec<&str>, String>> {
    let comment = line.trim_start().strip_prefix("//")?;
    let rest = comment.trim_start_matches(['/', '!']).trim_start().strip_prefix("proves:")?;
    let list = rest.split_once('(').map_or(rest, |(list, _)| list);
    let ids: Vec<&str> = list.split(',').map(str::trim).filter(|id| !id.is_empty()).collect();
    Some(match ids.iter().find(|id| !is_id(id)) {
        Some(wrong) => Err(format!("`{wrong}` is no rule id (ids are separated by commas)")),
        None if ids.is_empty() => Err("names no rule".to_owned()),
        None => Ok(ids),
    })
}

fn holds_tests(name: &Path, text: &str) -> bool {
    name.components().any(|part| part.as_os_str() == "tests") || text.contains("#[test]") || text.contains("proptest!")
}

/// Every `.rs` file below `dir`, without build output and hidden folders.
fn rust_files(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                rust_files(&entry.path(), files)?;
            }
        } else if kind.is_file() && entry.path().extension().is_some_and(|extension| extension == "rs") {
            files.push(entry.path());
        }
    }
    Ok(())
}

fn contract() -> io::Result<String> {
    fs::read_to_string(root().join("docs").join("contract.md"))
}

/// The ids in bold, in the order of the document.
fn defined(contract: &str) -> Vec<String> {
    // Between the first and the second `**` is bold text, between the second and the third is not, and so on.
    contract
        .lines()
        .flat_map(|line| line.split("**").skip(1).step_by(2))
        .filter(|id| is_id(id))
        .map(str::to_owned)
        .collect()
}

fn expected() -> BTreeSet<String> {
    GROUPS.iter().flat_map(|(group, count)| (1..=*count).map(move |n| format!("{group}-{n}"))).collect()
}

/// Capitals, a hyphen, a number without leading zeros.
fn is_id(word: &str) -> bool {
    word.split_once('-').is_some_and(|(group, number)| {
        !group.is_empty()
            && group.bytes().all(|b| b.is_ascii_uppercase())
            && !number.is_empty()
            && !number.starts_with('0')
            && number.bytes().all(|b| b.is_ascii_digit())
    })
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-')
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn list(items: impl IntoIterator<Item: Display>) -> String {
    items.into_iter().map(|item| format!("\n  {item}")).collect()
}
