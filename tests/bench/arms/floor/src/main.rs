//! One UpdateItem by hand: blocking sockets, hand-written HTTP/1.1, rustls on ring, Signature
//! Version 4 with its key kept for the day. No runtime, no SDK, almost no error handling. It is not
//! for use: it shows the cost of the bare protocol.

use std::{
    env,
    fmt::Write as _,
    io::{Read, Write},
    net::TcpStream,
    sync::Arc,
};

use ring::{digest, hmac};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, pki_types::ServerName};
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

type Error = Box<dyn std::error::Error>;
type Secure = StreamOwned<ClientConnection, TcpStream>;

fn main() -> Result<(), Error> {
    let runtime = env::var("AWS_LAMBDA_RUNTIME_API")?;
    let mut store = Store::from_environment()?;
    if env::var("PRIME_CONNECTION").as_deref() != Ok("false") {
        store.ask(
            "GetItem",
            r#"{"TableName":"credentials","Key":{"pk":{"S":"hyperswitch#"}}}"#,
        )?;
    }
    let mut api = TcpStream::connect(&runtime)?;
    api.set_nodelay(true)?;
    let next =
        format!("GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: {runtime}\r\n\r\n");
    loop {
        api.write_all(next.as_bytes())?;
        let (head, event) = message(&mut api)?;
        let request_id = header(&head, "lambda-runtime-aws-request-id").unwrap_or_default();
        let response = cancel(&mut store, request_id, &event)?;
        let mut post = format!(
            "POST /2018-06-01/runtime/invocation/{request_id}/response HTTP/1.1\r\n\
             host: {runtime}\r\ncontent-length: {}\r\n\r\n",
            response.len()
        )
        .into_bytes();
        post.extend_from_slice(&response);
        api.write_all(&post)?;
        message(&mut api)?;
    }
}

#[derive(Deserialize)]
struct Event<'e> {
    #[serde(rename = "pathParameters", borrow)]
    path_parameters: Parameters<'e>,
}

#[derive(Deserialize)]
struct Parameters<'e> {
    payment_id: &'e str,
}

#[derive(Deserialize)]
struct Output<'o> {
    #[serde(rename = "Attributes", borrow)]
    attributes: &'o RawValue,
}

fn cancel(store: &mut Store, request_id: &str, event: &[u8]) -> Result<Vec<u8>, Error> {
    let event: Event = serde_json::from_slice(event)?;
    let id = event.path_parameters.payment_id;
    let body = format!(
        concat!(
            r##"{{"TableName":"payments","Key":{{"pk":{{"S":"hyperswitch#m_demo#{id}"}}}},"##,
            r##""UpdateExpression":"SET #status = :canceled, canceled_at = :at, "##,
            r##"updated_at = :at, cancellation = :cancellation","##,
            r##""ConditionExpression":"#status IN (:from0, :from1, :from2, :from3) "##,
            r##"AND (attribute_not_exists(manual_cancellation) OR manual_cancellation = :false) "##,
            r##"AND attribute_type(amount, :N) AND attribute_type(currency, :S) "##,
            r##"AND attribute_type(created_at, :S) "##,
            r##"AND (attribute_not_exists(details) OR attribute_type(details, :M))","##,
            r##""ExpressionAttributeNames":{{"#status":"status"}},"ExpressionAttributeValues":{{"##,
            r##"":from0":{{"S":"requires_payment_method"}},":from1":{{"S":"requires_capture"}},"##,
            r##"":from2":{{"S":"requires_confirmation"}},"##,
            r##"":from3":{{"S":"requires_customer_action"}},"##,
            r##"":canceled":{{"S":"cancelled"}},":at":{{"S":"2026-01-01T00:00:00.000Z"}},"##,
            r##"":false":{{"BOOL":false}},":N":{{"S":"N"}},":S":{{"S":"S"}},":M":{{"S":"M"}},"##,
            r##"":cancellation":{{"M":{{"id":{{"S":"c_1"}},"##,
            r##""token":{{"S":"{token}"}},"fingerprint":{{"S":"0000000000000000"}}}}}}}},"##,
            r##""ReturnValues":"ALL_NEW","ReturnValuesOnConditionCheckFailure":"ALL_OLD"}}"##
        ),
        id = id,
        token = request_id,
    );
    let (head, response) = store.ask("UpdateItem", &body)?;
    let status = if head.starts_with("HTTP/1.1 200") {
        200
    } else {
        409
    };
    let body = match serde_json::from_slice::<Output>(&response) {
        Ok(output) => plain(&serde_json::from_str(output.attributes.get())?).to_string(),
        Err(_) => "{}".to_owned(),
    };
    Ok(serde_json::to_vec(&json!({
        "statusCode": status,
        "headers": {"content-type": "application/json"},
        "body": body,
        "isBase64Encoded": false,
    }))?)
}

