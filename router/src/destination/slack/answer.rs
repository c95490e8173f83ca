//! What Slack says to a message.

use serde_json::Value;

use super::super::{Reason, Retry, SendError};

/// The whole answer of a webhook to a message that was taken.
const OK: &[u8] = b"ok";

/// Slack's refusals are one word such as `invalid_blocks`.
const REFUSAL_BYTES_MAX: usize = 80;

/// Errors of the Web API that go by themselves.
const TROUBLES: [&str; 4] = ["internal_error", "fatal_error", "service_unavailable", "request_timeout"];

/// Errors that speak of the token or what it may do.
const AUTH_ERRORS: [&str; 8] = [
    "invalid_auth",
    "not_authed",
    "account_inactive",
    "token_revoked",
    "token_expired",
    "no_permission",
    "missing_scope",
    "not_allowed_token_type",
];

/// Errors about the message that should be changed or answered: another attempt posts a new one.
const LOST_MESSAGE: [&str; 6] = [
    "message_not_found",
    "cant_update_message",
    "edit_window_closed",
    "thread_not_found",
    "cannot_reply_to_message",
    "restricted_action_thread_locked",
];

/// Errors about a channel: that of an earlier message, where the token is another workspace's by now.
const LOST_CHANNEL: [&str; 3] = ["channel_not_found", "not_in_channel", "is_archived"];

/// `ok`, or else.
pub(super) fn judge_webhook(answer: &[u8]) -> Result<(), SendError> {
    if answer.trim_ascii() == OK {
        return Ok(());
    }
    let cause = word(answer).unwrap_or_else(|| "is it a Slack webhook?".to_owned());
    Err(SendError::new(Reason::ClientError, Retry::Never, format!("answered 200 without `ok`: {cause}")))
}

/// `{"ok":true,…}`, or `{"ok":false,"error":"…"}`: the status says nothing here. `follows`: an earlier message was to be
/// answered or changed.
pub(super) fn judge_web_api(answer: &[u8], follows: bool) -> Result<(), SendError> {
    let json: Value = serde_json::from_slice(answer).unwrap_or_default();
    if json.get("ok") == Some(&Value::Bool(true)) {
        return Ok(());
    }
    let Some(error) = error(answer) else {
        // Something between us and Slack answered: a later attempt may get through.
        return Err(SendError::new(Reason::Other, Retry::Backoff, "answered 200 without `ok` and without an error"));
    };
    let is_lost = |error: &str| LOST_MESSAGE.contains(&error) || LOST_CHANNEL.contains(&error);
    let is_post_gone = follows && is_lost(&error);
    let (reason, retry) = match error.as_str() {
        "ratelimited" | "rate_limited" => (Reason::RateLimited, Retry::Backoff),
        error if TROUBLES.contains(&error) => (Reason::ServerError, Retry::Backoff),
        _ if is_post_gone => (Reason::ClientError, Retry::Backoff),
        error if AUTH_ERRORS.contains(&error) => (Reason::AuthError, Retry::Never),
        _ => (Reason::ClientError, Retry::Never),
    };
    let refusal = SendError::new(reason, retry, format!("refused the message: {error}"));
    Err(SendError { is_post_gone, ..refusal })
}

/// The error of a Web API answer.
pub(super) fn error(answer: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    word(answer.get("error")?.as_str()?.as_bytes())
}

/// A refusal in a word. Nothing else is repeated: an answer may quote what it was sent.
pub(super) fn word(answer: &[u8]) -> Option<String> {
    let word = std::str::from_utf8(answer.trim_ascii()).ok()?;
    let is_word = word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (is_word && !word.is_empty() && word.len() <= REFUSAL_BYTES_MAX).then(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_web_api_is_judged_by_its_error_and_not_by_its_status() {
        for (answer, expected) in [
            (r#"{"ok":true,"ts":"1.2"}"#, None),
            (r#"{"ok":false,"error":"ratelimited"}"#, Some((Reason::RateLimited, Retry::Backoff))),
            (r#"{"ok":false,"error":"internal_error"}"#, Some((Reason::ServerError, Retry::Backoff))),
            (r#"{"ok":false,"error":"invalid_auth"}"#, Some((Reason::AuthError, Retry::Never))),
            (r#"{"ok":false,"error":"channel_not_found"}"#, Some((Reason::ClientError, Retry::Never))),
            (r#"{"ok":false,"error":"invalid_blocks"}"#, Some((Reason::ClientError, Retry::Never))),
            (r#"{"ok":"true"}"#, Some((Reason::Other, Retry::Backoff))),
            ("<html>captive portal</html>", Some((Reason::Other, Retry::Backoff))),
            ("", Some((Reason::Other, Retry::Backoff))),
        ] {
            let verdict = judge_web_api(answer.as_bytes(), false).err().map(|error| (error.reason, error.retry));
            assert_eq!(verdict, expected, "{answer}");
        }
    }

    #[test]
    fn what_cannot_follow_an_earlier_message_is_posted_at_another_attempt() {
        for (error, is_gone) in
            [("message_not_found", true), ("thread_not_found", true), ("channel_not_found", true), ("no_text", false)]
        {
            let answer = format!(r#"{{"ok":false,"error":"{error}"}}"#);
            let follower = judge_web_api(answer.as_bytes(), true).unwrap_err();
            assert_eq!((follower.is_post_gone, follower.retry != Retry::Never), (is_gone, is_gone), "{error}");
            let first = judge_web_api(answer.as_bytes(), false).unwrap_err();
            assert_eq!((first.is_post_gone, first.retry), (false, Retry::Never), "{error}");
        }
    }

    #[test]
    fn a_webhook_says_ok_or_why_not() {
        assert!(judge_webhook(b"ok\n").is_ok());
        for (answer, cause) in [(&b"invalid_blocks"[..], "invalid_blocks"), (b"<html>", "is it a Slack webhook?")] {
            let error = judge_webhook(answer).unwrap_err();
            assert!(error.retry == Retry::Never && error.to_string().contains(cause), "{error}");
        }
    }
}
