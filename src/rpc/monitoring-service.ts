/** MonitoringService: how the service is, and what the caller's executions do. */
import type { ServiceImpl } from "@connectrpc/connect";
import type { MonitoringService } from "#gen/pyairtable/workflow/v1/monitoring_service_pb.js";
import { executionStatsRpcs } from "./execution-stats-rpcs.ts";
import { metricsRpcs } from "./metrics-rpcs.ts";
import type { RpcParts } from "./parts.ts";
import { serviceStatusRpcs } from "./service-status-rpcs.ts";

export function monitoringRpcs(parts: RpcParts): ServiceImpl<typeof MonitoringService> {
  return { ...serviceStatusRpcs(parts), ...metricsRpcs(parts), ...executionStatsRpcs(parts) };
}
