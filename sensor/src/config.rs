//! Settings of the process: defaults < file < `TERCEL_SENSOR_*` environment < flags.

use std::collections::HashMap;
use std::env;
use std::fmt::Display;
use std::fs;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use ::config::{Config, ConfigError, Environment, File, FileFormat};
use serde::{Deserialize, Deserializer};
use tercel_alert::Priority;

use crate::detect::Matching;
use crate::emit::{Bound, Output, Token};
use crate::enrich::container::{METADATA_WAIT, Socket};
use crate::kernel::Entry;
use crate::output::Append;
use crate::rules::Selection;

const PREFIX: &str = "TERCEL_SENSOR";

/// Bytes that the ring may have: one record must fit, and a quarter of an hour of silence need not.
const RING_BYTES: RangeInclusive<u32> = 64 << 10..=256 << 20;

/// The token's variable. It is no setting, so that it cannot stand in a file by mistake.
const TOKEN_VARIABLE: &str = "TERCEL_SENSOR_TOKEN";

/// A Kubernetes service of our name puts these into the environment of every pod beside it.
const SERVICE_LINKS: [&str; 4] = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT", "_PORT_"];

/// What `tercel-sensor` is told.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Rule files and directories of them, in this order.
    pub rules_files: Vec<PathBuf>,
    /// Which of their rules are in force: `[{ disable = { rule = "net*" } }, { enable = { tag = "network" } }]`, one
    /// after the other.
    #[serde(default, deserialize_with = "selections")]
    pub rules: Vec<Selection>,
    /// Less urgent rules are not in force.
    pub priority: Priority,
    /// How many rules one event may match: `first` or `all`.
    #[serde(deserialize_with = "parsed")]
    pub rule_matching: Matching,
    /// What is added to the outputs of rules, one after the other; absent: [`Append::by_default`].
    #[serde(default)]
    pub append_output: Option<Vec<Append>>,
    #[serde(deserialize_with = "parsed")]
    pub output: Output,
    /// Bytes of alerts that wait for the output; beyond them alerts are dropped and counted.
    #[serde(default)]
    pub queue_bytes: Bound,
    /// Whether the process that takes the alerts, where it is on this machine, is not reported: else a rule that matches
    /// what it does would feed itself.
    pub mute_output: bool,
    /// Where `/metrics`, `/livez` and `/readyz` are served.
    pub metrics: SocketAddr,
    /// Through which hook system calls are seen: `auto`, or one of `btf` and `classic`, which is then never changed.
    #[serde(deserialize_with = "parsed")]
    pub entry: Entry,
    /// Stands in every alert; absent: the machine's own name. In a pod it should be the node's.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Holds the token that the output asks for.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Names of users and groups: in a pod, the node's files.
    pub passwd_file: PathBuf,
    pub group_file: PathBuf,
    /// Where the root of the node's files is: in a pod, where they are mounted. Container runtimes have their sockets below it.
    pub host_root: PathBuf,
    /// The container runtimes that are asked, each `docker=PATH`, `containerd=PATH` or `cri=PATH`; absent: whoever is at the
    /// usual paths; empty: nobody.
    #[serde(default, deserialize_with = "sockets")]
    pub runtimes: Option<Vec<Socket>>,
    /// Milliseconds that an event is held whose rules depend on what a container's runtime has not told yet.
    pub metadata_wait_ms: u16,
    /// Bytes of the ring buffer between kernel and sensor: a power of two.
    pub ring_bytes: u32,
    /// Whether opens that no rule can match are held back in the kernel. Off only to compare.
    pub filter_opens: bool,
    /// What is logged: a level, or directives such as `info,tercel_sensor=debug`.
    pub log: String,
}

/// What flags may set; absent ones leave the setting as it is.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    pub rules_files: Vec<PathBuf>,
    pub rule_matching: Option<String>,
    pub priority: Option<Priority>,
    pub output: Option<String>,
    pub metrics: Option<SocketAddr>,
    pub entry: Option<String>,
    pub hostname: Option<String>,
    pub token_file: Option<PathBuf>,
}

