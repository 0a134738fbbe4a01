/** Reads watch streams of both services' shapes into what a consumer keeps: snapshots, events, how it ended. */
import type { ExecutionEvent } from "#gen/pyairtable/workflow/v1/event_pb.js";
import type { ExecutionSnapshot } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import type { WatchExecutionResponse } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";

export interface Seen {
  readonly snapshots: ExecutionSnapshot[];
  /** Durable ones, in the order they came. */
  readonly events: ExecutionEvent[];
  readonly live: ExecutionEvent[];
  /** "snapshot", "event", "heartbeat" in the order they came. */
  readonly kinds: string[];
}

export function nothingSeen(): Seen {
  return { snapshots: [], events: [], live: [], kinds: [] };
}

export function see(seen: Seen, message: { readonly item: WatchExecutionResponse["item"] }): void {
  const { item } = message;
  seen.kinds.push(item.case ?? "none");
  if (item.case === "snapshot") seen.snapshots.push(item.value);
  if (item.case === "event") (item.value.live ? seen.live : seen.events).push(item.value);
}

/** Reads to the end, or until `enough` says so. */
export async function collect(
  stream: AsyncIterable<{ readonly item: WatchExecutionResponse["item"] }>,
  enough: (seen: Seen) => boolean = () => false,
): Promise<Seen> {
  const seen = nothingSeen();
  for await (const message of stream) {
    see(seen, message);
    if (enough(seen)) break;
  }
  return seen;
}

export function sequences(events: readonly ExecutionEvent[]): number[] {
  return events.map((event) => Number(event.sequence));
}

export function types(events: readonly ExecutionEvent[]): string[] {
  return events.map((event) => event.type);
}

/** [from, from + 1, … to]. */
export function range(from: number, to: number): number[] {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, index) => from + index);
}
