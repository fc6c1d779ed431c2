import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { App, DefaultStackSynthesizer, Stack } from 'aws-cdk-lib';
import * as lambda from 'aws-cdk-lib/aws-lambda';

import { CancelApi, CancelApiProps } from '../lib';

/** A binary to be deployed, which is never run. */
export const binary = mkdtempSync(join(tmpdir(), 'bootstrap-'));
writeFileSync(join(binary, 'bootstrap'), '');
export const code = () => lambda.Code.fromAsset(binary);

/** Another app's stack, with the construct in it. */
export function inAnotherApp(props: (stack: Stack) => Partial<CancelApiProps> = () => ({})) {
  const synthesizer = new DefaultStackSynthesizer({ generateBootstrapVersionRule: false });
  const stack = new Stack(new App(), 'Theirs', { synthesizer, env: { region: 'us-east-1' } });
  return { stack, made: new CancelApi(stack, 'Cancel', { code, ...props(stack) }) };
}
