//! Sessions with a runtime whose containers are files: what is in one is the container's name.

use std::fs;

use tempfile::TempDir;

use super::*;

#[derive(Clone)]
struct Folder(PathBuf);

/// Whoever runs already.
const RUNNING: &str = "running";

impl Runtime for Folder {
    async fn connect(socket: &Path) -> Result<(Self, Running, Receiver<Notice>), Error> {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        tokio::spawn(async move { sender.closed().await });
        Ok((Self(socket.to_owned()), vec![RUNNING.to_owned(), "gone".to_owned()], events))
    }

    async fn inspect(&self, id: &str) -> Result<Option<Metadata>, Error> {
        if id == "broken" {
            return Err(Error::Status(500));
        }
        let name = fs::read_to_string(self.0.join(id)).ok();
        Ok(name.map(|name| Metadata { name: Some(name), ..Metadata::default() }))
    }
}

/// One session, and who asks in it.
struct Stage {
    folder: TempDir,
    asks: broadcast::Sender<Arc<str>>,
    answers: Receiver<Answer>,
    tally: Arc<Tally>,
}

impl Stage {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(RUNNING), "early").unwrap();
        let (asks, _) = broadcast::channel(ASKS_MAX);
        let (sender, answers) = mpsc::channel(ANSWERS_MAX);
        let tally = Arc::<Tally>::default();
        let socket = Socket { api: Api::Docker, path: folder.path().to_owned() };
        let desk = Desk { socket, asks: asks.downgrade(), answers: sender, tally: Arc::clone(&tally) };
        tokio::spawn(async move { desk.serve::<Folder>(&mut None).await });
        Self { folder, asks, answers, tally }
    }

    async fn next(&mut self) -> (String, String) {
        let answer = timeout(Duration::from_secs(30), self.answers.recv()).await.unwrap().unwrap();
        (answer.full_id, answer.metadata.name.unwrap())
    }
}

#[tokio::test]
async fn what_runs_already_is_told_first_and_what_is_asked_for_then() {
    let mut stage = Stage::start();
    assert_eq!(stage.next().await, (RUNNING.to_owned(), "early".to_owned()));
    assert_eq!(stage.tally.connected.load(Ordering::Acquire), 1);
    fs::write(stage.folder.path().join("a"), "web").unwrap();
    stage.asks.send("a".into()).unwrap();
    assert_eq!(stage.next().await, ("a".to_owned(), "web".to_owned()));
    assert_eq!(stage.tally.told.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_container_that_is_written_down_late_is_asked_for_again() {
    let mut stage = Stage::start();
    stage.next().await;
    stage.asks.send("late".into()).unwrap();
    sleep(RETRIES[0]).await;
    fs::write(stage.folder.path().join("late"), "web").unwrap();
    assert_eq!(stage.next().await, ("late".to_owned(), "web".to_owned()));
}

#[tokio::test]
async fn questions_that_fail_are_counted_and_hinder_no_other() {
    let mut stage = Stage::start();
    stage.next().await;
    fs::write(stage.folder.path().join("a"), "web").unwrap();
    for id in ["broken", "unknown", "a"] {
        stage.asks.send(id.into()).unwrap();
    }
    assert_eq!(stage.next().await.0, "a");
    assert!(stage.tally.failed.load(Ordering::Relaxed) >= 1);
}

#[test]
fn the_thread_ends_with_whoever_asked_for_it() {
    let socket = Socket { api: Api::Docker, path: "/nonexistent/socket".into() };
    let runtimes = Runtimes::start(vec![socket]).unwrap();
    let tally = Arc::downgrade(&runtimes.tally);
    drop(runtimes);
    for _ in 0..500 {
        if tally.strong_count() == 0 {
            return;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("it still runs");
}
