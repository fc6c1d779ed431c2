import { Aws, Duration, RemovalPolicy } from 'aws-cdk-lib';
import { AccessLogFormat } from 'aws-cdk-lib/aws-apigateway';
import * as apigateway from 'aws-cdk-lib/aws-apigatewayv2';
import { HttpLambdaIntegration } from 'aws-cdk-lib/aws-apigatewayv2-integrations';
import * as dynamodb from 'aws-cdk-lib/aws-dynamodb';
import * as iam from 'aws-cdk-lib/aws-iam';
import * as kms from 'aws-cdk-lib/aws-kms';
import * as lambda from 'aws-cdk-lib/aws-lambda';
import * as logs from 'aws-cdk-lib/aws-logs';
import { Construct } from 'constructs';

import { Provider, ROUTES } from './providers';

/** What {@link CancelApi} is built from. */
export interface CancelApiProps {
  /** Names the API, and with each provider's name its function. */
  readonly name: string;
  /** Partition key `pk`, no sort key. */
  readonly payments: dynamodb.ITable;
  /** Partition key `pk`, no sort key. */
  readonly credentials: dynamodb.ITable;
  /** The customer-managed key of the credentials table, if it has one. */
  readonly credentialsKey?: kms.IKey;
  /** A provider's binary, as `cargo lambda build` makes it: a folder with `bootstrap` in it. */
  readonly code: (provider: Provider) => lambda.Code;
  /** What the binaries were built for. @default arm64 */
  readonly architecture?: lambda.Architecture;
  /** In MB. @default 128 */
  readonly memorySize?: number;
  /** How long a found credential is remembered, and so how long a revoked one may still work. @default 60 seconds */
  readonly credentialTtl?: Duration;
  /** Whether only keys that the tool in `infra/admin` made are looked up. @default false */
  readonly issuedKeysOnly?: boolean;
  /** Whether a signature serves one payment only (One2Pays). One more write for each of its cancels. @default false */
  readonly signatureSingleUse?: boolean;
  /** @default INFO */
  readonly logLevel?: lambda.ApplicationLogLevel;
  /** @default 30 days */
  readonly logRetention?: logs.RetentionDays;
  /** Requests a second to each route, and how many may come at once. @default 100 and 200 */
  readonly throttle?: apigateway.ThrottleSettings;
}

/** Five payment-cancel endpoints: a function each, with no more rights than it needs, behind one HTTP API. */
export class CancelApi extends Construct {
  /** The HTTP API, for a custom domain or more routes. */
  readonly api: apigateway.HttpApi;
  /** The five functions, for alarms or more. */
  readonly functions: Readonly<Record<Provider, lambda.Function>>;

