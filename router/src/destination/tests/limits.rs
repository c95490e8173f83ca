//! The limits that services publish, with what is worst for each: long texts, of characters that take four bytes or must be escaped.

use super::*;

const TEAMS: &str = "type = \"teams\"\nwebhook_url = { file = \"key\" }";
const DISCORD: &str = "type = \"discord\"\nwebhook_url = { file = \"key\" }";
const TELEGRAM: &str = "type = \"telegram\"\nbot_token = { file = \"key\" }\nchat = \"@soc\"";
const OPSGENIE: &str = "type = \"opsgenie\"\napi_key = { file = \"key\" }";
const HOOK: &str = "http://127.0.0.1:1/hunter2";

/// More characters than any service shows of one text.
const FILL: usize = 20_000;

/// A field of the largest alert that is taken: 1 MiB as JSON, in which most of these characters take more.
const FIELD_BYTES: usize = 700_000;

/// Every text of it is long, and of one character.
fn filled_with(character: char) -> Arc<Alert> {
    let long = String::from(character).repeat(FILL);
    let fields = (0..20).map(|number| (format!("f.{number}.{}", &long[..100 * character.len_utf8()]), json!(long)));
    let mut alert = (*bare_alert()).clone();
    alert.output_fields = fields.collect();
    alert.output_fields.insert("proc.cmdline".to_owned(), json!(long));
    alert.tags = (0..30).map(|number| format!("{number}{}", &long[..200 * character.len_utf8()])).collect();
    (alert.rule, alert.output, alert.hostname) = (long.clone(), long.clone(), long);
    Arc::new(alert)
}

/// One field has nearly all the bytes that an alert may have, and is hostile from end to end.
pub(super) fn vast_alert() -> Arc<Alert> {
    let mut alert = (*bare_alert()).clone();
    let vast = NASTY.repeat(FIELD_BYTES / NASTY.len());
    alert.output_fields.insert("proc.cmdline".to_owned(), json!(vast));
    Arc::new(alert)
}

/// What is hostile, what is long, and what is vast.
fn worst() -> Vec<Notification> {
    let long = ['😀', '&', '`', '*', '\\', '"', '\u{1b}', ']'].map(filled_with);
    let long = long.into_iter().chain([vast_alert()]).map(|alert| notification(alert, NotificationKind::Alert));
    all_kinds().into_iter().chain(long).collect()
}

#[test]
fn teams_cards_have_at_most_28_kb() {
    for notification in worst() {
        let card = body(TEAMS, HOOK, &notification);
        assert!(card.len() <= 28_000, "{} bytes", card.len());
    }
}

#[test]
fn discord_messages_keep_to_the_limits_and_mention_nobody() {
    for notification in worst() {
        let message = json_body(DISCORD, HOOK, &notification);
        assert_eq!(message["allowed_mentions"], json!({ "parse": [] }));
        let embed = &message["embeds"][0];
        let fields = embed["fields"].as_array().cloned().unwrap_or_default();
        let (title, description) = (length(&embed["title"]), length(&embed["description"]));
        assert!(title <= 256 && description <= 4_096 && fields.len() <= 25);
        let mut all = title + description + length(&embed["footer"]["text"]);
        for field in &fields {
            let (name, value) = (length(&field["name"]), length(&field["value"]));
            assert!((1..=256).contains(&name) && (1..=1_024).contains(&value), "{field}");
            all += name + value;
        }
        assert!(all <= 6_000, "{all} characters");
        for field in fields {
            let text = field["value"].as_str().unwrap();
            let inner = text.strip_prefix("```\n").and_then(|text| text.strip_suffix("\n```")).unwrap();
            assert!(!inner.contains(['`', '\n', '\u{1b}', '\u{202e}']), "{text}");
        }
    }
}

#[test]
fn telegram_messages_have_4096_characters_and_no_markup_of_others() {
    for notification in worst() {
        let message = json_body(TELEGRAM, "1:a", &notification);
        let text = message["text"].as_str().unwrap();
        assert!(text.chars().count() <= 4_096, "{} characters", text.chars().count());
        assert!(text.ends_with("</code>"), "a cut would leave a tag open: {text}");
        let own = ["b", "i", "pre", "code"];
        let foreign = own
            .iter()
            .fold(text.to_owned(), |text, tag| text.replace(&format!("<{tag}>"), "").replace(&format!("</{tag}>"), ""));
        assert!(!foreign.contains(['<', '>']), "{foreign}");
    }
}

#[test]
fn opsgenie_alerts_keep_to_the_limits_and_are_closed_under_their_alias() {
    for notification in worst() {
        let (request, alert) = (request(OPSGENIE, "key", &notification), json_body(OPSGENIE, "key", &notification));
        if matches!(notification.kind, NotificationKind::Resolve(_)) {
            let path = format!("/v2/alerts/{}/close", "ab".repeat(32));
            assert_eq!((request.url().path(), request.url().query()), (&*path, Some("identifierType=alias")));
            continue;
        }
        for (name, max) in [("message", 130), ("description", 15_000), ("entity", 512), ("alias", 512), ("source", 100)]
        {
            assert!((1..=max).contains(&length(&alert[name])), "{name}");
        }
        let tags = alert["tags"].as_array().cloned().unwrap_or_default();
        assert!(tags.len() <= 20 && tags.iter().all(|tag| length(tag) <= 50));
        let details = alert["details"].as_object().unwrap();
        let characters: usize = details.iter().map(|(name, value)| name.chars().count() + length(value)).sum();
        assert!(characters <= 8_000, "{characters} characters");
    }
}

