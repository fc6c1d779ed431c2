//! From HTTP to the service, and back: what API Gateway and Lambda do in the cloud. The only place
//! that knows the service's own types.

use anyhow::Result;
use axum::{
    body::{Body, to_bytes},
    extract::Request,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{MethodRouter, any},
};
use http_body_util::BodyExt;
use shared::{
    provider::{Provider, Reply},
    request::Incoming,
    service::{CancelService, Settings},
    store::dynamodb::DynamoDb,
};
use tower_service::Service;
use uuid::Uuid;

pub(crate) use shared::request::MAX_BODY;

/// The provider `P` over the tables. Any method: refusing all but POST is the provider's own
/// affair.
pub(crate) fn handler<P: Provider>(store: &DynamoDb, settings: Settings) -> MethodRouter {
    let service = CancelService::<P, _>::new(store.clone(), settings);
    any(move |request: Request| {
        let mut service = service.clone();
        async move {
            let Ok(reply) = service.call(incoming(request).await).await;
            response(reply)
        }
    })
}

async fn incoming(request: Request) -> Incoming {
    let (head, body) = request.into_parts();
    Incoming {
        request_id: Uuid::new_v4().to_string(),
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        headers: head
            .headers
            .iter()
            .map(|(name, value)| (name, String::from_utf8_lossy(value.as_bytes())))
            .collect(),
        // It has been read already, and is in memory.
        body: to_bytes(body, usize::MAX).await.unwrap_or_default().into(),
        ..Incoming::default()
    }
}

/// The whole body, but of one that is too large only as much as shows it. The rest is read and
/// dropped: a client that is still sending would not see the response.
pub(crate) async fn read(mut body: Body) -> Result<Vec<u8>, axum::Error> {
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
