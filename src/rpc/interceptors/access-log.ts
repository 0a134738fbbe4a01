/** One line per call, without payloads: debug when all went well, info for refusals, warn where the service is at fault. */
import type { Log } from "../../base/log.ts";
import type { Call } from "./call.ts";

const ourFault = new Set(["INTERNAL", "UNAVAILABLE", "UNKNOWN", "DATA_LOSS"]);

export function logCall(log: Log, call: Call, durationMs: number): void {
  const fields = {
    rpc_method: call.method,
    code: call.code,
    reason: call.reason,
    duration_ms: Math.round(durationMs * 10) / 10,
    request_id: call.requestId,
    correlation_id: call.correlationId,
    tenant_id: call.tenantId,
    actor: call.actor,
  };
  if (call.code === "OK") log.debug(fields, "call answered");
  else if (ourFault.has(call.code)) log.warn(fields, "call failed");
  else log.info(fields, "call refused");
}
