//! A DynamoDB, the five endpoints over it, and the tool pointed at them.

use std::{
    io::Write,
    mem::take,
    net::{Ipv4Addr, SocketAddr},
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::Result;
use aws_sdk_dynamodb::Client;
use axum::{Router, body::to_bytes, extract::Request, routing::any};
use providers::Visitor;
use serde_json::Value;
use shared::{
    provider::Provider,
    service::{CancelService, Settings},
    store::dynamodb::{DynamoDb, Tables},
};
use tokio::net::TcpListener;
use tower_service::Service;

/// What the process printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Output {
    /// The result, where the response was yes.
    pub(crate) fn json(&self) -> Value {
        self.json_with(0)
    }

    /// The result, with that exit code.
    pub(crate) fn json_with(&self, code: i32) -> Value {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        serde_json::from_str(&self.stdout).expect(&self.stdout)
    }

    /// Why it failed, or what is wrong with the command line.
    pub(crate) fn error(&self) -> &str {
        assert!(matches!(self.code, Some(1 | 2)), "{self:?}");
        assert_eq!(self.stdout, "");
        &self.stderr
    }
}

pub(crate) fn binary(arguments: &[&str], environment: &[(&str, &str)], stdin: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_admin"));
    for (name, _) in std::env::vars() {
        if name.starts_with("AWS_") || name.ends_with("_TABLE") {
            command.env_remove(name);
        }
    }
    let mut child = command
        .args(arguments)
        .env("HOME", env!("CARGO_TARGET_TMPDIR"))
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A process that refuses its arguments does not read.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Output {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A DynamoDB, and the tool pointed at it.
pub(crate) struct Stage {
    pub(crate) url: String,
    pub(crate) tables: Client,
}

impl Stage {
    pub(crate) async fn set() -> Self {
        let (address, tables): (SocketAddr, _) = embedded::with_tables().await.unwrap();
        Self { url: format!("http://{address}"), tables }
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.run_with(arguments, &[], "")
    }

    pub(crate) fn run_with(
        &self,
        arguments: &[&str],
        environment: &[(&str, &str)],
        stdin: &str,
    ) -> Output {
        let place = ["--endpoint-url", self.url.as_str()];
        binary(&[&place, arguments].concat(), environment, stdin)
    }

    pub(crate) fn credentials(&self, arguments: &[&str]) -> Output {
        self.credentials_with(arguments, "")
    }

    pub(crate) fn credentials_with(&self, arguments: &[&str], stdin: &str) -> Output {
        self.run_with(&[&["credentials"], arguments].concat(), &[], stdin)
    }

    pub(crate) fn issue(&self, arguments: &[&str]) -> Value {
        self.credentials(&[&["--json", "issue", "--merchant", "m_demo"], arguments].concat()).json()
    }

    pub(crate) async fn items(&self) -> Vec<Value> {
        embedded::scan(&self.tables, "credentials").await.unwrap()
    }

    /// Runs the tool while the runtime goes on serving.
    pub(crate) async fn aside(self: &Arc<Self>, arguments: Vec<String>) -> Output {
        let stage = Arc::clone(self);
        tokio::task::spawn_blocking(move || {
            let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
            stage.run(&arguments)
        })
        .await
        .unwrap()
    }

    /// Serves the five endpoints over the tables; where they are.
    pub(crate) async fn serve(&self) -> String {
        let store = DynamoDb::new(&embedded::config(&self.url), Tables::default());
        let router = Router::new();
        let mut endpoints = Endpoints { store, router };
        providers::visit(&mut endpoints).unwrap();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, endpoints.router).await.unwrap() });
        url
    }
}

struct Endpoints {
    store: DynamoDb,
    router: Router,
}

impl Visitor for Endpoints {
    fn visit<P: Provider>(&mut self) -> Result<()> {
        let service = CancelService::<P, _>::new(self.store.clone(), &Settings::default());
        let handler = any(move |request: Request| {
            let mut service = service.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = to_bytes(body, usize::MAX).await.unwrap();
                let Ok(response) = service.call(Request::from_parts(head, body)).await;
                response
            }
        });
        self.router = take(&mut self.router).route(P::ROUTE, handler);
        Ok(())
    }
}

pub(crate) fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}
