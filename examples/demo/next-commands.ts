/** What to try next, with this run's own address, key and execution. */
import type { Server } from "./server.ts";

const service = "pyairtable.workflow.v1.WorkflowService";

export function nextCommands(server: Server, executionId: string, isKept: boolean): string[] {
  const address = new URL(server.url).host;
  return [
    isKept ? "next, in another terminal:" : "next: `npm run demo -- --keep` leaves everything running; then, with what that run prints:",
    `  export PAWF_URL=${server.url} PAWF_API_KEY=${server.apiKey}; npx pawf watch ${executionId}; npx pawf execution list`,
    `  H="authorization: Bearer $PAWF_API_KEY"; D='{"execution_id":"${executionId}"}'`,
    `  npx buf curl --protocol grpc --http2-prior-knowledge -H "$H" -d "$D" ${server.url}/${service}/GetExecution`,
    `  grpcurl -plaintext -H "$H" -d "$D" ${address} ${service}/ListExecutionSteps`,
    `  curl -s -H "$H" -H 'content-type: application/json' -d "$D" ${server.url}/${service}/ListExecutionEvents`,
  ];
}