  constructor(scope: Construct, id: string, props: CancelApiProps) {
    super(scope, id);
    const retention = props.logRetention ?? logs.RetentionDays.ONE_MONTH;

    this.api = new apigateway.HttpApi(this, 'Api', {
      apiName: props.name,
      description: 'Five payment-cancel endpoints',
      createDefaultStage: false,
    });
    const accessLogs = new logs.LogGroup(this, 'AccessLogs', {
      // Groups under this prefix need no entry each in the account's log resource policy, whose size is limited.
      logGroupName: `/aws/vendedlogs/${props.name}-access`,
      retention,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    new apigateway.HttpStage(this, 'Stage', {
      httpApi: this.api,
      stageName: '$default',
      autoDeploy: true,
      throttle: props.throttle ?? { rateLimit: 100, burstLimit: 200 },
      accessLogSettings: {
        destination: new apigateway.LogGroupLogDestination(accessLogs),
        format: ACCESS_LOG,
      },
    });

    const functions: Partial<Record<Provider, lambda.Function>> = {};
    for (const provider of Object.keys(ROUTES) as Provider[]) {
      const handler = new CancelFunction(this, provider, { ...props, provider, logRetention: retention }).handler;
      this.api.addRoutes({
        path: ROUTES[provider],
        methods: [apigateway.HttpMethod.POST],
        integration: new HttpLambdaIntegration(provider, handler),
      });
      functions[provider] = handler;
    }
    this.functions = functions as Record<Provider, lambda.Function>;
  }
}

/** No header and no query: a credential may be in either. */
const ACCESS_LOG = AccessLogFormat.custom(
  JSON.stringify({
    requestId: '$context.requestId',
    time: '$context.requestTime',
    ip: '$context.identity.sourceIp',
    route: '$context.routeKey',
    status: '$context.status',
    bytes: '$context.responseLength',
    latency_ms: '$context.responseLatency',
    function_latency_ms: '$context.integrationLatency',
    error: '$context.integrationErrorMessage',
  }),
);

interface CancelFunctionProps extends CancelApiProps {
  readonly provider: Provider;
  readonly logRetention: logs.RetentionDays;
}

/** One provider's function, its log and its role. */
class CancelFunction extends Construct {
  readonly handler: lambda.Function;

  constructor(scope: Construct, id: string, props: CancelFunctionProps) {
    super(scope, id);
    const name = `${props.name}-${props.provider}`;
    const logGroup = new logs.LogGroup(this, 'Logs', {
      logGroupName: `/aws/lambda/${name}`,
      retention: props.logRetention,
      removalPolicy: RemovalPolicy.DESTROY,
    });
    this.handler = new lambda.Function(this, 'Function', {
      functionName: name,
      description: `Answers POST ${ROUTES[props.provider]}`,
      code: props.code(props.provider),
      handler: 'bootstrap',
      runtime: lambda.Runtime.PROVIDED_AL2023,
      architecture: props.architecture ?? lambda.Architecture.ARM_64,
      memorySize: props.memorySize ?? 128,
      // An answer takes 4.5 seconds at most; the rest is for a start on a bad day.
      timeout: Duration.seconds(10),
      role: new iam.Role(this, 'Role', {
        description: `What the function ${name} may do`,
        assumedBy: new iam.ServicePrincipal('lambda.amazonaws.com'),
        inlinePolicies: { cancel: rights(props, logGroup) },
      }).withoutPolicyUpdates(),
      logGroup,
      loggingFormat: lambda.LoggingFormat.JSON,
      applicationLogLevelV2: props.logLevel ?? lambda.ApplicationLogLevel.INFO,
      // Without Lambda's own three lines a request: its durations are metrics anyway.
      systemLogLevelV2: lambda.SystemLogLevel.WARN,
      environment: {
        PAYMENTS_TABLE: props.payments.tableName,
        CREDENTIALS_TABLE: props.credentials.tableName,
        CREDENTIAL_TTL_SECONDS: String((props.credentialTtl ?? Duration.seconds(60)).toSeconds()),
        ISSUED_KEYS_ONLY: String(props.issuedKeysOnly ?? false),
        SIGNATURE_SINGLE_USE: String(props.signatureSingleUse ?? false),
      },
    });
  }
}

/** All that a function may do. Every line is needed, and a test takes each away to see it missed. */
function rights(props: CancelFunctionProps, logGroup: logs.ILogGroup): iam.PolicyDocument {
  const statements = [
    new iam.PolicyStatement({
      sid: 'CancelPayment',
      actions: ['dynamodb:UpdateItem'],
      resources: [props.payments.tableArn],
    }),
    new iam.PolicyStatement({
      sid: 'FindOwnCredentials',
      actions: ['dynamodb:GetItem'],
      resources: [props.credentials.tableArn],
      conditions: { 'ForAllValues:StringLike': { 'dynamodb:LeadingKeys': `${props.provider}#*` } },
    }),
    new iam.PolicyStatement({
      sid: 'WriteOwnLog',
      actions: ['logs:CreateLogStream', 'logs:PutLogEvents'],
      resources: [logGroup.logGroupArn],
    }),
  ];
  if (props.credentialsKey !== undefined) {
    statements.push(
      new iam.PolicyStatement({
        sid: 'DecryptCredentials',
        actions: ['kms:Decrypt'],
        resources: [props.credentialsKey.keyArn],
        conditions: { StringEquals: { 'kms:ViaService': `dynamodb.${Aws.REGION}.amazonaws.com` } },
      }),
    );
  }
  return new iam.PolicyDocument({ statements });
}
