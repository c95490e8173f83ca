//! What a newcomer sees: both programs as shipped, with the shipped rules and the shipped routing.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::harness::{
    Cat, Process, SOON, binary, can_watch, eventually, free_address, kernel, sensor_command, workspace,
};

const STOP_WITHIN: Duration = Duration::from_secs(15);

#[tokio::test]
async fn a_secret_that_is_read_is_one_line_on_the_console_and_all_of_it_in_the_archive() {
    if !can_watch() {
        return;
    }
    let _kernel = kernel().await;
    let folder = tempfile::tempdir().unwrap();
    let (admin, metrics, socket) = (free_address(), free_address(), folder.path().join("tercel.sock"));
    let mut command = Command::new(binary("tercel-router"));
    command.current_dir(workspace()).args(["run", "--routing", "routing.toml", "--listen", "127.0.0.1:0"]);
    command.arg("--admin").arg(admin.to_string()).arg("--unix").arg(&socket);
    command.arg("--state").arg(folder.path().join("state"));
    let mut router = Process::start(&mut command);
    router.ready(admin).await;
    let mut sensor = Process::start(&mut sensor_command(&format!("unix:{}", socket.display()), metrics));
    sensor.ready(metrics).await;

    let cat = Cat::new();
    let pids = [cat.read("/etc/shadow"), cat.read("/etc/shadow")];
    let archive = folder.path().join("state/archive/alerts.ndjson");
    let archived = eventually("both reads are in the archive", SOON, async || {
        let text = std::fs::read_to_string(&archive).unwrap_or_default();
        let alerts: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let ours: Vec<_> = alerts.into_iter().filter(|alert| is_about(alert, &cat)).collect();
        if ours.len() == 2 {
            Ok(ours)
        } else {
            Err(format!("{} of 2; the sensor says:\n{}", ours.len(), sensor.stderr()))
        }
    })
    .await;
    assert_eq!(archived.iter().map(|alert| alert["output_fields"]["proc.pid"].clone()).collect::<Vec<_>>(), pids);

    for process in [&mut sensor, &mut router] {
        let status = process.terminate(STOP_WITHIN).await;
        assert_eq!(status.and_then(|status| status.code()), Some(0), "{}", process.stderr());
    }
    let console = router.stdout();
    let is_read = |line: &&str| line.contains("Credential file read") && line.contains(&cat.path());
    let reads: Vec<_> = console.lines().filter(is_read).collect();
    assert_eq!(reads.len(), 1, "the repeat is held back:\n{console}");
    assert!(reads[0].contains(&format!("pid={} ", pids[0])) && reads[0].contains("Warning"), "{reads:?}");
}

fn is_about(alert: &Value, cat: &Cat) -> bool {
    alert["rule"] == "Credential file read" && alert["output_fields"]["proc.exepath"] == cat.path()
}
