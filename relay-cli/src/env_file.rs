//! Files of environment variables: what `relay enroll` writes, and `relay gateway --env-file` reads.
//!
//! Lines of `NAME=value`, as shells read them (`set -a; . ./file`) without expanding anything: a value stands bare, or in
//! single or double quotes. What a shell would read as something else is an error. What is written here means the same to a
//! shell, to systemd (`EnvironmentFile=`) and to this reader.

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use relay_proto::enroll::Credential;
use relay_tokio::{Config, ConfigError};

use crate::text;

/// The most that is read.
const LIMIT: u64 = 1 << 20;

/// Variables from a file.
pub(crate) struct Variables(BTreeMap<String, Credential>);

impl Variables {
    /// Reads a file.
    ///
    /// # Errors
    /// Which line is wrong, and how. Never shows a value.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let cannot = |error: io::Error| format!("cannot read `{}`: {error}", path.display());
        let file = fs::File::open(path).map_err(cannot)?;
        let mut bytes = zeroize::Zeroizing::new(Vec::new());
        io::Read::read_to_end(&mut io::Read::take(file, LIMIT + 1), &mut bytes).map_err(cannot)?;
        if bytes.len() as u64 > LIMIT {
            return Err(format!("`{}` is over the limit of 1 MiB for a file of variables", path.display()));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| format!("`{}` is not UTF-8", path.display()))?;
        Self::parse(text).map_err(|(line, problem)| format!("`{}`, line {line}: {problem}", path.display()))
    }

    /// Reads the text of a file.
    ///
    /// # Errors
    /// Which line is wrong, and how. Never shows a value.
    pub(crate) fn parse(text: &str) -> Result<Self, (usize, &'static str)> {
        let mut variables = BTreeMap::new();
        for (at, line) in text::without_bom(text).lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
            let wrong = |problem| (at + 1, problem);
            let (name, value) = line.split_once('=').ok_or(wrong("not NAME=value"))?;
            let named = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
                && !name.starts_with(|first: char| first.is_ascii_digit())
                && !name.is_empty();
            if !named {
                return Err(wrong("not NAME=value"));
            }
            // The last one counts, as in a shell.
            variables.insert(name.to_owned(), Credential::new(unquoted(value).map_err(wrong)?));
        }
        Ok(Self(variables))
    }

    /// A variable, as text.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(Credential::expose)
    }
}

/// [`Config::from_vars`], compiled once for whoever needs it.
///
/// # Errors
/// Which variable is wrong, and how. Never shows a secret.
pub(crate) fn config(lookup: &dyn Fn(&'static str) -> Result<Option<String>, String>) -> Result<Config, ConfigError> {
    Config::from_vars(lookup)
}

/// A value without its quotes.
fn unquoted(value: &str) -> Result<String, &'static str> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' => loop {
                match chars.next().ok_or("a quote has no end")? {
                    '\'' => break,
                    c => out.push(c),
                }
            },
            '"' => loop {
                match chars.next().ok_or("a quote has no end")? {
                    '"' => break,
                    '$' | '`' => return Err("nothing is expanded here: put what holds $ or ` into single quotes"),
                    '\\' => match chars.next().ok_or("a quote has no end")? {
                        c @ ('"' | '\\' | '$' | '`') => out.push(c),
                        c => out.extend(['\\', c]),
                    },
                    c => out.push(c),
                }
            },
            '\\' => out.push(chars.next().ok_or("a backslash ends the line")?),
            c if is_bare(c) => out.push(c),
            c if c.is_whitespace() && chars.as_str().trim_start().starts_with('#') => {
                return Err(
                    "a comment behind a value, which docker and systemd take for a part of it: put it on a line of its own",
                );
            }
            c if c.is_whitespace() => return Err("white space: put the value into single quotes"),
            _ => return Err("a character that shells read as something else: put the value into single quotes"),
        }
    }
    Ok(out)
}

/// Whether a character means itself to every reader.
fn is_bare(c: char) -> bool {
    c.is_ascii_alphanumeric() || "_-./:,@%+=".contains(c) || !c.is_ascii() && !c.is_whitespace() && !c.is_control()
}

