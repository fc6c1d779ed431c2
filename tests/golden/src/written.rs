//! The files as they are written: cases over the defaults of their provider.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, Result, bail, ensure};
use base64::{Engine, engine::general_purpose::STANDARD};
use percent_encoding::utf8_percent_encode;
use serde::{Deserialize, Deserializer};

use crate::{Case, Given, Json, Request, Sign, Then, source};

/// `defaults.yaml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Provider {
    route: String,
    id: String,
    statuses: BTreeMap<String, Vec<String>>,
    request: RequestDefaults,
    sign: Option<Sign>,
    credentials: BTreeMap<String, Json>,
    payments: BTreeMap<String, Json>,
    then: ThenDefaults,
    malformed_event: WrittenThen,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestDefaults {
    method: String,
    headers: BTreeMap<String, String>,
    body: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ThenDefaults {
    headers: BTreeMap<String, String>,
    /// The body of a success.
    body: Json,
    /// The body of an error. A case's `error` fills its placeholders; unfilled members are removed.
    error: Json,
    canceled: Json,
}

/// One case in a file of cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    source: String,
    #[serde(default)]
    request: Option<WrittenRequest>,
    #[serde(default)]
    given: WrittenGiven,
    #[serde(default, deserialize_with = "present")]
    sign: Option<Option<Json>>,
    #[serde(default)]
    then: WrittenThen,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenRequest {
    method: Option<String>,
    path: Option<String>,
    headers: BTreeMap<String, Option<String>>,
    #[serde(deserialize_with = "present")]
    body: Option<Option<String>>,
    base64: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenGiven {
    credentials: Option<Vec<Json>>,
    #[serde(deserialize_with = "present")]
    payment: Option<Option<Json>>,
    others: Vec<Json>,
    store: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct WrittenThen {
    status: Option<u16>,
    headers: BTreeMap<String, Option<String>>,
    error: Option<BTreeMap<String, Json>>,
    body: Option<Json>,
    without: Vec<String>,
    canceled: Option<Json>,
    writes: Option<usize>,
}

/// A member that is there, `null` or not.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

fn yaml<T: for<'de> Deserialize<'de>>(file: &Path) -> Result<T> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    serde_saphyr::from_str(&text).with_context(|| file.display().to_string())
}

impl Provider {
    /// The defaults in a provider's folder.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        yaml(&folder.join("defaults.yaml"))
    }

    pub(crate) fn route(&self) -> &str {
        &self.route
    }

    pub(crate) fn default_request(&self) -> Result<Request> {
        self.request(&self.id, WrittenRequest::default())
    }

    pub(crate) fn statuses(self) -> BTreeMap<String, Vec<String>> {
        self.statuses
    }

    /// The cases in a file; `events` is the folder of complete events, which some cases have.
    pub(crate) fn cases(&self, file: &Path, events: Option<&Path>) -> Result<Vec<Case>> {
        let Json::Object(written) = yaml(file)? else {
            bail!("{}: cases by their names", file.display());
        };
        let mut cases = Vec::new();
        for (name, mut case) in written {
            let words = match case.take("each") {
                None => vec![(String::new(), String::new())],
                Some(each) => self.words(each).with_context(|| name.clone())?,
            };
            for (each, with) in words {
                let mut case = Json::Array(vec![Json::String(name.clone()), case.clone()]);
                case.map(&|text| repeated(text).replace("{each}", &each).replace("{with}", &with));
                let (name, case): (String, Json) = case.read()?;
                let event = events.map(|events| events.join(format!("{name}.json")));
                let event = event.filter(|event| event.is_file());
                let event = event.map(fs::read_to_string).transpose()?;
                let case = self.case(&name, case, event);
                cases.push(case.with_context(|| format!("{}: {name}", file.display()))?);
            }
        }
        Ok(cases)
    }

    /// The words that a case is expanded for: statuses and names of lists of statuses, or pairs of
    /// words.
    fn words(&self, each: Json) -> Result<Vec<(String, String)>> {
        if let Json::Object(pairs) = each {
            let pairs = pairs.into_iter().map(|(each, with)| Ok((each, with.read()?)));
            return pairs.collect();
        }
        let words: Vec<String> = match each.text() {
            Some(word) => vec![word.to_owned()],
            None => each.read()?,
        };
        let words = words.into_iter().flat_map(|word| match self.statuses.get(&word) {
            Some(statuses) => statuses.clone(),
            None => vec![word],
        });
        Ok(words.map(|word| (word, String::new())).collect())
    }

    fn case(&self, name: &str, mut case: Json, event: Option<String>) -> Result<Case> {
        let id: String = match case.take("id") {
            Some(id) => id.read()?,
            None => self.id.clone(),
        };
        let of_id = |text: &str| text.replace("{id}", &id);
        case.map(&of_id);
        let written: Written = case.read()?;
        ensure!(!written.source.trim().is_empty(), "an expectation needs a source");
        let request = match (&event, written.request) {
            (Some(event), None) => source::request(event)?,
            (Some(event), Some(request)) => {
                let request = self.request(&id, request)?;
                ensure!(request == source::request(event)?, "its event holds another request");
                request
            }
            (None, request) => self.request(&id, request.unwrap_or_default())?,
        };
        let named = |items: &BTreeMap<String, Json>, item| item_of(items, item, &of_id);
        let mut payments = Vec::new();
        let payment = written.given.payment.unwrap_or(Some(Json::Object(Vec::new())));
        if let Some(mut payment) = payment {
            let like = payment.get("like").is_some();
            if let (Json::Object(members), false) = (&mut payment, like) {
                members.push(("like".to_owned(), Json::String("payment".to_owned())));
            }
            payments.push(named(&self.payments, payment)?);
        }
        for other in written.given.others {
            payments.push(named(&self.payments, other)?);
        }
        let credentials =
            written.given.credentials.unwrap_or_else(|| vec![Json::String("default".to_owned())]);
        let credentials = credentials.into_iter().map(|item| named(&self.credentials, item));
        let credentials = credentials.collect::<Result<Vec<_>>>()?;
        let sign = match written.sign {
            None => self.sign.clone(),
            Some(sign) => sign.map(Json::read).transpose()?,
        };
        Ok(Case {
            name: name.to_owned(),
            source: written.source,
            request,
            event,
            then: self.then(written.then, payments.first(), &of_id)?,
            given: Given {
                credentials: credentials.iter().map(Json::value).collect(),
                payments: payments.iter().map(Json::value).collect(),
                store: written.given.store,
            },
            sign,
        })
    }

    fn request(&self, id: &str, written: WrittenRequest) -> Result<Request> {
        let body = match (written.base64, written.body) {
            (Some(bytes), None) => Some(STANDARD.decode(bytes).map_err(anyhow::Error::msg)?),
            (Some(_), Some(_)) => bail!("a body in text or in base64"),
            (None, Some(body)) => body.map(String::into_bytes),
            (None, None) => {
                let body = self.request.body.as_ref();
                body.map(|body| body.replace("{id}", id).into_bytes())
            }
        };
        let mut headers = self.request.headers.clone();
        if body.is_none() {
            headers.remove("content-type");
        }
        for (name, value) in written.headers {
            match value {
                Some(value) => drop(headers.insert(name, value)),
                None => drop(headers.remove(&name)),
            }
        }
        let place = format!("{{{}}}", source::parameter(&self.route));
        let id = utf8_percent_encode(id, source::RESERVED).to_string();
        Ok(Request {
            method: written.method.unwrap_or_else(|| self.request.method.clone()),
            path: written.path.unwrap_or_else(|| self.route.replace(&place, &id)),
            headers,
            body,
        })
    }

    /// The expectation, where `payment` is the one that the request names.
    fn then(
        &self,
        written: WrittenThen,
        payment: Option<&Json>,
        of_id: &impl Fn(&str) -> String,
    ) -> Result<Then> {
        let status = written.status.unwrap_or(200);
        let mut body = match &written.error {
            None if status == 200 => self.then.body.clone(),
            None => Json::Object(Vec::new()),
            Some(_) => self.then.error.clone(),
        };
        body.map(of_id);
        if let Some(error) = &written.error {
            body.fill(error);
        }
        body.lay(written.body.unwrap_or(Json::Object(Vec::new())), &written.without)?;
        ensure!(matches!(body, Json::Object(_)), "a response has a body");
        let mut headers = self.then.headers.clone();
        for (name, value) in written.headers {
            match value {
                Some(value) => drop(headers.insert(name, value)),
                None => drop(headers.remove(&name)),
            }
        }
        let mut payments = Vec::new();
        if let Some(cancellation) = written.canceled {
            let mut item = payment.context("which payment is canceled?")?.clone();
            item.take("cancellation");
            let mut change = self.then.canceled.clone();
            change.overlay(Json::Object(vec![("cancellation".to_owned(), cancellation)]));
            item.overlay(change);
            payments.push(item.value());
        }
        Ok(Then {
            status,
            headers,
            body,
            writes: written.writes.unwrap_or(payments.len()),
            payments,
        })
    }

    /// The response to an event that is not an HTTP request.
    pub(crate) fn malformed_event(mut self) -> Result<Then> {
        let written = std::mem::take(&mut self.malformed_event);
        self.then(written, None, &|text: &str| text.replace("{id}", ""))
    }
}

/// An item: the name of one, or what differs from the one that `like` names, or one in full.
fn item_of(
    items: &BTreeMap<String, Json>,
    mut item: Json,
    of_id: &impl Fn(&str) -> String,
) -> Result<Json> {
    if let Some(name) = item.text() {
        item = Json::Object(vec![("like".to_owned(), Json::String(name.to_owned()))]);
    }
    let Some(like) = item.take("like") else {
        item.map(of_id);
        return Ok(item);
    };
    let like: String = like.read()?;
    let found = items.get(&like).with_context(|| format!("no item {like} in the defaults"))?;
    let mut like = item_of(items, found.clone(), of_id)?;
    let without = item.take("without").map_or(Ok(Vec::new()), Json::read)?;
    like.lay(item, &without)?;
    Ok(like)
}

/// `{x*3}` as `xxx`: what is long is written short.
fn repeated(text: &str) -> String {
    let mut parts = text.split('{');
    let mut repeated = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let long = part.split_once('}').and_then(|(inside, rest)| {
            let (what, times) = inside.rsplit_once('*')?;
            Some(what.repeat(times.parse().ok()?) + rest)
        });
        match long {
            Some(long) => repeated.push_str(&long),
            None => {
                repeated.push('{');
                repeated.push_str(part);
            }
        }
    }
    repeated
}
