import { Aws, Duration, Stack } from 'aws-cdk-lib';
import * as apigateway from 'aws-cdk-lib/aws-apigatewayv2';
import * as cloudwatch from 'aws-cdk-lib/aws-cloudwatch';
import { SnsAction } from 'aws-cdk-lib/aws-cloudwatch-actions';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as sns from 'aws-cdk-lib/aws-sns';
import { Construct } from 'constructs';

import { Provider, ROUTES } from './providers';

/** Where each alarm begins. `infra/RUNBOOK.md` says why there. */
export interface Thresholds {
  /** Undecided answers of a provider in 5 minutes. @default 1 */
  readonly undecided?: number;
  /** The share of all requests that is answered with a 5xx, in 2 of 3 times 5 minutes. @default 0.01 */
  readonly serverErrorRate?: number;
  /** Invocations of a function that Lambda refuses in 5 minutes. @default 1 */
  readonly throttled?: number;
  /** The 99th percentile of a provider's durations, in 3 of 3 times 5 minutes. @default 1 second */
  readonly slow?: Duration;
  /** Requests to a provider with a wrong key in 5 minutes. @default 100 */
  readonly unauthenticated?: number;
  /** Requests to One2Pays with a wrong signature in 5 minutes. @default 20 */
  readonly signature?: number;
}

/** Whom alarms tell, and where they send them to read on. */
export interface AlarmsProps {
  /** Told when an alarm begins and when it ends. @default nobody */
  readonly topic?: sns.ITopic;
  /** Where `infra/RUNBOOK.md` can be read. @default infra/RUNBOOK.md */
  readonly runbookUrl?: string;
}

/** What {@link CancelAlarms} is built from. */
export interface CancelAlarmsProps extends AlarmsProps {
  /** The name of the {@link CancelApi}. */
  readonly name: string;
  readonly api: apigateway.IHttpApi;
  readonly functions: Readonly<Record<Provider, lambda.IFunction>>;
  readonly payments: dynamodb.ITable;
  readonly thresholds?: Thresholds;
}

/** An alarm over one metric, every 5 minutes. Without requests there is no metric, and nothing wrong. */
export function alarm(
  scope: Construct,
  id: string,
  { topic, runbookUrl }: AlarmsProps,
  props: {
    name: string;
    description: string;
    paragraph: string;
    metric: Omit<cloudwatch.MetricProps, 'period'>;
    above?: number;
    from?: number;
    periods?: number;
    of?: number;
  },
): void {
  const made = new cloudwatch.Alarm(scope, id, {
    alarmName: props.name,
    alarmDescription: `${props.description}: ${runbookUrl ?? 'infra/RUNBOOK.md'}#${props.paragraph}`,
    metric: new cloudwatch.Metric({ ...props.metric, period: Duration.minutes(5) }),
    threshold: props.above ?? props.from ?? 1,
    comparisonOperator:
      props.above === undefined
        ? cloudwatch.ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD
        : cloudwatch.ComparisonOperator.GREATER_THAN_THRESHOLD,
    evaluationPeriods: props.of ?? props.periods ?? 1,
    datapointsToAlarm: props.of === undefined ? undefined : props.periods,
    treatMissingData: cloudwatch.TreatMissingData.NOT_BREACHING,
  });
  if (topic !== undefined) {
    made.addAlarmAction(new SnsAction(topic));
    made.addOkAction(new SnsAction(topic));
  }
}

