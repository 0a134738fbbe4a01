/** What every part of the house is built with. */
import type { Tracer } from "@opentelemetry/api";
import type { Clock } from "../base/clock.ts";
import type { KnownCorrelations } from "../base/correlated-log.ts";
import type { Log } from "../base/log.ts";
import type { Metrics } from "../base/metrics.ts";
import type { Config } from "../config.ts";
import type { Instruments } from "../telemetry/instruments.ts";
import type { ProcessHistory } from "../telemetry/process-history.ts";

export interface Site {
  readonly config: Config;
  readonly log: Log;
  /** Noted by whoever drives an execution; `log` adds them to its lines. */
  readonly correlations: KnownCorrelations;
  readonly version: string;
  readonly clock: Clock;
  readonly metrics: Metrics;
  readonly instruments: Instruments;
  readonly history: ProcessHistory;
  readonly tracer: Tracer | undefined;
  /** Closed in reverse order of what was built. */
  readonly onStop: (close: () => Promise<void>) => void;
}

/** The engine acts for a tenant, not for one of its callers. */
export function engineCaller(tenantId: string): { tenantId: string; actor: string; scopes: ReadonlySet<string>; correlationId: string; requestId: string } {
  return { tenantId, actor: "engine", scopes: new Set(), correlationId: "", requestId: "" };
}
