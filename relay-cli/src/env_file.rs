//! Files of environment variables: what `relay enroll` writes, and `relay gateway --env-file` reads.
//!
//! Lines of `NAME=value`, as shells read them (`set -a; . ./file`) without expanding anything: a value stands bare, or in
//! single or double quotes. What a shell would read as something else is an error.

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
        let mut text = zeroize::Zeroizing::new(String::new());
        io::Read::read_to_string(&mut io::Read::take(file, LIMIT), &mut text).map_err(cannot)?;
        if text.len() as u64 == LIMIT {
            return Err(format!("`{}` is too long for a file of variables", path.display()));
        }
        Self::parse(&text).map_err(|(line, problem)| format!("`{}`, line {line}: {problem}", path.display()))
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
pub(crate) fn quoted(value: &str) -> String {
    if value.chars().all(is_bare) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
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
