//! Paths: files, directories, and what is neither.

use std::fs;

use super::*;

#[test]
fn a_directory_is_one_set_in_the_order_of_its_file_names() {
    let folder = tempfile::tempdir().unwrap();
    for (name, pid) in [("b.yml", 2), ("a.yaml", 1), ("c.txt", 3)] {
        let rule = rule(&format!("proc.pid = {pid}"), "").replace("rule: r", &format!("rule: {pid}"));
        fs::write(folder.path().join(name), rule).unwrap();
    }
    // What is in a directory within is not read.
    fs::create_dir_all(folder.path().join("tests.yaml")).unwrap();
    fs::create_dir_all(folder.path().join("tests")).unwrap();
    fs::write(folder.path().join("tests/broken.yaml"), "[").unwrap();
    let set = load(&[folder.path().to_owned()], &TestCatalog).unwrap_or_else(|problems| panic!("{}", problems[0]));
    assert_eq!(set.rules.iter().map(|rule| rule.name.as_str()).collect::<Vec<_>>(), ["1", "2"]);
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.yaml");
    let problems = load(&[path.clone(), folder.path().to_owned()], &TestCatalog).unwrap_err();
    let texts: Vec<_> = problems.iter().map(Problem::to_string).collect();
    let start =
        format!("{}: error LOAD_ERR_FILE_READ: the directory holds no *.yaml or *.yml file", folder.path().display());
    assert!(texts[0].starts_with(&start), "{texts:?}");
    let start = format!("{}: error LOAD_ERR_FILE_READ: cannot read the file: ", path.display());
    assert!(texts[1].starts_with(&start), "{texts:?}");
}

#[test]
fn a_file_given_twice_is_read_twice_and_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.yaml");
    fs::write(&path, "- list: l\n  items: []\n").unwrap();
    let report = check(&[path.clone(), path], &TestCatalog);
    assert_eq!((report.files.len(), report.counts.lists), (1, 1));
}

#[test]
fn a_link_to_nothing_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.yaml"), "- list: l\n  items: []\n").unwrap();
    std::os::unix::fs::symlink("/nonexistent", folder.path().join("z.yaml")).unwrap();
    let problems = load(&[folder.path().to_owned()], &TestCatalog).unwrap_err();
    assert!(problems[0].to_string().contains("z.yaml: error LOAD_ERR_FILE_READ: cannot read"), "{}", problems[0]);
}

#[test]
fn a_pipe_is_read_to_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let writer = path.clone();
    let writing = std::thread::spawn(move || fs::write(writer, rule("proc.pid = 1", "")));
    let set = load(&[path], &TestCatalog).unwrap_or_else(|problems| panic!("{}", problems[0]));
    assert_eq!(set.rules.len(), 1);
    writing.join().unwrap().unwrap();
}
