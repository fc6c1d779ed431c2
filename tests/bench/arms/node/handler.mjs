// One conditional UpdateItem on the AWS SDK v3, behind a loop that polls the Runtime API as
// Lambda's own client does.

import { Agent, request } from "node:http";
import { DynamoDBClient, UpdateItemCommand } from "@aws-sdk/client-dynamodb";

const client = new DynamoDBClient({});

const plain = (value) => {
  const [type, inner] = Object.entries(value)[0];
  switch (type) {
    case "N": return Number(inner);
    case "M": return object(inner);
    case "L": return inner.map(plain);
    default: return inner;
  }
};
const object = (item) => Object.fromEntries(Object.entries(item).map(([name, value]) => [name, plain(value)]));

async function handler(event, context) {
  const { Attributes } = await client.send(new UpdateItemCommand({
    TableName: "payments",
    Key: { pk: { S: `hyperswitch#m_demo#${event.pathParameters.payment_id}` } },
    UpdateExpression: "SET #status = :canceled, canceled_at = :at, updated_at = :at, cancellation = :cancellation",
    ConditionExpression:
      "#status IN (:from0, :from1, :from2, :from3) " +
      "AND (attribute_not_exists(manual_cancellation) OR manual_cancellation = :false) " +
      "AND attribute_type(amount, :N) AND attribute_type(currency, :S) AND attribute_type(created_at, :S) " +
      "AND (attribute_not_exists(details) OR attribute_type(details, :M))",
    ExpressionAttributeNames: { "#status": "status" },
    ExpressionAttributeValues: {
      ":from0": { S: "requires_payment_method" },
      ":from1": { S: "requires_capture" },
      ":from2": { S: "requires_confirmation" },
      ":from3": { S: "requires_customer_action" },
      ":canceled": { S: "cancelled" },
      ":at": { S: "2026-01-01T00:00:00.000Z" },
      ":cancellation": { M: { id: { S: "c_1" }, token: { S: context.requestId }, fingerprint: { S: "0000000000000000" } } },
      ":false": { BOOL: false },
      ":N": { S: "N" },
      ":S": { S: "S" },
      ":M": { S: "M" },
    },
    ReturnValues: "ALL_NEW",
    ReturnValuesOnConditionCheckFailure: "ALL_OLD",
  }));
  return {
    statusCode: 200,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(object(Attributes)),
    isBase64Encoded: false,
  };
}

const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API.split(":");
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const call = (method, path, body) => new Promise((resolve, reject) => {
  const sent = request({ hostname, port, agent, method, path: `/2018-06-01/runtime/invocation/${path}` }, (response) => {
    let text = "";
    response.setEncoding("utf8").on("data", (piece) => (text += piece)).on("end", () => resolve({ headers: response.headers, text }));
  });
  sent.on("error", reject).end(body);
});

(async () => {
  for (;;) {
    const { headers, text } = await call("GET", "next");
    const requestId = headers["lambda-runtime-aws-request-id"];
    await call("POST", `${requestId}/response`, JSON.stringify(await handler(JSON.parse(text), { requestId })));
  }
})();