/// A value as it stands in a file.
///
/// A quote of a kind stands between those of the other: what a shell does with quotes in the middle of a value, systemd does
/// not.
pub(crate) fn quoted(value: &str) -> String {
    if value.chars().all(is_bare) {
        return value.to_owned();
    }
    if !value.contains('\'') {
        return format!("'{value}'");
    }
    let mut out = String::with_capacity(value.len() + 2);
    out.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\' | '$' | '`') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for value in ["", "abc-_./:,@%+=", r#"{"discord":{"botId":"1"}}"#, "it's", "'", "a b", "$HOME `x` \\ \"", "ä#"]
        {
            let text = format!("# made\n\nA={}\nexport B=2\n", quoted(value));
            let read = Variables::parse(&text).unwrap();
            assert_eq!((read.get("A"), read.get("B")), (Some(value), Some("2")), "{text}");
        }
    }

    /// The value of the one variable in a text, as systemd reads its `EnvironmentFile=` (systemd.exec(5)): quotes count at the
    /// start of a value and behind other quotes, and are characters like others in the middle of one.
    fn as_systemd(line: &str) -> String {
        let (_, text) = line.split_once('=').unwrap();
        let (mut value, mut chars, mut bare) = (String::new(), text.chars(), false);
        while let Some(c) = chars.next() {
            match c {
                '\\' => {
                    value.extend(chars.next());
                    bare = true;
                }
                '\'' if !bare => value.extend(chars.by_ref().take_while(|c| *c != '\'')),
                '"' if !bare => {
                    while let Some(c) = chars.next().filter(|c| *c != '"') {
                        match (c, chars.clone().next()) {
                            ('\\', Some(c @ ('"' | '\\' | '$' | '`'))) => {
                                value.push(c);
                                chars.next();
                            }
                            _ => value.push(c),
                        }
                    }
                }
                ' ' if !bare => {}
                c => {
                    value.push(c);
                    bare = true;
                }
            }
        }
        value
    }

    #[test]
    fn a_shell_systemd_and_we_read_alike_what_is_written() {
        // The last was written once, and systemd read something else.
        assert_eq!([as_systemd("A='a b'\"c\""), as_systemd(r"A='it'\''s'")], ["a bc", "it''s'"]);
        let alphabet: Vec<char> = r#"a'"\$`#~! ;"#.chars().collect();
        let mut values = vec![String::new()];
        for length in 0..3 {
            let shorter: Vec<String> = values.iter().filter(|value| value.chars().count() == length).cloned().collect();
            values.extend(shorter.iter().flat_map(|value| alphabet.iter().map(move |c| format!("{value}{c}"))));
        }
        values.extend(["it's", "~/x:~", "don't \"say\" `it` $HOME \\n", "-n", "ä ö'ü", "\t'x'\t"].map(Into::into));
        let mut file = String::new();
        for (n, value) in values.iter().enumerate() {
            let line = format!("A{n}={}", quoted(value));
            assert_eq!(as_systemd(&line), *value, "{line}");
            file.extend([&line, "\n"]);
        }
        let read = Variables::parse(&file).unwrap();
        for (n, value) in values.iter().enumerate() {
            // White space around a credential is not part of it (ENROLL-1).
            assert_eq!(read.get(&format!("A{n}")), Some(value.trim()));
        }
        if cfg!(unix) {
            // One shell for all: each value with a zero behind it.
            let script: String = (0..values.len()).map(|n| format!("printf '%s\\0' \"$A{n}\"\n")).collect();
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("all.sh");
            fs::write(&path, [file, script].concat()).unwrap();
            let said = std::process::Command::new("sh").arg(&path).output().unwrap();
            let said = String::from_utf8(said.stdout).unwrap();
            assert_eq!(said.split_terminator('\0').collect::<Vec<_>>(), values);
        }
    }

    #[test]
    fn what_a_shell_would_expand_is_refused_and_written_in_quotes() {
        for line in ["A=~", "A=~/x", "A=a:~/x", "A=!x", "A=*", "A=a&b", "A=#x"] {
            assert!(Variables::parse(line).is_err(), "{line}");
        }
        for (value, written) in [("~", "'~'"), ("a:~/b", "'a:~/b'"), ("it's ~", "\"it's ~\"")] {
            assert_eq!(quoted(value), written);
            let line = format!("A={written}");
            assert_eq!(Variables::parse(&line).unwrap().get("A"), Some(value), "{line}");
        }
    }

    #[test]
    fn a_comment_behind_a_value_is_refused_and_says_so() {
        for line in ["A=discord # my bot", "A='discord' # my bot", "A=discord\t#", "export A=\"x\" #y"] {
            let Err((1, problem)) = Variables::parse(line) else { panic!("{line}") };
            assert!(problem.contains("comment"), "{line}: {problem}");
        }
        assert_eq!(Variables::parse("# A=1\n  # more\nA=2").unwrap().get("A"), Some("2"));
    }

    #[test]
    fn a_file_may_have_a_mebibyte() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("gateway.env");
        let mut text = format!("A=1\n{}\n", "#".repeat((1 << 20) - 5));
        assert_eq!(text.len(), 1 << 20);
        fs::write(&path, &text).unwrap();
        assert_eq!(Variables::read(&path).unwrap().get("A"), Some("1"));
        text.push('\n');
        fs::write(&path, &text).unwrap();
        let Err(problem) = Variables::read(&path) else { panic!("a byte more") };
        assert!(problem.contains("1 MiB"), "{problem}");
        fs::write(&path, b"A=\xff\n").unwrap();
        let Err(problem) = Variables::read(&path) else { panic!("no UTF-8") };
        assert!(problem.contains("UTF-8"), "{problem}");
    }

    #[test]
    fn a_byte_order_mark_is_none_of_the_first_line() {
        assert_eq!(
            Variables::parse("\u{feff}A=1").ok().and_then(|file| file.get("A").map(str::to_owned)),
            Some("1".into())
        );
        assert!(Variables::parse("A=1\n\u{feff}B=1").is_err());
    }

    #[test]
    fn shells_and_we_agree() {
        for (line, value) in [
            (r#"A="a \" \\ b""#, r#"a " \ b"#),
            (r#"A='a'"b"c\ d"#, "abc d"),
            ("A=1\nA=2", "2"),
            ("A=", ""),
            (r"A='it'\''s'", "it's"),
            (r#"A="\x""#, r"\x"),
        ] {
            assert_eq!(Variables::parse(line).unwrap().get("A"), Some(value), "{line}");
            if cfg!(unix) {
                let said = std::process::Command::new("sh").args(["-c", &format!("{line}\nprintf %s \"$A\"")]).output();
                assert_eq!(String::from_utf8(said.unwrap().stdout).unwrap(), value, "{line}");
            }
        }
        for line in ["A", "=1", "1A=1", "A B=1", "A=a b", "A=$B", "A=\"$B\"", "A='a", "A=\"a", "A=a;b", "A=\\", "A=`x`"]
        {
            let Err((at, problem)) = Variables::parse(&format!("\n{line}")) else { panic!("{line}") };
            assert!(at == 2 && !problem.is_empty(), "{line}");
        }
    }
}