#[test]
fn labels_of_alertmanager_and_loki_are_bounded() {
    let tables = ["alertmanager", "loki"].map(|kind| format!("type = \"{kind}\"\nurl = \"http://127.0.0.1:1/\""));
    for notification in worst() {
        for table in &tables {
            let body = json_body(table, "", &notification);
            let labels = body.pointer("/0/labels").or_else(|| body.pointer("/streams/0/stream")).unwrap();
            for (name, value) in labels.as_object().unwrap() {
                assert!(length(value) <= 256, "{name}: {value}");
                assert!(!value.as_str().unwrap().contains(['\n', '\u{1b}']), "{name}: {value}");
            }
        }
    }
}

#[test]
fn a_field_with_more_values_than_loki_should_have_streams_becomes_other() {
    let loki = build("type = \"loki\"\nurl = \"http://127.0.0.1:1/\"", "").unwrap();
    let hosts = (0..300).map(|number| {
        let alert = Alert { hostname: format!("host-{number}"), ..(*bare_alert()).clone() };
        let text = loki.preview(&notification(Arc::new(alert), NotificationKind::Alert)).unwrap();
        let push: Value = serde_json::from_str(&text).unwrap();
        push["streams"][0]["stream"]["hostname"].as_str().unwrap().to_owned()
    });
    let hosts: Vec<_> = hosts.collect();
    assert_eq!((&*hosts[255], &*hosts[256], &*hosts[299]), ("host-255", "other", "other"));
}

#[test]
fn a_syslog_message_has_at_most_its_bytes_and_one_line() {
    let worst = worst();
    for format in ["text", "json", "cef"] {
        for bytes in [480, 2_048, 8_192] {
            let table = format!("type = \"syslog\"\nserver = \"h:514\"\nformat = \"{format}\"\nmax_bytes = {bytes}");
            let syslog = build(&table, "").unwrap();
            for notification in &worst {
                let message = syslog.preview(notification).unwrap();
                assert!(message.len() <= bytes, "{format}: {} bytes", message.len());
                assert!(!message.contains(char::is_control), "{format}: {message:?}");
            }
        }
    }
}

#[test]
fn the_subject_of_a_mail_is_one_line_whatever_a_template_says() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("t.hbs"),
        r#"{"subject": "a\r\nBcc: evil@example.com {{alert.rule}}", "text": "{{alert.output}}"}"#,
    )
    .unwrap();
    let table = "type = \"smtp\"\nserver = \"h:25\"\nencryption = \"none\"\nfrom = \"a@b.example\"\nto = [\"c@d.example\"]\ntemplate = \"t.hbs\"";
    let smtp = Destination::build("d", &toml::from_str(table).unwrap(), folder.path(), folder.path()).unwrap();
    for notification in worst() {
        let mail = smtp.preview(&notification).unwrap();
        let head = mail.split("\r\n\r\n").next().unwrap();
        assert!(!head.lines().any(|line| line.to_lowercase().starts_with("bcc:")), "{head}");
        assert!(mail.lines().all(|line| line.len() <= 998), "a line is longer than SMTP takes");
    }
}

#[test]
fn a_mail_refers_to_an_earlier_one_where_there_is_one() {
    let table =
        "type = \"smtp\"\nserver = \"h:25\"\nencryption = \"none\"\nfrom = \"a@b.example\"\nto = [\"c@d.example\"]";
    let smtp = build(table, "").unwrap();
    let earlier = format!("<{}@tercel.invalid>", uuid::Uuid::from_u128(7));
    for (post, expected) in [
        (None, None),
        (Some(earlier.clone()), Some(earlier)),
        (Some(json!({ "under": "#x", "channel": "C1", "ts": "1.2" }).to_string()), None),
        (Some("<x>\r\nBcc: y@tercel.invalid>".to_owned()), None),
    ] {
        let first = notification(bare_alert(), NotificationKind::Alert);
        let mail = smtp.preview(&Notification { post: post.map(Into::into), ..first }).unwrap();
        let head = mail.split("\r\n\r\n").next().unwrap();
        for name in ["In-Reply-To: ", "References: "] {
            assert_eq!(head.lines().find_map(|line| line.strip_prefix(name)), expected.as_deref(), "{head}");
        }
        assert!(head.contains("Message-ID: <"), "{head}");
    }
}

#[test]
fn settings_of_mail_that_cannot_work_are_refused() {
    let table = |more: &str| format!("type = \"smtp\"\nserver = \"h:25\"\nfrom = \"a@b.example\"\n{more}");
    for (more, cause) in [
        ("to = []", "`to` names"),
        ("to = [\"nobody\"]", "`to`: `nobody`"),
        ("to = [\"a@b.example\\r\\nBcc: x@y.example\"]", "`to`"),
        ("to = [\"a@b.example\"]\nuser = \"u\"", "go together"),
        ("to = [\"a@b.example\"]\nuser = \"u\"\npassword = { file = \"key\" }\nencryption = \"none\"", "clear text"),
    ] {
        let message = build(&table(more), "hunter2").unwrap_err().to_string();
        assert!(message.contains(cause) && !message.contains("hunter2"), "{more}: {message}");
    }
}
