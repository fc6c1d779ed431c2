//! One cancel of a demo payment, as its `demo.json` describes it: a command to paste, or a
//! request to send. Both come from the same text, so they cannot drift apart.

use std::{collections::HashMap, fmt::Write};

use anyhow::{Context, Result};
use hmac::{Hmac, KeyInit, Mac};
use serde::Deserialize;
use serde_json::value::RawValue;
use sha2::Sha256;
use shared::clock::Timestamp;
use uuid::Uuid;

/// A cancel as the provider expects it. In the headers and in the body, `{payment_id}` is the
/// payment, and `{uuid}` a new one each time. In the headers, `{timestamp}` is the Unix time in
/// milliseconds, and `{signature}` the HMAC-SHA256 of `{timestamp}.{body}`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cancel {
    /// Lines of `name: value`.
    pub(crate) headers: Vec<String>,
    /// The names of those that authenticate.
    pub(crate) credential: Vec<String>,
    /// Sent byte for byte as it is written in the file; nothing where it is absent.
    body: Option<Box<RawValue>>,
    /// The key of `{signature}`.
    signing_secret: Option<String>,
    /// What the same cancel with another `{uuid}` must get afterwards.
    pub(crate) again: Again,
}

/// The right response to a second cancel.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Again {
    /// This status, and this `code` in the provider's error envelope.
    Refused {
        /// HTTP status.
        status: u16,
        /// The envelope's `code`.
        code: String,
    },
    /// 200, and in this member of the body what the first response had there.
    Same(String),
}

/// What may differ from the demo file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Draft {
    /// The `Idempotency-Key`, also the value of `{uuid}`. Without one, no such header is sent.
    pub(crate) key: Option<String>,
    /// The whole body.
    body: Option<String>,
    /// Values of the [credential](Cancel::credential)'s headers.
    #[serde(default)]
    credential: HashMap<String, String>,
}

impl Draft {
    /// The demo file's cancel under this `Idempotency-Key`.
    pub(crate) fn keyed(key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..Self::default() }
    }
}

/// A shell command's form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// A line for each header, and the response's status below its body.
    Lines,
    /// One line, and the response's head above its body.
    OneLine,
}

impl Cancel {
    /// A shell command that cancels the payment at `url`.
    pub(crate) fn command(&self, form: Form, url: &str, payment_id: &str) -> String {
        let uuid = new_key();
        let fill = filler(payment_id, &uuid);
        let body = fill(self.body());
        let mut command = String::new();
        if let Some(secret) = &self.signing_secret {
            let signed = if body.is_empty() {
                "printf '%s.' \"$timestamp\"".to_owned()
            } else {
                format!("printf '%s.%s' \"$timestamp\" {}", quoted(&body))
            };
            // `date` has milliseconds with GNU only.
            let _ = writeln!(command, "timestamp=$(date +%s)000");
            let _ = writeln!(
                command,
                "signature=$({signed} | openssl dgst -sha256 -hmac {} -r | cut -d' ' -f1)",
                quoted(secret)
            );
        }
        let (report, next) = match form {
            Form::Lines => ("-w '\\n%{http_code}\\n'", " \\\n  "),
            Form::OneLine => ("-i", " "),
        };
        let _ = write!(command, "curl {report} -X POST {url}");
        for header in &self.headers {
            let header = fill(header);
            let word = if header.contains("{timestamp}") || header.contains("{signature}") {
                let variables = header
                    .replace("{timestamp}", "$timestamp")
                    .replace("{signature}", "$signature");
                format!("\"{variables}\"")
            } else {
                quoted(&header)
            };
            let _ = write!(command, "{next}-H {word}");
        }
        if !body.is_empty() {
            let _ = write!(command, "{next}-d {}", quoted(&body));
        }
        command
    }

    /// A request's headers, signed now, and its body.
    pub(crate) fn prepare(
        &self,
        payment_id: &str,
        draft: &Draft,
    ) -> Result<(Vec<(String, String)>, String)> {
        let fill = filler(payment_id, draft.key.as_deref().unwrap_or_default());
        let body = match &draft.body {
            Some(body) => body.clone(),
            None => fill(self.body()),
        };
        let timestamp = Timestamp::now().as_millisecond().to_string();
        let secret = self.signing_secret.as_deref().unwrap_or_default();
        let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes())?;
        mac.update(format!("{timestamp}.{body}").as_bytes());
        let signature = hex::encode(mac.finalize().into_bytes());

        let mut headers = Vec::new();
        for header in &self.headers {
            let header =
                fill(header).replace("{timestamp}", &timestamp).replace("{signature}", &signature);
            let (name, value) =
                header.split_once(": ").with_context(|| format!("not a header line: {header}"))?;
            let value = draft.credential.get(name).map_or(value, String::as_str);
            headers.push((name.to_owned(), value.to_owned()));
        }
        if let Some(key) = &draft.key {
            headers.push(("Idempotency-Key".to_owned(), key.clone()));
        }
        Ok((headers, body))
    }

    fn body(&self) -> &str {
        self.body.as_deref().map_or("", RawValue::get)
    }
}

/// Puts the payment, and a UUID, where they belong.
fn filler(payment_id: &str, uuid: &str) -> impl Fn(&str) -> String {
    move |text| text.replace("{payment_id}", payment_id).replace("{uuid}", uuid)
}

/// A new `Idempotency-Key`.
pub(crate) fn new_key() -> String {
    Uuid::new_v4().simple().to_string()
}

/// One argument of a shell command.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
