//! A plain handler on the SDK as its documentation shows it.

include!("../../sdk-lean/src/handler.rs");

#[tokio::main]
async fn main() -> Result<(), Error> {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    let client = Client::new(&config);
    lambda_runtime::run(lambda_runtime::service_fn(|event| cancel(&client, event))).await
}
