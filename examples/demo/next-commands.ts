/** What to try next, with this run's own address, key and execution. */
import type { Server } from "./server.ts";

const service = "pyairtable.workflow.v1.WorkflowService";

export function nextCommands(server: Server, executionId: string, isKept: boolean): string[] {
  const address = new URL(server.url).host;
  return [
    isKept ? "next, in another terminal:" : "next: `npm run demo -- --keep` leaves everything running; then, with what that run prints:",
    `  H='authorization: Bearer ${server.apiKey}'; D='{"execution_id":"${executionId}"}'`,
    `  npx buf curl --protocol grpc --http2-prior-knowledge -H "$H" -d "$D" ${server.url}/${service}/GetExecution`,
    `  grpcurl -plaintext -H "$H" -d "$D" ${address} ${service}/ListExecutionSteps`,
    `  curl -s -H "$H" -H 'content-type: application/json' -d "$D" ${server.url}/${service}/ListExecutionEvents`,
  ];
}
