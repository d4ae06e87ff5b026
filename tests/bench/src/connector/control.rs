//! The connector process, from outside.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::{Kind, Plan};
use crate::Result;
use crate::process::Process;
use crate::stats::Sample;

pub(super) struct Control {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    pub(super) address: SocketAddr,
    pub(super) process: Process,
    /// Where its store is; gone with this.
    _dir: TempDir,
}

impl Control {
    /// Starts a connector with a fresh store.
    pub(super) async fn start(plan: &Plan, kind: Kind) -> Result<Self> {
        Self::start_with(plan, kind, &[]).await
    }

    /// The same with further arguments.
    pub(super) async fn start_with(plan: &Plan, kind: Kind, more: &[&str]) -> Result<Self> {
        let dir = tempfile::tempdir_in(&plan.dir)?;
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["connector-process", "--gateways", &plan.gateways.to_string()]).args(more);
        if kind == Kind::Disk {
            command.arg("--store").arg(dir.path().join("relay.store"));
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true).spawn()?;
        let commands = child.stdin.take().ok_or("no standard input")?;
        let mut answers = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        let ready = answers.next_line().await?.ok_or("the connector process did not start")?;
        let ready: Value = serde_json::from_str(&ready)?;
        let address = ready["address"].as_str().ok_or("no address")?.parse()?;
        let process = Process(child.id().ok_or("the connector process has ended")?);
        Ok(Self { child, commands, answers, address, process, _dir: dir })
    }

    pub(super) async fn ask(&mut self, command: Value) -> Result<Value> {
        self.commands.write_all(format!("{command}\n").as_bytes()).await?;
        let answer = self.answers.next_line().await?.ok_or("the connector process has ended")?;
        Ok(serde_json::from_str(&answer)?)
    }

    /// Round trips, in microseconds: from the delivery to its acknowledgement.
    pub(super) async fn probe(&mut self, gateways: usize, time: Duration, pause: Duration) -> Result<Sample> {
        let command = json!({
            "do": "probe", "gateways": gateways, "seconds": time.as_secs_f64(), "pause_us": pause.as_micros() as u64,
        });
        let answer = self.ask(command).await?;
        Ok(Sample::new(answer["us"].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()))
    }

    pub(super) async fn stop(mut self) -> Result<()> {
        drop(self.commands);
        self.child.wait().await?;
        Ok(())
    }
}
