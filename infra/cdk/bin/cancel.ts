#!/usr/bin/env node
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { App, CfnOutput, Stack } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';

import { CancelApi, Options } from '../lib';

// The stacks that `cdk deploy` makes. Their options are in stacks.json, which is committed, so that
// none is forgotten on a command line.
const file = process.argv[2] ?? join(__dirname, '../../stacks.json');
const stacks = JSON.parse(readFileSync(file, 'utf8')) as Record<
  string,
  Options & { readonly binaries?: string }
>;
const app = new App();

// The CDK's own values have a prefix, or are what it found out of an account and keeps.
const unknown = Object.keys(app.node.getAllContext()).filter(
  (key) => !/^(aws:|@aws-cdk\/|cdk-|tree$|.*:account=)/.test(key),
);
if (unknown.length > 0) {
  throw new Error(`${unknown.join(', ')}: unknown context; options are set in ${file}, by stack`);
}

for (const [name, { binaries, ...options }] of Object.entries(stacks)) {
  const stack = new Stack(app, name, { description: 'Payment-cancel endpoints' });
  const { outputs } = new CancelApi(stack, 'CancelApi', {
    ...options,
    prefix: '',
    // Where `cargo lambda build --release` leaves them.
    code: (provider) =>
      lambda.Code.fromAsset(
        resolve(binaries ?? join(__dirname, '../../../../target/lambda'), provider),
      ),
  });
  for (const [key, { Description, Value }] of Object.entries(outputs)) {
    new CfnOutput(stack, key, { value: Value, description: Description });
  }
}
