/**
 * Which hosts are our own siblings: they alone are told the tenant, get a token with which they may report or enlist, and
 * baggage. The ids in it were checked when they came in; nothing of a caller's is pasted.
 */
import { baggageOf } from "../base/trace-context.ts";
import { sealToken } from "../domain/task-token.ts";
import { destinationOf } from "./egress/describe-target.ts";
import { sendable } from "./http-headers.ts";
import type { Siblings, StepCall } from "./step-handler.ts";

/** `entries` are `host:port`; port `*` for all. Throws on one that cannot be read. */
export function createSiblings(entries: readonly string[], tokenKey: Uint8Array): Siblings {
  const known = new Set(entries.map(siblingAddress));
  const isSibling = (url: string): boolean => {
    const destination = destinationOf(url);
    const { hostname = "", port = "" } = destination === undefined ? {} : (/^[a-z]+:\/\/(?<hostname>.+):(?<port>\d+)$/i.exec(destination)?.groups ?? {});
    return known.has(`${hostname.toLowerCase()}:${port}`) || known.has(`${hostname.toLowerCase()}:*`);
  };
  const bagOf = (call: StepCall): Record<string, string> => {
    const baggage = baggageOf(call, call.carried?.baggage);
    return baggage === undefined ? {} : { baggage };
  };
  return {
    headersFor(call, url) {
      if (!isSibling(url)) return {};
      const { executionId, stepPath: path, operation, attempt } = call;
      const ref = { executionId, path, operation, generation: call.original?.generation ?? 0, attempt };
      return { "saga-token": sealToken(tokenKey, call.tenantId, ref), "x-tenant-id": sendable(call.tenantId), ...bagOf(call) };
    },
    baggageFor: (call, url) => (isSibling(url) ? bagOf(call) : {}),
  };
}

/** Its form for comparison. Throws when it cannot be read, with how it is written. */
export function siblingAddress(entry: string): string {
  const match = /^(\[[0-9a-f:.]+\]|[a-z0-9_](?:[a-z0-9._-]*[a-z0-9_])?):(\*|\d{1,5})$/.exec(entry.trim().toLowerCase());
  if (!match) throw new Error(`sibling "${entry}" cannot be read: write host:port (port * for all)`);
  return `${match[1]}:${match[2]}`;
}
