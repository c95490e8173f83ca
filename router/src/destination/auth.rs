//! How a request says who sends it: user and password, a token, or one that an OAuth 2.0 server gives for the client's
//! credentials (RFC 6749, 4.4).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::http::{ANSWER_BYTES_MAX, parse_url, read_answer, sensitive_header, transport_error};
use super::live::Live;
use super::{Problem, Reason, Retry, SendError};
use crate::secret::{PlainOrSecret, Secret, SecretRef};

/// A token is renewed so long before it ends, so that none ends on its way.
const RENEWAL_LEAD: Duration = Duration::from_secs(30);

/// How long a token is used that comes without an end, and the longest that any is used.
const TOKEN_AGE_DEFAULT: Duration = Duration::from_mins(5);
const TOKEN_AGE_MAX: Duration = Duration::from_hours(24);

/// A receiver that refuses a token that is no older would refuse the next one too.
const TOKEN_FRESH: Duration = Duration::from_mins(1);

/// `auth` in `[destination.NAME]`: one of these.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum AuthSettings {
    Basic(BasicSettings),
    Bearer(SecretRef),
    #[serde(rename = "oauth2")]
    OAuth2(OAuth2Settings),
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BasicSettings {
    user: String,
    pub(super) password: SecretRef,
}

#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OAuth2Settings {
    token_url: PlainOrSecret,
    client_id: String,
    pub(super) client_secret: SecretRef,
    #[serde(default)]
    scopes: Vec<String>,
}

/// Ready to sign requests.
pub(super) enum Auth {
    Header(Live<HeaderValue>),
    OAuth2(Box<OAuth2>),
}

pub(super) struct OAuth2 {
    token_url: Url,
    client_id: String,
    client_secret: Live<Secret>,
    scopes: String,
    token: Mutex<Option<Token>>,
}

#[derive(Clone)]
struct Token {
    header: HeaderValue,
    asked: Instant,
    until: Instant,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
}

impl AuthSettings {
    pub(super) fn build(&self, base: &Path) -> Result<Auth, Problem> {
        let settings = self.clone();
        match self {
            Self::Basic(BasicSettings { password: key, .. }) | Self::Bearer(key) => {
                let owned = base.to_owned();
                Ok(Auth::Header(Live::new(key.file(base), move || settings.header(&owned))?))
            }
            Self::OAuth2(OAuth2Settings { token_url, client_id, client_secret, scopes }) => {
                let (reference, owned) = (client_secret.clone(), base.to_owned());
                let secret = Live::new(client_secret.file(base), move || Ok(reference.resolve(&owned)?))?;
                Ok(Auth::OAuth2(Box::new(OAuth2 {
                    token_url: parse_url("auth.oauth2.token_url", token_url, base)?,
                    client_id: client_id.clone(),
                    client_secret: secret,
                    scopes: scopes.join(" "),
                    token: Mutex::new(None),
                })))
            }
        }
    }

    fn header(&self, base: &Path) -> Result<HeaderValue, Problem> {
        match self {
            Self::Basic(BasicSettings { user, password }) => {
                use base64::Engine as _;
                let password = password.resolve(base)?;
                let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{}", password.expose()));
                secret_header("Basic", &encoded)
            }
            Self::Bearer(token) => sensitive_header("auth.bearer", &token.resolve(base)?.prefixed("Bearer ")),
            Self::OAuth2(_) => Err(Problem::new("a token of OAuth 2.0 is asked for at each use")),
        }
    }
}

impl Auth {
    /// Adds who sends it.
    ///
    /// # Errors
    /// The token's server gives none.
    pub(super) async fn sign(&self, client: &Client, request: RequestBuilder) -> Result<RequestBuilder, SendError> {
        let header = match self {
            Self::Header(header) => Arc::unwrap_or_clone(header.current()),
            Self::OAuth2(oauth2) => oauth2.token(client).await?,
        };
        Ok(request.header(AUTHORIZATION, header))
    }

    /// After an answer of 401: the token is asked for anew. True: another one may do better, since this one is not fresh.
    pub(super) async fn forget(&self) -> bool {
        match self {
            Self::Header(_) => false,
            Self::OAuth2(oauth2) => {
                oauth2.token.lock().await.take().is_some_and(|token| token.asked.elapsed() > TOKEN_FRESH)
            }
        }
    }
}

