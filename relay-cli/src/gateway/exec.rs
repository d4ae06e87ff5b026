//! The program that `--exec` runs.

use std::ffi::{OsStr, OsString};
use std::io::{self, PipeReader, PipeWriter};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::process::{self, Command};
use tokio::time::timeout;

/// How long the program may take to exit when its input has ended.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// How long a program that reads no more may take to exit, as it most likely does, before it is said to be deaf.
pub(super) const DEAF: Duration = Duration::from_secs(1);

/// Says that a program which still runs reads no more.
pub(super) fn warn_of_deafness() {
    crate::output::note(
        "warning: the program has closed its standard input: it is told nothing more, and deliveries are given back instead \
         of acknowledged",
    );
}

/// Says that the program has ended, and how. `asked`: it had to, so that its success is no news.
pub(super) fn tell_of_exit(status: &io::Result<ExitStatus>, asked: bool) {
    let how = match status {
        Ok(status) if status.success() && asked => return,
        Ok(status) => match status.code() {
            Some(code) => format!("exit code {code}"),
            // Its own words name the signal.
            None => status.to_string(),
        },
        Err(error) => format!("its end is not known: {error}"),
    };
    crate::output::note(&format!("warning: the program has ended ({how})"));
}

/// A running program. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Child(process::Child);

/// Starts a program. What is written to the writer is its input; its output can be read from the reader. Its environment
/// is ours without the variables `hidden`, and without the user and the password of a proxy.
pub(super) fn start(command: &[OsString], hidden: &[&OsStr]) -> io::Result<(Child, PipeWriter, PipeReader)> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program"))?;
    let (input, to_child) = io::pipe()?;
    let (from_child, output) = io::pipe()?;
    let mut command = Command::new(program);
    command.args(arguments).stdin(input).stdout(output).kill_on_drop(true);
    for name in hidden {
        command.env_remove(name);
    }
    for (name, value) in std::env::vars_os() {
        match without_user(&name, &value) {
            None => {}
            Some(Some(value)) => {
                command.env(name, value);
            }
            Some(None) => {
                command.env_remove(name);
            }
        }
    }
    hide_own_environment();
    let child = command.spawn()?;
    #[cfg(target_os = "linux")]
    if let Some(id) = child.id() {
        tokio::spawn(orphans::reap(id));
    }
    Ok((Child(child), to_child, from_child))
}

/// What a program gets to see of a variable that names a proxy with its user: the same without, or nothing, if it is not
/// clear where the user ends. `None`: it may see the variable as it is.
fn without_user(name: &OsStr, value: &OsStr) -> Option<Option<String>> {
    let name = name.to_str()?.to_ascii_uppercase();
    // Only text can be taken apart; and that one is a list of hosts.
    if !name.ends_with("_PROXY") || name == "NO_PROXY" || !value.as_encoded_bytes().contains(&b'@') {
        return None;
    }
    Some(value.to_str().and_then(|value| {
        let (scheme, rest) = value.split_once("://").map_or(("", value), |(scheme, rest)| (scheme, rest));
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at_checked(end)?;
        let (_, host) = authority.rsplit_once('@')?;
        let separator = if scheme.is_empty() { "" } else { "://" };
        Some(format!("{scheme}{separator}{host}{path}")).filter(|shown| !shown.contains('@'))
    }))
}

/// Other processes of the same user, such as the program, cannot read the environment and the memory of this one from now
/// on, unless they may trace every process (`CAP_SYS_PTRACE`). The environment that this process was started with has the
/// secret, and stays readable in `/proc` otherwise.
fn hide_own_environment() {
    // It fails only for values that do not exist.
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
}

/// Processes that have lost their parent and became this one's children: those of the program, where this process is the
/// first of a container. Each stays as a zombie until its end is asked for.
#[cfg(target_os = "linux")]
mod orphans {
    use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
    use tokio::signal::unix::{SignalKind, signal};

    /// Asks for the ends of all children but the program, whose end is asked for elsewhere.
    pub(super) async fn reap(program: u32) {
        let Ok(mut ended) = signal(SignalKind::child()) else { return };
        loop {
            sweep(program);
            if ended.recv().await.is_none() {
                return;
            }
        }
    }

    fn sweep(program: u32) {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        // An error says that there are no children.
        while let Ok(found) = waitid(Id::All, look) {
            let Some(id) = found.pid().filter(|id| u32::try_from(id.as_raw()) != Ok(program)) else { return };
            if waitpid(id, Some(WaitPidFlag::WNOHANG)).is_err() {
                return;
            }
        }
    }
}

impl Child {
    /// Waits until it exits by itself, and how it did. Dropping the future loses nothing, and once it exited this is ready
    /// again.
    pub(super) async fn exited(&mut self) -> io::Result<ExitStatus> {
        self.0.wait().await
    }

    /// Waits until its input has ended and it has exited, for a while, and then kills it. Whether it succeeded.
    /// `input_ended`: whether it read all that it was told, or else that was said. `tell`: tells of its exit.
    pub(super) async fn end(
        mut self,
        input_ended: impl Future<Output = bool>,
        patience: Duration,
        tell: impl FnOnce(&io::Result<ExitStatus>),
    ) -> bool {
        let exited = async {
            if !input_ended.await && timeout(DEAF, self.exited()).await.is_err() {
                warn_of_deafness();
            }
            self.exited().await
        };
        if let Ok(status) = timeout(patience, exited).await {
            tell(&status);
            return status.is_ok_and(|status| status.success());
        }
        crate::output::note("the program did not exit when its input ended: killing it");
        let _ = self.0.kill().await;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_passed_on_without_its_user() {
        let shown = |name: &str, value: &str| without_user(name.as_ref(), value.as_ref());
        for (value, expected) in [
            ("http://u:p@proxy:3128", Some("http://proxy:3128")),
            ("http://u@proxy:3128/x?y", Some("http://proxy:3128/x?y")),
            ("u:p@proxy:3128", Some("proxy:3128")),
            ("http://u:a@b@proxy", Some("http://proxy")),
            ("socks5h://u:p@[::1]:1080", Some("socks5h://[::1]:1080")),
            ("http://u:p/w@proxy", None),
        ] {
            for name in ["HTTPS_PROXY", "http_proxy", "ALL_PROXY", "ftp_proxy"] {
                assert_eq!(shown(name, value), Some(expected.map(str::to_owned)), "{value}");
            }
        }
        for (name, value) in [("HTTPS_PROXY", "http://proxy:3128"), ("NO_PROXY", "a@b"), ("MAIL", "a@b"), ("X", "")] {
            assert_eq!(shown(name, value), None, "{name}");
        }
    }
}
