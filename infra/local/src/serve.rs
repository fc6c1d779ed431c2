//! From HTTP to the service, and back: what API Gateway and Lambda do in the cloud.

use anyhow::{Context, Result};
use axum::{
    Router,
    body::Body,
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{MethodRouter, any},
};
use http_body_util::BodyExt;
use shared::{
    cancel::{Fault, FaultKind},
    provider::{Provider, Reply, Statuses},
    request::{Incoming, MAX_BODY},
    route,
    service::{CancelService, Settings},
    store::dynamodb::DynamoDb,
};
use tower_service::Service;
use uuid::Uuid;

use crate::data::Demo;

/// A provider on this machine.
pub(crate) struct Endpoint {
    /// [`Provider::NAME`].
    pub(crate) name: &'static str,
    /// [`Provider::ROUTE`].
    pub(crate) route: &'static str,
    /// [`Provider::STATUSES`].
    pub(crate) statuses: Statuses,
    /// Its file in `demo/`.
    pub(crate) demo: Demo,
    handler: MethodRouter,
}

/// The provider `P` over the tables, with its demo data.
pub(crate) fn mount<P: Provider>(
    store: &DynamoDb,
    settings: Settings,
    demo: &str,
) -> Result<Endpoint> {
    let service = CancelService::<P, _>::new(store.clone(), settings);
    Ok(Endpoint {
        name: P::NAME,
        route: P::ROUTE,
        statuses: P::STATUSES,
        demo: serde_json::from_str(demo).with_context(|| format!("demo/{}.json", P::NAME))?,
        // Any method: refusing all but POST is the provider's own affair.
        handler: any(move |request: Request| {
            let mut service = service.clone();
            async move {
                let Ok(reply) = service.call(incoming(request).await).await;
                response(reply)
            }
        }),
    })
}

impl Endpoint {
    /// Where the payment is canceled.
    pub(crate) fn url(&self, base: &str, payment_id: &str) -> String {
        let parameter = format!("{{{}}}", route::parameter(self.route));
        format!("{base}{}", self.route.replace(&parameter, payment_id))
    }
}

/// All endpoints on their routes. The path is matched as it came, percent-encoded, so whatever stands for the id reaches its provider.
pub(crate) fn router(endpoints: &[Endpoint]) -> Router {
    endpoints.iter().fold(Router::new(), |router, endpoint| {
        router.route(endpoint.route, endpoint.handler.clone())
    })
}

async fn incoming(request: Request) -> Incoming {
    let (head, body) = request.into_parts();
    let (body, fault) = match read(body).await {
        Ok(body) => (body, None),
        Err(_) => {
            let fault = Fault::new(FaultKind::Event, "request body broke off");
            (Vec::new(), Some(fault))
        }
    };
    Incoming {
        request_id: Uuid::new_v4().to_string(),
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name, String::from_utf8_lossy(value.as_bytes())))
            .collect(),
        body,
        fault,
        ..Incoming::default()
    }
}

/// The whole body, but of one that is too large only as much as shows it. The rest is read and dropped: a client that is still sending would
/// not see the answer.
async fn read(mut body: Body) -> Result<Vec<u8>, axum::Error> {
    let mut kept = Vec::new();
    while let Some(frame) = body.frame().await {
        if let Ok(data) = frame?.into_data() {
            let room = (MAX_BODY + 1).saturating_sub(kept.len());
            kept.extend(data.into_iter().take(room));
        }
    }
    Ok(kept)
}

fn response(reply: Reply) -> Response {
    let Reply {
        status,
        headers,
        body,
    } = reply;
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    response.body(Body::from(body)).unwrap_or_else(|error| {
        tracing::error!(%error, "the reply is no HTTP response");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}