impl OAuth2 {
    /// The lock is held while a token is asked for: one request for all that wait.
    async fn token(&self, client: &Client) -> Result<HeaderValue, SendError> {
        let mut token = self.token.lock().await;
        if let Some(Token { header, until, .. }) = &*token
            && Instant::now() < *until
        {
            return Ok(header.clone());
        }
        let fresh = self.ask(client).await?;
        let header = fresh.header.clone();
        *token = Some(fresh);
        Ok(header)
    }

    async fn ask(&self, client: &Client) -> Result<Token, SendError> {
        let mut form = self.token_url.clone();
        form.set_query(None);
        form.query_pairs_mut().append_pair("grant_type", "client_credentials");
        if !self.scopes.is_empty() {
            form.query_pairs_mut().append_pair("scope", &self.scopes);
        }
        let response = client
            .post(self.token_url.clone())
            .basic_auth(&self.client_id, Some(self.client_secret.current().expose()))
            .header(reqwest::header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(reqwest::header::ACCEPT, "application/json")
            .body(form.query().unwrap_or_default().to_owned())
            .send()
            .await
            .map_err(transport_error)?;
        let status = response.status();
        let answer = read_answer(response, ANSWER_BYTES_MAX).await?;
        token_of(status.as_u16(), &answer)
    }
}

fn token_of(status: u16, answer: &[u8]) -> Result<Token, SendError> {
    let failed = |reason, retry, cause: &str| {
        SendError::new(reason, retry, format!("the token server answered {status}{cause}"))
    };
    match status {
        200 => {}
        400 | 401 | 403 => {
            return Err(failed(Reason::AuthError, Retry::Never, ": are client_id and client_secret right?"));
        }
        429 => return Err(failed(Reason::RateLimited, Retry::Backoff, "")),
        _ => return Err(failed(Reason::ServerError, Retry::Backoff, "")),
    }
    let useless = |cause: &str| failed(Reason::Other, Retry::Backoff, cause);
    let answer: TokenAnswer = serde_json::from_slice(answer).map_err(|_cause| useless(" without a token"))?;
    if !answer.token_type.eq_ignore_ascii_case("bearer") {
        return Err(useless(" with a token that is no bearer's"));
    }
    let header =
        secret_header("Bearer", &answer.access_token).map_err(|_cause| useless(" with a token no header can carry"))?;
    let age = answer.expires_in.map_or(TOKEN_AGE_DEFAULT, Duration::from_secs).min(TOKEN_AGE_MAX);
    let asked = Instant::now();
    Ok(Token { header, asked, until: asked + age.saturating_sub(RENEWAL_LEAD) })
}

fn secret_header(scheme: &str, value: &str) -> Result<HeaderValue, Problem> {
    let mut header = HeaderValue::from_str(&format!("{scheme} {value}"))
        .map_err(|_cause| Problem::new("`auth` holds characters that a header cannot carry"))?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_server_gives_a_token_or_a_reason() {
        let good = r#"{"access_token":"hunter2","token_type":"Bearer","expires_in":3600}"#;
        let token = token_of(200, good.as_bytes()).ok().unwrap();
        assert!(token.header == "Bearer hunter2" && token.header.is_sensitive());
        for (status, answer, reason, retry) in [
            (401, "", Reason::AuthError, Retry::Never),
            (400, "{\"error\":\"invalid_client\"}", Reason::AuthError, Retry::Never),
            (429, "", Reason::RateLimited, Retry::Backoff),
            (503, "", Reason::ServerError, Retry::Backoff),
            (200, "", Reason::Other, Retry::Backoff),
            (200, r#"{"access_token":"hunter2","token_type":"mac"}"#, Reason::Other, Retry::Backoff),
            (200, r#"{"access_token":"a\nb","token_type":"bearer"}"#, Reason::Other, Retry::Backoff),
        ] {
            let error = token_of(status, answer.as_bytes()).err().unwrap();
            assert_eq!((error.reason, error.retry), (reason, retry), "{status} {answer}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
