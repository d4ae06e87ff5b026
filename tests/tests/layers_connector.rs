//! The modules of relay-connector: each uses only those below it, none uses the root of the crate, and each file has one
//! job that fits on some pages.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The lines that a file may have.
const MAX_LINES: usize = 600;

type Arrows = BTreeMap<String, BTreeSet<String>>;

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../relay-connector/src")
}

/// The Rust files directly in a folder, with their names without `.rs`.
fn files(folder: &Path) -> Vec<(String, PathBuf)> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let rust = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    rust.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), path)).collect()
}

/// The code of a file without its comments and its tests, which may use everything.
fn code(text: &str) -> String {
    let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
    lines.filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// What the code names right behind this prefix: one name, or those in braces.
fn named<'a>(code: &'a str, prefix: &str) -> Vec<&'a str> {
    let is_name = |letter: char| letter.is_alphanumeric() || letter == '_';
    let first = |text: &'a str| text.split(|letter| !is_name(letter)).next().unwrap_or_default();
    let starts = code.match_indices(prefix).filter(|(at, _)| !code[..*at].ends_with(is_name));
    let mut names = Vec::new();
    for (at, _) in starts {
        let rest = &code[at + prefix.len()..];
        let Some(list) = rest.strip_prefix('{') else {
            names.push(first(rest));
            continue;
        };
        let mut depth = 0;
        for (index, letter) in list.char_indices() {
            match letter {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                _ if depth > 0 => {}
                _ if is_name(letter) && !list[..index].ends_with(|letter| is_name(letter) || letter == ':') => {
                    names.push(first(&list[index..]));
                }
                _ => {}
            }
        }
    }
    names
}

/// Which modules each module uses.
fn arrows<'a>(modules: impl IntoIterator<Item = (&'a str, String)>) -> Arrows {
    let arrow = |(module, text): (&str, String)| {
        let code = code(&text);
        let used = ["super::", "crate::"].iter().flat_map(|prefix| named(&code, prefix));
        (module.to_owned(), used.map(str::to_owned).filter(|used| used != module).collect())
    };
    modules.into_iter().map(arrow).collect()
}

/// The modules that are left once those that use no other are taken away, again and again: the circles, and what uses them.
fn circle(mut arrows: Arrows) -> BTreeSet<String> {
    loop {
        let done: Vec<String> =
            arrows.iter().filter(|(_, uses)| uses.is_empty()).map(|(module, _)| module.clone()).collect();
        if done.is_empty() {
            return arrows.into_keys().collect();
        }
        arrows.retain(|module, _| !done.contains(module));
        arrows.values_mut().for_each(|uses| uses.retain(|used| !done.contains(used)));
    }
}

fn connector() -> Arrows {
    let source = source();
    let mut modules = files(&source);
    modules.retain(|(name, _)| name != "lib");
    let read = |(name, path): &(String, PathBuf)| {
        let mut text = code(&fs::read_to_string(path).unwrap());
        // What is in the folder of a module belongs to it, and calls it `super`.
        let folder = source.join(name);
        for (inner, path) in if folder.is_dir() { files(&folder) } else { Vec::new() } {
            if inner != "tests" {
                text.push_str(&code(&fs::read_to_string(path).unwrap()).replace("super::", "self::"));
            }
        }
        text
    };
    arrows(modules.iter().map(|module| (module.0.as_str(), read(module))))
}

#[test]
fn no_modules_import_each_other() {
    let arrows = connector();
    assert!(arrows["server"].contains("store_worker") && arrows["link"].contains("server"), "{arrows:?}");
    let circle = circle(arrows.clone());
    assert!(circle.is_empty(), "a circle is among {circle:?}: {arrows:#?}");
}

#[test]
fn no_module_imports_from_the_root() {
    let arrows = connector();
    for (module, used) in arrows.iter().flat_map(|(module, uses)| uses.iter().map(move |used| (module, used))) {
        assert!(arrows.contains_key(used), "{module} uses {used} of the root: name the module that has it");
    }
}

#[test]
fn a_circle_is_found() {
    let source = |text: &str| text.to_owned();
    let modules = [
        ("store", source("")),
        ("server", source("use super::{\n    clock::{Clock, Tick},\n    worker::Worker,\n};")),
        ("worker", source("fn run(server: &crate::server::Server) {}")),
        ("clock", source("// use super::server;\n#[cfg(test)]\nmod tests { use super::server; }")),
        ("link", source("use super::server::Server;\nuse super::store::Store;")),
    ];
    let arrows = arrows(modules);
    assert_eq!(arrows["server"], BTreeSet::from(["clock".into(), "worker".into()]));
    let found = circle(arrows);
    assert_eq!(found, BTreeSet::from(["link".into(), "server".into(), "worker".into()]));
}

#[test]
fn no_file_is_long() {
    let source = source();
    for (name, path) in files(&source).into_iter().chain(files(&source.join("disk"))) {
        let lines = fs::read_to_string(path).unwrap().lines().count();
        // The tests of the store on disk are cases side by side.
        assert!(lines <= MAX_LINES || name == "tests", "{name}.rs has {lines} lines");
    }
}
