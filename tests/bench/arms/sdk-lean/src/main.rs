//! A plain handler on the leanest features of the SDK: one TLS stack, ring.

include!("handler.rs");

use aws_smithy_http_client::{Builder, tls};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    let http = Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::Ring,
        ))
        .build_https();
    let config = aws_config::defaults(aws_config::BehaviorVersion::latest())
        .http_client(http)
        .load()
        .await;
    let client = Client::new(&config);
    lambda_runtime::run(lambda_runtime::service_fn(|event| cancel(&client, event))).await
}
