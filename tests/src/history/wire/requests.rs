//! The provider's requests: those of its golden cases, for any payment and under any token.

use anyhow::{Context, Result, anyhow};
use serde_json::{Value, json};
use shared::provider::Provider;

use super::pk;
use crate::{golden::Case, spy::Spy, tables::Tables, transport::Transport};

/// One request of a golden case.
#[derive(Debug, Clone)]
pub(super) struct Request {
    case: Case,
    /// The payment's id in the case.
    payment_id: String,
    /// The token in the case, where it is the body that carries it.
    body_token: Option<String>,
    /// What it leaves on the payment.
    cancellation: Value,
}

/// A payment, and two requests to cancel it that differ in their fingerprints.
pub(super) struct Requests {
    payment: Value,
    both: [Request; 2],
}

impl Requests {
    /// Finds them among the golden cases. What they leave on a payment, they are tried for.
    pub(super) async fn find<P: Provider>(
        cases: &[Case],
        service: &Transport<Spy<P>>,
        tables: &Tables,
    ) -> Result<Self> {
        let mut candidates = cases.iter().filter_map(Request::new).collect::<Vec<_>>();
        candidates.sort_by_key(|request| request.case.event.to_string().len());
        let mut rest = candidates.as_slice();
        while let [first, ..] = rest {
            if let Some(found) = Self::of_one_client(first, rest, service, tables).await? {
                return Ok(found);
            }
            rest = &rest[1..];
        }
        Err(anyhow!("no two cases make different requests"))
    }

    /// The first two of these requests that differ and have the credentials of `first`, on its
    /// payment.
    async fn of_one_client<P: Provider>(
        first: &Request,
        candidates: &[Request],
        service: &Transport<Spy<P>>,
        tables: &Tables,
    ) -> Result<Option<Self>> {
        let credentials = &first.case.given.credentials;
        let payment = first.case.given.payments.first();
        let mut payment = payment.context("no case cancels a payment")?.clone();
        payment["status"] = json!(P::STATUSES.cancelable.first());
        let mut found = None::<Request>;
        for candidate in candidates {
            if candidate.case.given.credentials != *credentials {
                continue;
            }
            let Some(known) = candidate.try_on(&payment, service, tables).await? else {
                continue;
            };
            match found {
                None => found = Some(known),
                Some(one) if one.fingerprint() != known.fingerprint() => {
                    let both = [one, known];
                    return Ok(Some(Self { payment, both }));
                }
                Some(_) => {}
            }
        }
        Ok(None)
    }

    /// The Lambda event of a request for the payment, under `token`.
    pub(super) fn event(
        &self,
        request: usize,
        payment_id: &str,
        token: Option<&str>,
    ) -> Result<String> {
        self.both[request].event(payment_id, token)
    }

    /// Whether the Lambda request id is the token of a request without a key: neither a member of
    /// the body nor a signature is.
    pub(super) fn may_lack_a_key(&self) -> bool {
        let named = |request: &Request| request.body_token.is_some() || request.case.is_signed();
        !self.both.iter().any(named)
    }

    /// What a request leaves on the payment.
    pub(super) fn cancellation(&self, request: usize) -> &Value {
        &self.both[request].cancellation
    }

    /// The payment of the history with that number.
    pub(super) fn payment(&self, number: u64) -> Result<Value> {
        numbered(&self.payment, number)
    }
}

/// `payment` with an id whose last six characters are the number.
fn numbered(payment: &Value, number: u64) -> Result<Value> {
    let pk = pk(payment)?;
    let kept = pk.len().checked_sub(6).and_then(|end| pk.get(..end));
    let kept = kept.context("a pk is too short for a number")?;
    let mut payment = payment.clone();
    payment["pk"] = json!(format!("{kept}{:06}", number % 1_000_000));
    Ok(payment)
}

/// The id in a payment's key.
pub(super) fn payment_id(payment: &Value) -> Result<&str> {
    pk(payment)?.splitn(3, '#').nth(2).context("a pk has three parts")
}

impl Request {
    fn new(case: &Case) -> Option<Self> {
        let payment_id = payment_id(case.then.payments.first()?).ok()?.to_owned();
        let adaptable = payment_id.len() >= 8
            && case.event["rawPath"].as_str()?.contains(&payment_id)
            && case.event["isBase64Encoded"] != json!(true)
            && case.event["headers"].is_object();
        adaptable.then(|| Self {
            case: case.clone(),
            payment_id,
            body_token: None,
            cancellation: Value::Null,
        })
    }

    fn event(&self, payment_id: &str, token: Option<&str>) -> Result<String> {
        let mut case = self.case.clone();
        let mut event = case.event.to_string().replace(&self.payment_id, payment_id);
        if let (Some(carried), Some(token)) = (&self.body_token, token) {
            event = event.replace(carried, token);
        }
        case.event = serde_json::from_str(&event)?;
        if let Some(headers) = case.event["headers"].as_object_mut() {
            headers.remove("idempotency-key");
            if let (None, Some(token)) = (&self.body_token, token) {
                headers.insert("idempotency-key".to_owned(), json!(token));
            }
        }
        Ok(case.event())
    }

    /// Sends it once and reads the payment. `None` if it did not cancel it.
    async fn try_on<P: Provider>(
        &self,
        payment: &Value,
        service: &Transport<Spy<P>>,
        tables: &Tables,
    ) -> Result<Option<Self>> {
        for credential in &self.case.given.credentials {
            tables.put("credentials", credential)?;
        }
        let payment = numbered(payment, 999_999)?;
        tables.put("payments", &payment)?;
        let event = self.event(payment_id(&payment)?, Some("tried"))?;
        service.invoke("request", &event).await?;
        let item = tables.get("payments", pk(&payment)?)?;
        let item = item.context("the payment is gone")?;
        let Some(made) = item.get("cancellation") else {
            return Ok(None);
        };
        let token = made["token"].as_str().filter(|token| *token != "tried");
        Ok(Some(Self {
            body_token: token.map(str::to_owned),
            cancellation: made.clone(),
            ..self.clone()
        }))
    }

    fn fingerprint(&self) -> &Value {
        &self.cancellation["fingerprint"]
    }
}
