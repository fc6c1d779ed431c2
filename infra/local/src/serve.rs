//! The very service that Lambda runs, mounted with axum.

use axum::{
    body::{Body, to_bytes},
    extract::Request,
    routing::{MethodRouter, any},
};
use http_body_util::BodyExt;
use shared::{
    provider::Provider,
    service::{CancelService, Settings},
    store::dynamodb::DynamoDb,
};
use tower_service::Service;

pub(crate) use shared::limits::MAX_BODY;

/// The provider `P` over the tables. Any method: refusing all but POST is the provider's own
/// affair.
pub(crate) fn handler<P: Provider>(store: &DynamoDb, settings: &Settings) -> MethodRouter {
    let service = CancelService::<P, _>::new(store.clone(), settings);
    any(move |request: Request| {
        let mut service = service.clone();
        async move {
            let (head, body) = request.into_parts();
            // It has been read already, and is in memory.
            let body = to_bytes(body, usize::MAX).await.unwrap_or_default();
            let Ok(response) = service.call(Request::from_parts(head, body)).await;
            response
        }
    })
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
