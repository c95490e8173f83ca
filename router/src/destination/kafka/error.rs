//! What the errors of a Kafka cluster, and of the way to it, mean for a delivery.

use rskafka::client::error::{Error, ProtocolError, RequestError};
use rskafka::{BackoffError, ConnectionError, SaslError};

use super::super::{Reason, Retry, SendError};
use crate::render::{truncate, visible};

const EXPLANATION_CHARS_MAX: usize = 300;

/// Whether fewer records at once may be taken.
pub(super) fn is_too_much(error: &Error) -> bool {
    use ProtocolError::{MessageTooLarge, RecordListTooLarge};
    matches!(error, Error::ServerError { protocol_error: MessageTooLarge | RecordListTooLarge, .. })
}

pub(super) fn judge(error: &Error) -> SendError {
    match error {
        Error::Connection(error) => connection(error),
        Error::Request(error) => request(error),
        Error::ServerError { protocol_error, .. } => protocol(*protocol_error),
        // What was retried within the attempt, and went on failing.
        Error::RetryFailed(BackoffError::DeadlineExceded { source, .. }) => match source.downcast_ref::<Error>() {
            Some(error) => judge(error),
            None => connect(&source.to_string()),
        },
        Error::Timeout => late(),
        other => SendError::new(Reason::Other, Retry::Backoff, shown(&other.to_string())),
    }
}

pub(super) fn late() -> SendError {
    SendError::new(Reason::Timeout, Retry::Backoff, "the brokers did not take it in time")
}

/// A topic that the cluster does not have, or not yet: somebody may make it.
pub(super) fn no_topic(topic: &str) -> SendError {
    let detail = format!("the cluster has no topic `{topic}`");
    SendError::new(Reason::ClientError, Retry::Backoff, detail)
}

fn connection(error: &ConnectionError) -> SendError {
    match error {
        ConnectionError::SaslFailed(error) => sasl(error),
        ConnectionError::RetryFailed(BackoffError::DeadlineExceded { source, .. }) => {
            // Of all brokers together: the text is all that is known.
            let text = source.to_string();
            if text.contains("Sasl") { refused_login(&text) } else { connect(&text) }
        }
        other => connect(&other.to_string()),
    }
}

fn sasl(error: &SaslError) -> SendError {
    match error {
        SaslError::RequestError(error) => request(error),
        other => refused_login(&other.to_string()),
    }
}

fn refused_login(text: &str) -> SendError {
    SendError::new(Reason::AuthError, Retry::Never, format!("the login was refused: {}", shown(text)))
}

fn connect(text: &str) -> SendError {
    SendError::new(Reason::Connect, Retry::Backoff, format!("cannot connect: {}", shown(text)))
}

fn request(error: &RequestError) -> SendError {
    match error {
        // It would be as wrong another time.
        RequestError::NoVersionMatch { .. } | RequestError::WriteError(_) => {
            SendError::new(Reason::ClientError, Retry::Never, shown(&error.to_string()))
        }
        RequestError::Poisoned(error) => request(error),
        other => connect(&other.to_string()),
    }
}

/// The names are those of Kafka's protocol.
fn protocol(error: ProtocolError) -> SendError {
    use ProtocolError as E;
    let (reason, retry) = match error {
        E::MessageTooLarge
        | E::RecordListTooLarge
        | E::InvalidTopicException
        | E::InvalidRecord
        | E::InvalidTimestamp
        | E::InvalidRequiredAcks
        | E::InvalidConfig
        | E::InvalidRequest
        | E::PolicyViolation
        | E::UnsupportedVersion
        | E::UnsupportedForMessageFormat
        | E::UnsupportedCompressionType => (Reason::ClientError, Retry::Never),
        E::TopicAuthorizationFailed
        | E::ClusterAuthorizationFailed
        | E::SaslAuthenticationFailed
        | E::UnsupportedSaslMechanism
        | E::IllegalSaslState
        | E::SecurityDisabled => (Reason::AuthError, Retry::Never),
        E::UnknownTopicOrPartition => (Reason::ClientError, Retry::Backoff),
        E::ThrottlingQuotaExceeded => (Reason::RateLimited, Retry::Backoff),
        E::RequestTimedOut => (Reason::Timeout, Retry::Backoff),
        _ => (Reason::ServerError, Retry::Backoff),
    };
    SendError::new(reason, retry, format!("refused: {error:?}"))
}

fn shown(text: &str) -> String {
    truncate(&visible(text), EXPLANATION_CHARS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(error: ProtocolError) -> (&'static str, Retry) {
        let error = protocol(error);
        (error.reason.name(), error.retry)
    }

    #[test]
    fn what_a_broker_refuses_for_good_is_not_tried_again() {
        for (error, expected) in [
            (ProtocolError::MessageTooLarge, ("client_error", Retry::Never)),
            (ProtocolError::InvalidTopicException, ("client_error", Retry::Never)),
            (ProtocolError::TopicAuthorizationFailed, ("auth_error", Retry::Never)),
            (ProtocolError::UnknownTopicOrPartition, ("client_error", Retry::Backoff)),
            (ProtocolError::NotEnoughReplicas, ("server_error", Retry::Backoff)),
            (ProtocolError::LeaderNotAvailable, ("server_error", Retry::Backoff)),
            (ProtocolError::RequestTimedOut, ("timeout", Retry::Backoff)),
        ] {
            assert_eq!(verdict(error), expected, "{error:?}");
        }
    }

    #[test]
    fn one_topic_that_is_missing_is_no_outage_of_the_cluster() {
        assert!(!no_topic("tercel").is_outage() && !protocol(ProtocolError::UnknownTopicOrPartition).is_outage());
        assert!(late().is_outage() && connect("refused").is_outage());
    }

    #[test]
    fn what_was_retried_in_vain_is_judged_by_its_last_cause() {
        let last = Error::ServerError {
            protocol_error: ProtocolError::NotLeaderOrFollower,
            error_message: None,
            request: rskafka::client::error::RequestContext::Topic("t".to_owned()),
            response: None,
            is_virtual: false,
        };
        let retried = BackoffError::DeadlineExceded { deadline: std::time::Duration::ZERO, source: Box::new(last) };
        assert_eq!(judge(&Error::RetryFailed(retried)).reason, Reason::ServerError);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        assert_eq!(judge(&Error::Request(RequestError::IO(refused))).reason, Reason::Connect);
    }
}