/// The settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("configuration{}: {message}", file.as_ref().map(|file| format!(" {}", file.display())).unwrap_or_default())]
    Settings { file: Option<PathBuf>, message: String },
    #[error("setting `append_output`, entry {number}: {message}")]
    Append { number: usize, message: String },
    #[error(
        "setting `ring_bytes`: {0} is no power of two from {min} to {max}; 8388608 is what it is without the setting",
        min = RING_BYTES.start(), max = RING_BYTES.end()
    )]
    RingBytes(u32),
    #[error("cannot read the token file {}", path.display())]
    TokenFile { path: PathBuf, source: std::io::Error },
    #[error("log `{directives}`; use a level, or directives such as `info,tercel_sensor=debug`")]
    Log { directives: String, source: tracing_subscriber::filter::ParseError },
    #[error("the token of {place} cannot be used")]
    Token { place: String, source: crate::emit::BadToken },
}

impl Settings {
    /// `file`: must be there if it is given.
    pub fn load(file: Option<&Path>, overrides: &Overrides) -> Result<Self, Error> {
        Self::from_sources(
            file,
            env::vars_os()
                .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
                .collect(),
            overrides,
        )
    }

    fn from_sources(
        file: Option<&Path>,
        environment: HashMap<String, String>,
        overrides: &Overrides,
    ) -> Result<Self, Error> {
        let settings: Self = build(file, environment, overrides)
            .and_then(Config::try_deserialize)
            .map_err(|error| Error::Settings { file: file.map(Path::to_owned), message: error.to_string() })?;
        for (number, append) in (1..).zip(settings.append_output.iter().flatten()) {
            append.check().map_err(|error| Error::Append { number, message: error.message })?;
        }
        if !settings.ring_bytes.is_power_of_two() || !RING_BYTES.contains(&settings.ring_bytes) {
            return Err(Error::RingBytes(settings.ring_bytes));
        }
        Ok(settings)
    }

    /// The token, from the environment or its file.
    pub fn token(&self) -> Result<Option<Token>, Error> {
        let (secret, place) = match (&self.token_file, env::var(TOKEN_VARIABLE)) {
            (Some(path), _) => {
                let secret =
                    fs::read_to_string(path).map_err(|source| Error::TokenFile { path: path.clone(), source })?;
                (secret, path.display().to_string())
            }
            (None, Ok(secret)) => (secret, TOKEN_VARIABLE.to_owned()),
            (None, Err(_)) => return Ok(None),
        };
        Token::new(&secret).map(Some).map_err(|source| Error::Token { place, source })
    }

    /// The sockets of container runtimes.
    pub fn sockets(&self) -> Vec<Socket> {
        self.runtimes.clone().unwrap_or_else(|| Socket::usual(&self.host_root))
    }

    /// How long an event waits for what a container's runtime tells.
    pub fn metadata_wait(&self) -> Duration {
        Duration::from_millis(self.metadata_wait_ms.into())
    }

    /// The name that alerts carry.
    pub fn hostname(&self) -> String {
        let own = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        self.hostname.clone().unwrap_or_else(own)
    }
}

