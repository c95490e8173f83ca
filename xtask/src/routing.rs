//! A copy of a routing file that also notifies a webhook.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use toml::{Table, Value};

/// Name of the route and of the destination that are added.
const NAME: &str = "xtask-webhook";

/// Writes the copy into `folder` and returns its path.
///
/// # Errors
/// If `original` cannot be read or already uses the name.
pub(crate) fn with_webhook(original: &Path, url: &str, folder: &Path) -> Result<PathBuf> {
    let text = std::fs::read_to_string(original).with_context(|| format!("cannot read {}", original.display()))?;
    let copy = folder.join("routing.toml");
    let base = std::path::absolute(original.parent().unwrap_or(Path::new("")))?;
    std::fs::write(&copy, add_webhook(&text, url, &base)?)
        .with_context(|| format!("cannot write {}", copy.display()))?;
    Ok(copy)
}

fn add_webhook(text: &str, url: &str, base: &Path) -> Result<String> {
    let mut routing: Table = text.parse().context("the routing file is not TOML")?;
    for (_, setting) in routing.get_mut("destination").and_then(Value::as_table_mut).into_iter().flatten() {
        make_absolute(setting, base);
    }

    let route = Table::from_iter([
        ("name".to_owned(), Value::from(NAME)),
        ("to".to_owned(), Value::from(vec![NAME])),
        ("continue".to_owned(), Value::from(true)),
    ]);
    let routes = routing.entry("route").or_insert_with(|| Value::Array(Vec::new()));
    routes
        .as_array_mut()
        .context("the routing file: `route` is not an array of tables")?
        .insert(0, Value::Table(route));

    let hook = Table::from_iter([("type".to_owned(), Value::from("webhook")), ("url".to_owned(), Value::from(url))]);
    let destinations = routing.entry("destination").or_insert_with(|| Value::Table(Table::new()));
    let destinations = destinations.as_table_mut().context("the routing file: `destination` is not a table")?;
    let before = destinations.insert(NAME.to_owned(), Value::Table(hook));
    ensure!(before.is_none(), "the routing file already has a destination `{NAME}`");

    toml::to_string(&routing).context("cannot write the copy of routing.toml")
}

/// Paths of templates and secrets start at the folder of their routing file, and the copy lies in another.
fn make_absolute(setting: &mut Value, base: &Path) {
    let Value::Table(table) = setting else { return };
    for (key, value) in table.iter_mut() {
        match value {
            Value::String(path) if key == "template" || key == "file" => {
                *path = base.join(&*path).display().to_string();
            }
            other => make_absolute(other, base),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHIPPED: &str =
        "[[route]]\nname = \"rest\"\nto = [\"archive\"]\n\n[destination.archive]\ntype = \"archive\"\n";

    #[test]
    fn the_webhook_comes_first_and_lets_the_alert_go_on() {
        let routing: Table =
            add_webhook(SHIPPED, "http://127.0.0.1:9000/", Path::new("/base")).unwrap().parse().unwrap();
        let routes = routing["route"].as_array().unwrap();
        assert_eq!(routes[0]["to"][0].as_str(), Some(NAME));
        assert_eq!(routes[0]["continue"].as_bool(), Some(true));
        assert_eq!(routes[1]["name"].as_str(), Some("rest"));
        assert_eq!(routing["destination"][NAME]["url"].as_str(), Some("http://127.0.0.1:9000/"));
        assert_eq!(routing["destination"]["archive"]["type"].as_str(), Some("archive"));
    }

    #[test]
    fn a_destination_of_the_same_name_is_not_replaced() {
        let text = format!("[destination.{NAME}]\ntype = \"console\"\n");
        assert!(add_webhook(&text, "http://127.0.0.1:9000/", Path::new("/base")).is_err());
    }

    #[test]
    fn paths_of_templates_and_secrets_stay_valid() {
        let text = "[destination.team]\ntype = \"slack\"\ntemplate = \"t.hbs\"\nwebhook_url = { file = \"/run/key\" }\n\
                    [destination.hook]\nheaders = { authorization = { file = \"key\" } }\n";
        let routing: Table = add_webhook(text, "http://127.0.0.1:9000/", Path::new("/base")).unwrap().parse().unwrap();
        let destinations = &routing["destination"];
        assert_eq!(destinations["team"]["template"].as_str(), Some("/base/t.hbs"));
        assert_eq!(destinations["team"]["webhook_url"]["file"].as_str(), Some("/run/key"));
        assert_eq!(destinations["hook"]["headers"]["authorization"]["file"].as_str(), Some("/base/key"));
    }
}
