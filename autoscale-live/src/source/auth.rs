//! Credentials: read from files each time, so that they may be renewed, and never shown.

use reqwest::header::{HeaderName, HeaderValue};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use thiserror::Error;

/// How to show who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Auth {
    /// Not at all.
    #[default]
    None,
    /// By a bearer token.
    #[serde(rename_all = "camelCase")]
    Bearer {
        /// The file that holds it.
        token_file: PathBuf,
    },
    /// By name and password.
    #[serde(rename_all = "camelCase")]
    Basic {
        /// The name.
        username: String,
        /// The file that holds the password.
        password_file: PathBuf,
    },
}

/// Credentials that cannot be used; what they are is not told.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{file}: {reason}")]
pub struct AuthError {
    /// The file that should hold them.
    pub file: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Auth {
    /// The header that shows who asks, if any.
    ///
    /// # Errors
    /// When the file cannot be read or holds what no header can.
    pub fn header(&self) -> Result<Option<(HeaderName, HeaderValue)>, AuthError> {
        let (value, file) = match self {
            Self::None => return Ok(None),
            Self::Bearer { token_file } => (format!("Bearer {}", secret(token_file)?), token_file),
            Self::Basic { username, password_file } => {
                use base64::Engine;
                let pair = format!("{username}:{}", secret(password_file)?);
                (format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair)), password_file)
            }
        };
        let mut value = HeaderValue::try_from(value).map_err(|_| AuthError {
            file: file.display().to_string(),
            reason: "holds characters that a header cannot".to_owned(),
        })?;
        value.set_sensitive(true);
        Ok(Some((reqwest::header::AUTHORIZATION, value)))
    }
}

fn secret(file: &Path) -> Result<String, AuthError> {
    let told = |reason: String| AuthError { file: file.display().to_string(), reason };
    let text = std::fs::read_to_string(file).map_err(|error| told(error.to_string()))?;
    let secret = text.trim();
    if secret.is_empty() { Err(told("is empty".to_owned())) } else { Ok(secret.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewed_credentials_are_seen_and_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let token_file = folder.path().join("token");
        let auth = Auth::Bearer { token_file: token_file.clone() };
        let missing = auth.header().unwrap_err();
        assert!(missing.to_string().contains("token"), "{missing}");
        for token in ["first", "second"] {
            std::fs::write(&token_file, format!("{token}\n")).unwrap();
            let (_, value) = auth.header().unwrap().unwrap();
            assert_eq!(value.to_str().unwrap(), format!("Bearer {token}"));
            assert!(!format!("{value:?} {auth:?}").contains(token));
        }
        std::fs::write(&token_file, "a\nb").unwrap();
        let bad = auth.header().unwrap_err().to_string();
        assert!(!bad.contains("a\nb"), "{bad}");
        let basic = Auth::Basic { username: "ann".into(), password_file: token_file.clone() };
        std::fs::write(&token_file, "secret").unwrap();
        assert_eq!(basic.header().unwrap().unwrap().1.to_str().unwrap(), "Basic YW5uOnNlY3JldA==");
    }
}