fn build(
    file: Option<&Path>,
    environment: HashMap<String, String>,
    overrides: &Overrides,
) -> Result<Config, ConfigError> {
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let mut builder = Config::builder()
        .set_default("rules_files", vec!["rules"])?
        .set_default("priority", "debug")?
        .set_default("rule_matching", "first")?
        .set_default("output", "stdout")?
        .set_default("mute_output", true)?
        .set_default("metrics", "127.0.0.1:2803")?
        .set_default("entry", "auto")?
        .set_default("passwd_file", "/etc/passwd")?
        .set_default("group_file", "/etc/group")?
        .set_default("host_root", "/")?
        .set_default("metadata_wait_ms", u64::try_from(METADATA_WAIT.as_millis()).unwrap_or(0))?
        .set_default("ring_bytes", tercel_sensor_abi::RING_BYTES)?
        .set_default("filter_opens", true)?
        .set_default("log", "info")?;
    if let Some(file) = file {
        builder = builder.add_source(File::from(file).format(FileFormat::Toml));
    }
    let variables = environment.into_iter().filter(|(key, _)| is_setting(key)).collect();
    let environment = Environment::with_prefix(PREFIX)
        .source(Some(variables))
        .prefix_separator("_")
        .try_parsing(true)
        .list_separator(":")
        .with_list_parse_key("rules_files")
        .with_list_parse_key("runtimes");
    builder = builder
        .add_source(environment)
        .set_override_option("rule_matching", overrides.rule_matching.clone())?
        .set_override_option("priority", overrides.priority.map(|priority| priority.to_string()))?
        .set_override_option("output", overrides.output.clone())?
        .set_override_option("metrics", overrides.metrics.map(|address| address.to_string()))?
        .set_override_option("entry", overrides.entry.clone())?
        .set_override_option("hostname", overrides.hostname.clone())?
        .set_override_option("token_file", overrides.token_file.as_ref().map(text))?;
    if !overrides.rules_files.is_empty() {
        let files: Vec<_> = overrides.rules_files.iter().map(text).collect();
        builder = builder.set_override("rules_files", files)?;
    }
    builder.build()
}

/// Not the token, and not what Kubernetes tells about a service.
fn is_setting(variable: &str) -> bool {
    let Some(rest) = variable.strip_prefix(PREFIX) else {
        return false;
    };
    variable != TOKEN_VARIABLE && !SERVICE_LINKS.iter().any(|link| rest.starts_with(link))
}

fn parsed<'de, D: Deserializer<'de>, T: FromStr<Err: Display>>(deserializer: D) -> Result<T, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn sockets<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Socket>>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let sockets = texts.iter().filter(|text| !text.is_empty()).map(|text| text.parse());
    sockets.collect::<Result<_, _>>().map(Some).map_err(serde::de::Error::custom)
}

