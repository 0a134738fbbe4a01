/**
 * A failure inside a run is data, not an exception. Its name comes from one vocabulary that retry policies, catches,
 * filters and incident lists share: `HTTP.503`, `NETWORK`, `TIMEOUT.START_TO_CLOSE`, `EXPRESSION`, `LIMIT.BODY`, `USER.x` …
 */
import type { Json } from "../base/json.ts";

export interface Failure {
  readonly name: string;
  readonly message: string;
  readonly details?: Json;
  readonly stepPath?: string;
  readonly cause?: Failure;
}

export function failure(name: string, message: string, details?: Json): Failure {
  return details === undefined ? { name, message } : { name, message, details };
}

/**
 * Whether `name` is meant by `pattern`: the exact name, a class of HTTP statuses (`HTTP.4xx`), or a prefix (`WORKER.*`, `*`).
 */
export function matchesErrorName(pattern: string, name: string): boolean {
  if (pattern === name || pattern === "*") return true;
  if (pattern.endsWith(".*")) return name.startsWith(pattern.slice(0, -1));
  const statusClass = /^(HTTP|SMTP)\.([1-5])xx$/.exec(pattern);
  return statusClass !== null && new RegExp(`^${statusClass[1]}\\.${statusClass[2]}\\d\\d$`).test(name);
}
