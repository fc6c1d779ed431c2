import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';

import { App, Aspects, Stack } from 'aws-cdk-lib';
import { Annotations, Match, Template } from 'aws-cdk-lib/assertions';
import { CfnInclude } from 'aws-cdk-lib/cloudformation-include';
import { AwsSolutionsChecks } from 'cdk-nag';

import { binary, inAnotherApp } from './app';

// Rules of AWS Solutions that are not followed, each with its reason.
const ACKNOWLEDGED = {
  'AwsSolutions-APIG2':
    'A body is read once, by the function, which responds in the provider’s envelope.',
  'AwsSolutions-APIG3': 'A web ACL is an option of REST APIs: webAclArn.',
  'AwsSolutions-APIG4': 'Each provider authenticates in its own way, in the function.',
  'AwsSolutions-APIG6':
    'Execution logs would hold headers and bodies, with credentials. Access logs are on.',
  'AwsSolutions-COG4': 'As APIG4.',
  'AwsSolutions-IAM4': 'CodeDeploy’s role has the policy that AWS maintains for it.',
  'AwsSolutions-IAM5': 'Streams of the own log group; with traces, actions that have no resource.',
  'AwsSolutions-L1': 'provided.al2023 is the runtime of a binary; the canary’s Python is pinned.',
  'AwsSolutions-SNS3': 'CloudWatch publishes over TLS.',
  'AwsSolutions-SQS3': 'It is the dead-letter queue.',
  'AwsSolutions-SQS4': 'Only the pipe may send, and it does so over TLS.',
  'AwsSolutions-SF1': 'It is never given a log: stream records have more in them than the events.',
  'AwsSolutions-SF2': 'It has one step and calls no service.',
};

test('cdk-nag finds nothing that is not acknowledged with a reason', () => {
  const used = new Set<string>();
  for (const frontEnd of ['http', 'rest'] as const) {
    const { stack } = inAnotherApp(() => ({
      frontEnd,
      eventsOut: true,
      paymentsKey: 'new',
      tracing: 'Active',
      alarmEmail: 'night@example.com',
      canarySecretArn: 'arn:aws:secretsmanager:us-east-1:123456789012:secret:canary-abcdef',
    }));
    // It knows the CDK's typed resources only, which the synthesized template is read back into.
    const file = join(binary, `${frontEnd}.json`);
    writeFileSync(file, JSON.stringify(Template.fromStack(stack)));
    const read = new Stack(new App(), 'Read');
    new CfnInclude(read, 'Synthesized', { templateFile: file });
    Aspects.of(read).add(new AwsSolutionsChecks());
    const found = Annotations.fromStack(read);
    const all = [
      ...found.findError('*', Match.anyValue()),
      ...found.findWarning('*', Match.anyValue()),
    ];
    const left = all.filter(({ entry }) => {
      const rule = /^(AwsSolutions-\w+)/.exec(String(entry.data))?.[1] ?? '';
      used.add(rule);
      return !(rule in ACKNOWLEDGED);
    });
    assert.deepEqual(
      left.map(({ id, entry }) => `${id}: ${String(entry.data).slice(0, 160)}`),
      [],
    );
    assert.ok(all.length > 10, `${all.length} findings`);
  }
  assert.deepEqual(
    Object.keys(ACKNOWLEDGED).filter((rule) => !used.has(rule)),
    [],
    'acknowledged, and not found',
  );
});
