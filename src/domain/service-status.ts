/** How the service is, from what one replica sees of it at one moment. */
import { limits } from "../base/limits.ts";

export type HealthWord = "ok" | "degraded" | "unavailable" | "disabled";

export interface ComponentHealth {
  readonly name: "postgres" | "journal" | "engine" | "redis" | "workers";
  readonly state: HealthWord;
  /** Milliseconds; undefined: nothing was measured. */
  readonly latencyMs: number | undefined;
  readonly message: string;
}

export interface QueueLook {
  readonly queue: string;
  readonly waiting: number;
  /** Of the task that waits longest; null: none waits. */
  readonly oldestAgeMs: number | null;
  /** Workers that polled it in the last minute. */
  readonly workers: number;
}

/** off: not configured; unused: configured, but this database does not tell its identity; silent: it does not answer. */
export type RedisLook = { readonly state: "off" | "unused" | "silent" } | { readonly state: "answers"; readonly latencyMs: number };

export interface ServiceLook {
  /** Undefined: it did not answer. */
  readonly postgres: { readonly latencyMs: number; readonly version: number } | undefined;
  readonly leaseHeld: boolean;
  readonly journal: { readonly backlogRows: number; readonly commitMs: number | undefined };
  readonly redis: RedisLook;
  /** Queues of the caller's tenant that are used or waited in; undefined: nobody could be asked. */
  readonly queues: readonly QueueLook[] | undefined;
}

export function componentsOf(look: ServiceLook): ComponentHealth[] {
  return [postgresOf(look), journalOf(look), engineOf(look), redisOf(look), workersOf(look)];
}

const severity: Record<HealthWord, number> = { disabled: 0, ok: 0, degraded: 1, unavailable: 2 };

/** The worst of them. */
export function overallHealth(components: readonly Pick<ComponentHealth, "state">[]): HealthWord {
  return components.reduce<HealthWord>((worst, { state }) => (severity[state] > severity[worst] ? state : worst), "ok");
}

function postgresOf({ postgres }: ServiceLook): ComponentHealth {
  if (!postgres) return { name: "postgres", state: "unavailable", latencyMs: undefined, message: "does not answer" };
  const version = `${Math.floor(postgres.version / 10_000)}.${postgres.version % 10_000}`;
  return { name: "postgres", state: "ok", latencyMs: postgres.latencyMs, message: `PostgreSQL ${version}` };
}

function journalOf({ leaseHeld, journal: { backlogRows, commitMs } }: ServiceLook): ComponentHealth {
  const same = { name: "journal", latencyMs: commitMs } as const;
  if (!leaseHeld) return { ...same, state: "unavailable", message: "this replica may not write until its lease is renewed" };
  if (backlogRows >= limits.backlogStartsMax)
    return { ...same, state: "unavailable", message: `${backlogRows} rows wait for a commit; new starts are refused` };
  if (backlogRows > limits.backlogStartsMax / 10) return { ...same, state: "degraded", message: `${backlogRows} rows wait for a commit` };
  return { ...same, state: "ok", message: "" };
}

function engineOf({ leaseHeld }: ServiceLook): ComponentHealth {
  const message = leaseHeld ? "" : "the replica's lease cannot be renewed; it drives nothing until it can";
  return { name: "engine", state: leaseHeld ? "ok" : "unavailable", latencyMs: undefined, message };
}

function redisOf({ redis }: ServiceLook): ComponentHealth {
  const message = {
    off: "REDIS_URL is not set; PostgreSQL does its part",
    unused: "not used, because this database does not tell its identity; PostgreSQL does its part",
    silent: "does not answer; everything goes on without it",
    answers: "",
  }[redis.state];
  const state = { off: "disabled", unused: "degraded", silent: "degraded", answers: "ok" } as const;
  return { name: "redis", state: state[redis.state], latencyMs: redis.state === "answers" ? redis.latencyMs : undefined, message };
}

function workersOf({ queues }: ServiceLook): ComponentHealth {
  const same = { name: "workers", latencyMs: undefined } as const;
  if (!queues) return { ...same, state: "unavailable", message: "cannot be asked for, because PostgreSQL does not answer" };
  const waiting = queues.reduce((total, queue) => total + queue.waiting, 0);
  const left = queues.filter((queue) => queue.waiting > 0 && queue.workers === 0);
  const polled = queues.filter(({ workers }) => workers > 0).length;
  if (left.length === 0) return { ...same, state: "ok", message: `${waiting} tasks wait, ${polled} queues are polled` };
  const oldestMs = Math.max(...left.map(({ oldestAgeMs }) => oldestAgeMs ?? 0));
  const named = left.slice(0, 3).map(({ queue }) => queue);
  const names = `${named.join(", ")}${left.length > named.length ? " …" : ""}`;
  const message = `tasks wait in ${left.length} queues that no worker polls (${names}), the oldest for ${Math.round(oldestMs / 1000)} s`;
  return { ...same, state: "degraded", message };
}
