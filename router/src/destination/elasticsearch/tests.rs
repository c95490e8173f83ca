use super::*;

fn built(table: &str) -> Result<(), String> {
    let text = format!("url = \"http://127.0.0.1:1/\"\n{table}");
    let config: ElasticsearchConfig = toml::from_str(&text).map_err(|error| error.to_string())?;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("key"), "k").unwrap();
    config.cluster(folder.path()).map(drop).map_err(|problem| problem.message)
}

#[test]
fn a_name_is_checked_before_anything_is_sent() {
    for good in ["tercel-{date}", "tercel", "logs-tercel-default"] {
        assert!(check_name("index", good).is_ok(), "{good}");
    }
    for bad in ["", "Tercel", "_bulk", "-a", "a b", "a/b", "a,b", "a*", "{day}", &"a".repeat(256)] {
        assert!(check_name("index", bad).is_err(), "{bad}");
    }
}

#[test]
fn settings_that_exclude_one_another_are_refused() {
    for good in
        ["", "api_key = { file = \"key\" }", "bearer_token = { file = \"key\" }", "data_stream = \"logs-tercel-x\""]
    {
        assert_eq!(built(good), Ok(()), "{good}");
    }
    assert_eq!(built("user = \"u\"\npassword = { file = \"key\" }"), Ok(()));
    for (bad, cause) in [
        ("index = \"a\"\ndata_stream = \"b\"", "both `index` and `data_stream`"),
        ("data_stream = \"a-{date}\"", "use `index`"),
        ("data_stream = \"A\"", "`data_stream` is `A`"),
        ("api_key = { file = \"key\" }\nbearer_token = { file = \"key\" }", "or `bearer_token`"),
        ("user = \"u\"", "`user` with `password`"),
    ] {
        let message = built(bad).unwrap_err();
        assert!(message.contains(cause), "{bad}: {message}");
    }
}