/// The members of a map of typed values, without their types.
fn plain(map: &Value) -> Value {
    let members = map.as_object().into_iter().flatten();
    members
        .map(|(name, typed)| {
            let (kind, value) = typed
                .as_object()
                .and_then(|typed| typed.iter().next())
                .expect("a typed value");
            let value = match kind.as_str() {
                "M" => plain(value),
                _ => value.clone(),
            };
            (name.clone(), value)
        })
        .collect()
}

/// DynamoDB, one connection kept open.
struct Store {
    host: String,
    region: String,
    id: String,
    secret: String,
    tls: Arc<ClientConfig>,
    connection: Option<Secure>,
    signing_key: Option<(String, hmac::Key)>,
}

impl Store {
    fn from_environment() -> Result<Self, Error> {
        Ok(Self {
            host: env::var("AWS_ENDPOINT_URL_DYNAMODB")?
                .trim_start_matches("https://")
                .to_owned(),
            region: env::var("AWS_REGION")?,
            id: env::var("AWS_ACCESS_KEY_ID")?,
            secret: env::var("AWS_SECRET_ACCESS_KEY")?,
            tls: Arc::new(trust()?),
            connection: None,
            signing_key: None,
        })
    }

    fn ask(&mut self, operation: &str, body: &str) -> Result<(String, Vec<u8>), Error> {
        let request = self.signed(operation, body);
        if self.connection.is_none() {
            let name = self.host.split(':').next().unwrap_or_default().to_owned();
            let socket = TcpStream::connect(&self.host)?;
            socket.set_nodelay(true)?;
            let session =
                ClientConnection::new(Arc::clone(&self.tls), ServerName::try_from(name)?)?;
            self.connection = Some(StreamOwned::new(session, socket));
        }
        let connection = self.connection.as_mut().expect("just made");
        connection.write_all(request.as_bytes())?;
        message(connection)
    }

    /// Signature Version 4.
    fn signed(&mut self, operation: &str, body: &str) -> String {
        let (day, time) = now();
        let key = match &self.signing_key {
            Some((of, key)) if *of == day => key.clone(),
            _ => {
                let steps = [day.as_str(), &self.region, "dynamodb", "aws4_request"];
                let first = format!("AWS4{}", self.secret).into_bytes();
                let key = steps.iter().fold(first, |key, step| {
                    mac(&hmac::Key::new(hmac::HMAC_SHA256, &key), step)
                });
                let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
                self.signing_key = Some((day.clone(), key.clone()));
                key
            }
        };
        let Self {
            host, region, id, ..
        } = self;
        let canonical = format!(
            "POST\n/\n\ncontent-type:application/x-amz-json-1.0\nhost:{host}\n\
             x-amz-date:{day}T{time}Z\nx-amz-target:DynamoDB_20120810.{operation}\n\n\
             content-type;host;x-amz-date;x-amz-target\n{}",
            hex(sha256(body).as_ref())
        );
        let scope = format!("{day}/{region}/dynamodb/aws4_request");
        let text = format!(
            "AWS4-HMAC-SHA256\n{day}T{time}Z\n{scope}\n{}",
            hex(sha256(&canonical).as_ref())
        );
        let signature = hex(&mac(&key, &text));
        format!(
            "POST / HTTP/1.1\r\nhost: {host}\r\ncontent-type: application/x-amz-json-1.0\r\n\
             x-amz-date: {day}T{time}Z\r\nx-amz-target: DynamoDB_20120810.{operation}\r\n\
             content-length: {}\r\nauthorization: AWS4-HMAC-SHA256 Credential={id}/{scope}, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-target, \
             Signature={signature}\r\n\r\n{body}",
            body.len()
        )
    }
}

fn trust() -> Result<ClientConfig, Error> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// Head and body of the next message.
fn message(from: &mut impl Read) -> Result<(String, Vec<u8>), Error> {
    let mut bytes = Vec::with_capacity(4096);
    let mut piece = [0; 8192];
    let (head, end) = loop {
        match bytes.windows(4).position(|at| at == b"\r\n\r\n") {
            Some(at) => break (String::from_utf8(bytes[..at].to_vec())?, at + 4),
            None => match from.read(&mut piece)? {
                0 => return Err("the connection ended".into()),
                read => bytes.extend_from_slice(&piece[..read]),
            },
        }
    };
    let length = header(&head, "content-length")
        .and_then(|length| length.parse().ok())
        .unwrap_or(0);
    while bytes.len() < end + length {
        match from.read(&mut piece)? {
            0 => return Err("the connection ended".into()),
            read => bytes.extend_from_slice(&piece[..read]),
        }
    }
    Ok((head, bytes.split_off(end)))
}

fn header<'h>(head: &'h str, name: &str) -> Option<&'h str> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim())
    })
}

fn sha256(text: &str) -> digest::Digest {
    digest::digest(&digest::SHA256, text.as_bytes())
}

fn mac(key: &hmac::Key, text: &str) -> Vec<u8> {
    hmac::sign(key, text.as_bytes()).as_ref().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

/// The day and the time, UTC, as signatures have them.
fn now() -> (String, String) {
    let now = jiff::Timestamp::now();
    (now.strftime("%Y%m%d").to_string(), now.strftime("%H%M%S").to_string())
}