/** The alarms that `infra/RUNBOOK.md` explains, and a dashboard. */
export class CancelAlarms extends Construct {
  constructor(scope: Construct, id: string, props: CancelAlarmsProps) {
    super(scope, id);
    const { name, api, functions, thresholds = {} } = props;
    const requests = (provider: Provider, outcome: string) => ({
      namespace: 'PaymentCancel',
      metricName: 'requests',
      dimensionsMap: { provider, outcome },
      statistic: 'Sum',
    });

    for (const provider of Object.keys(ROUTES) as Provider[]) {
      alarm(this, `${provider}Undecided`, props, {
        name: `${name}-${provider}-undecided`,
        description: `${provider} could not tell whether a payment is canceled`,
        paragraph: 'undecided-answers',
        metric: requests(provider, 'undecided'),
        from: thresholds.undecided ?? 1,
      });
      alarm(this, `${provider}Throttled`, props, {
        name: `${name}-${provider}-throttled`,
        description: `Lambda refused to run ${provider}`,
        paragraph: 'throttles',
        metric: {
          namespace: 'AWS/Lambda',
          metricName: 'Throttles',
          dimensionsMap: { FunctionName: functions[provider].functionName },
          statistic: 'Sum',
        },
        from: thresholds.throttled ?? 1,
      });
      alarm(this, `${provider}Slow`, props, {
        name: `${name}-${provider}-slow`,
        description: `One request in a hundred to ${provider} takes too long`,
        paragraph: 'slow-answers',
        metric: {
          namespace: 'PaymentCancel',
          metricName: 'duration_ms',
          dimensionsMap: { provider },
          statistic: 'p99',
        },
        from: (thresholds.slow ?? Duration.seconds(1)).toMilliseconds(),
        periods: 3,
      });
      // One2Pays' requests are signed; what is wrong with the others' is the key.
      if (provider === 'one2pays') {
        alarm(this, `${provider}Signatures`, props, {
          name: `${name}-${provider}-signatures`,
          description: `Many wrong signatures are sent to ${provider}`,
          paragraph: 'signature-failures',
          metric: requests(provider, 'unauthenticated'),
          from: thresholds.signature ?? 20,
        });
      } else {
        alarm(this, `${provider}Unauthenticated`, props, {
          name: `${name}-${provider}-unauthenticated`,
          description: `Many wrong keys are sent to ${provider}`,
          paragraph: 'authentication-failures',
          metric: requests(provider, 'unauthenticated'),
          from: thresholds.unauthenticated ?? 100,
        });
      }
    }
    alarm(this, 'ServerErrors', props, {
      name: `${name}-server-errors`,
      description: 'Too many requests are answered with a 5xx',
      paragraph: 'server-errors',
      // API Gateway's, since only that sees a function that does not run at all. It counts a 0 or a 1 for each request, so the average is the rate.
      metric: {
        namespace: 'AWS/ApiGateway',
        metricName: '5xx',
        dimensionsMap: { ApiId: api.apiId },
        statistic: 'Average',
      },
      above: thresholds.serverErrorRate ?? 0.01,
      periods: 2,
      of: 3,
    });
    new cloudwatch.CfnDashboard(this, 'Dashboard', {
      dashboardName: name,
      dashboardBody: Stack.of(this).toJsonString({ widgets: widgets(props) }),
    });
  }
}

/** The searches for our own metrics find whatever providers there are. */
function widgets({ name, api, payments }: CancelAlarmsProps): object[] {
  const providers = Object.keys(ROUTES);
  const search = (what: string, statistic: string) => [{ expression: `SEARCH('${what}', '${statistic}', 300)` }];
  const requests = '{PaymentCancel,provider,outcome} MetricName="requests"';
  const functions = providers.map((provider) => `"${name}-${provider}"`).join(' OR ');
  const logs = providers.map((provider) => `SOURCE '/aws/lambda/${name}-${provider}'`).join(' | ');

  const graph = (title: string, metrics: unknown[], more: object = {}) => ({ type: 'metric', title, more: { metrics, ...more } });
  const graphs = [
    graph('What came of the requests', [search(requests, 'Sum')], { stacked: true }),
    graph(
      'What API Gateway answered',
      [
        ['AWS/ApiGateway', 'Count', 'ApiId', api.apiId],
        ['.', '4xx', '.', '.'],
        ['.', '5xx', '.', '.'],
      ],
      { stat: 'Sum', period: 300 },
    ),
    graph('Undecided, and our own faults', [search(`${requests} outcome=("undecided" OR "internal")`, 'Sum')]),
    graph('Wrong keys and signatures, and keys that are switched off', [
      search(`${requests} outcome=("unauthenticated" OR "forbidden")`, 'Sum'),
    ]),
    graph('Duration, 99th percentile, ms', [search('{PaymentCancel,provider} MetricName="duration_ms"', 'p99')]),
    graph('Duration, median, ms', [search('{PaymentCancel,provider} MetricName="duration_ms"', 'p50')]),
    graph('Repeated requests to DynamoDB, and writes that it throttled', [
      search('{PaymentCancel,provider} MetricName="store_retries"', 'Sum'),
      ['AWS/DynamoDB', 'WriteThrottleEvents', 'TableName', payments.tableName, { stat: 'Sum', period: 300 }],
    ]),
    graph('Lambda: throttles and errors', [
      search(`{AWS/Lambda,FunctionName} MetricName=("Throttles" OR "Errors") FunctionName=(${functions})`, 'Sum'),
    ]),
  ];
  return [
    ...graphs.map(({ type, title, more }, n) => ({
      type,
      x: (n % 2) * 12,
      y: Math.floor(n / 2) * 6,
      width: 12,
      height: 6,
      properties: { region: Aws.REGION, title, ...more },
    })),
    {
      type: 'log',
      x: 0,
      y: 24,
      width: 24,
      height: 6,
      properties: {
        region: Aws.REGION,
        title: 'What is wrong on our side',
        view: 'table',
        query: `${logs} | filter level = 'ERROR' | stats count() as times, max(@timestamp) as last by message, table, kind, code | sort times desc`,
      },
    },
  ];
}