fn selections<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Selection>, D::Error> {
    Vec::deserialize(deserializer).map_err(|error| {
        serde::de::Error::custom(format!(
            "setting `rules`: {error}; expected entries such as {{ disable = {{ rule = \"net*\" }} }} and \
             {{ enable = {{ tag = \"network\" }} }} (files of rules are the setting `rules_files`)"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::ExtraField;
    use crate::rules::Selector;

    fn load(file: &str, environment: &[(&str, &str)], overrides: &Overrides) -> Result<Settings, Error> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sensor.toml");
        fs::write(&path, file).unwrap();
        let environment = environment.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Settings::from_sources(Some(&path), environment, overrides)
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let file = "output = \"unix:/a\"\nhostname = \"file\"\nmetrics = \"127.0.0.1:1\"\n";
        let environment = [("TERCEL_SENSOR_HOSTNAME", "env"), ("TERCEL_SENSOR_METRICS", "127.0.0.1:2"), ("PATH", "/x")];
        let overrides = Overrides { metrics: Some("127.0.0.1:3".parse().unwrap()), ..Overrides::default() };
        let settings = load(file, &environment, &overrides).unwrap();
        assert_eq!(settings.rules_files, [PathBuf::from("rules")]);
        assert_eq!(settings.output.to_string(), "unix:/a");
        assert_eq!(settings.hostname(), "env");
        assert_eq!(settings.metrics.port(), 3);
    }

    #[test]
    fn rule_files_may_be_several_from_every_source() {
        let several = ["/a".into(), "/b".into()];
        let empty = Overrides::default();
        let files = |settings: Result<Settings, Error>| settings.unwrap().rules_files;
        assert_eq!(files(load("rules_files = [\"/a\", \"/b\"]", &[], &empty)), several);
        assert_eq!(files(load("", &[("TERCEL_SENSOR_RULES_FILES", "/a:/b")], &empty)), several);
        let overrides = Overrides { rules_files: several.to_vec(), ..Overrides::default() };
        assert_eq!(files(load("rules_files = [\"/c\"]", &[], &overrides)), several);
    }

    #[test]
    fn runtimes_are_those_at_the_usual_paths_or_those_that_are_named() {
        let sockets = |file: &str, environment: &[(&str, &str)]| {
            let settings = load(file, environment, &Overrides::default());
            settings.map(|settings| settings.sockets().iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let usual = sockets("host_root = \"/host\"", &[]).unwrap();
        assert!(usual.contains(&"containerd=/host/run/containerd/containerd.sock".to_owned()), "{usual:?}");
        assert_eq!(sockets("runtimes = []", &[]).unwrap(), [""; 0]);
        assert_eq!(sockets("", &[("TERCEL_SENSOR_RUNTIMES", "")]).unwrap(), [""; 0]);
        let two = ["docker=/run/d.sock", "cri=/run/c.sock"];
        assert_eq!(sockets("runtimes = [\"docker=/run/d.sock\", \"cri=/run/c.sock\"]", &[]).unwrap(), two);
        assert_eq!(sockets("", &[("TERCEL_SENSOR_RUNTIMES", "docker=/run/d.sock:cri=/run/c.sock")]).unwrap(), two);
        for wrong in ["/run/d.sock", "rkt=/run/r.sock", "docker=run/d.sock"] {
            let error = sockets(&format!("runtimes = [\"{wrong}\"]"), &[]).unwrap_err().to_string();
            assert!(error.contains(&format!("unknown runtime `{wrong}`, expected `docker=PATH`")), "{error}");
        }
    }

    #[test]
    fn rule_matching_is_first_or_all() {
        let matching = |file: &str| load(file, &[], &Overrides::default()).map(|settings| settings.rule_matching);
        assert_eq!(matching("").unwrap(), Matching::First);
        assert_eq!(matching("rule_matching = \"all\"").unwrap(), Matching::All);
        let error = matching("rule_matching = \"some\"").unwrap_err().to_string();
        assert!(error.contains("unknown rule matching `some`, expected first or all"), "{error}");
    }

    #[test]
    fn the_entry_point_is_auto_unless_it_is_forced() {
        let entry = |file: &str| load(file, &[], &Overrides::default()).map(|settings| settings.entry);
        assert_eq!(entry("").unwrap(), Entry::Auto);
        assert_eq!(entry("entry = \"classic\"").unwrap(), Entry::Classic);
        let error = entry("entry = \"kprobe\"").unwrap_err().to_string();
        assert!(error.contains("unknown entry `kprobe`, expected auto, btf or classic"), "{error}");
        let forced = Overrides { entry: Some("btf".to_owned()), ..Overrides::default() };
        assert_eq!(load("entry = \"classic\"", &[], &forced).unwrap().entry, Entry::Btf);
    }

    #[test]
    fn rules_are_chosen_by_name_tag_and_priority() {
        let file = r#"
priority = "info"
rules = [{ disable = { rule = "net*" } }, { enable = { tag = "network" } }]
"#;
        let settings = load(file, &[], &Overrides::default()).unwrap();
        assert_eq!(settings.priority, Priority::Informational);
        let expected = [
            Selection::Disable(Selector::Rule("net*".to_owned())),
            Selection::Enable(Selector::Tag("network".to_owned())),
        ];
        assert_eq!(settings.rules, expected);

        let environment = [("TERCEL_SENSOR_PRIORITY", "error")];
        assert_eq!(load(file, &environment, &Overrides::default()).unwrap().priority, Priority::Error);
        let overrides = Overrides { priority: Some(Priority::Alert), ..Overrides::default() };
        assert_eq!(load(file, &environment, &overrides).unwrap().priority, Priority::Alert);
        assert_eq!(load("", &[], &Overrides::default()).unwrap().priority, Priority::Debug);
    }

    #[test]
    fn what_is_appended_to_outputs_replaces_the_default() {
        let appended = |file: &str| load(file, &[], &Overrides::default()).map(|settings| settings.append_output);
        assert_eq!(appended("").unwrap(), None);
        assert_eq!(appended("append_output = []").unwrap(), Some(Vec::new()));
        let file = r#"
[[append_output]]
match = { source = "syscall", tags = ["network"], rule = "Some rule" }
extra_output = "on %evt.hostname"
extra_fields = ["proc.vpid", { Where = "%container.id/%proc.vpid" }]
[[append_output]]
suggested_output = true
"#;
        let found = appended(file).unwrap().unwrap();
        assert_eq!((found[0].matches.rule.as_str(), found[0].extra_output.as_str()), ("Some rule", "on %evt.hostname"));
        let text = [("Where".to_owned(), "%container.id/%proc.vpid".to_owned())].into();
        assert_eq!(found[0].extra_fields, [ExtraField::Field("proc.vpid".to_owned()), ExtraField::Text(text)]);
        assert_eq!(found[1..], Append::by_default());

        let error = appended(&file.replace("%evt.hostname", "%no.such")).unwrap_err().to_string();
        assert!(error.starts_with("setting `append_output`, entry 1: ") && error.contains("no.such"), "{error}");
        let error = appended(&file.replace("extra_output", "output")).unwrap_err().to_string();
        assert!(error.contains("unknown field `output`") && error.contains("extra_output"), "{error}");
    }

    #[test]
    fn a_choice_of_rules_that_is_none_says_what_would_be_one() {
        let refused = |file: &str, part: &str| {
            let error = load(file, &[], &Overrides::default()).unwrap_err().to_string();
            assert!(error.contains(part), "{file}: {error}");
        };
        for file in [
            "[\"/etc/rules\"]",
            "[{ disable = { name = \"x\" } }]",
            "[{ remove = { rule = \"x\" } }]",
            "\"/etc/rules\"",
        ] {
            refused(&format!("rules = {file}"), "expected entries such as { disable = { rule = \"net*\" } }");
        }
        refused("priority = \"loud\"", "unknown priority `loud`, expected one of emergency");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_known_ones() {
        for (file, environment) in [("outptu = \"stdout\"", None), ("", Some(("TERCEL_SENSOR_OUTPTU", "stdout")))] {
            let environment: Vec<_> = environment.into_iter().collect();
            let error = load(file, &environment, &Overrides::default()).unwrap_err().to_string();
            assert!(error.contains("outptu") && error.contains("output"), "{error}");
        }
    }

    #[test]
    fn a_service_of_our_name_in_the_cluster_does_no_harm() {
        let links = [
            ("TERCEL_SENSOR_SERVICE_HOST", "10.0.0.1"),
            ("TERCEL_SENSOR_PORT", "tcp://10.0.0.1:2803"),
            ("TERCEL_SENSOR_PORT_2803_TCP_ADDR", "10.0.0.1"),
            ("TERCEL_SENSOR_TOKEN", "secret"),
        ];
        assert!(load("", &links, &Overrides::default()).is_ok());
    }

    #[test]
    fn the_queue_s_bound_is_16_mib_or_what_is_set_within_its_limits() {
        let bytes = |file: &str, environment: &[(&str, &str)]| {
            load(file, environment, &Overrides::default()).map(|settings| settings.queue_bytes.bytes())
        };
        assert_eq!(bytes("", &[]).unwrap(), 16 << 20);
        assert_eq!(bytes("queue_bytes = 1_000_000", &[]).unwrap(), 1_000_000);
        assert_eq!(bytes("queue_bytes = 1", &[("TERCEL_SENSOR_QUEUE_BYTES", "300000")]).unwrap(), 300_000);
        for wrong in ["1", "2_000_000_000", "-1", "\"16 MiB\""] {
            let error = bytes(&format!("queue_bytes = {wrong}"), &[]).unwrap_err().to_string();
            assert!(error.contains("queue_bytes"), "{wrong}: {error}");
        }
        let error = bytes("queue_bytes = 1", &[]).unwrap_err().to_string();
        assert!(error.contains("queue_bytes = 1: use 262144 to 1073741824 bytes"), "{error}");
    }

    #[test]
    fn a_bad_output_says_what_would_be_one() {
        let error = load("output = \"kafka\"", &[], &Overrides::default()).unwrap_err().to_string();
        assert!(error.contains("unknown output `kafka`") && error.contains("sensor.toml"), "{error}");
    }
}
